"""What lies in a model's folder: its versions, where each is to be loaded from, and whether its files have changed."""

import os
import re
from pathlib import Path
from typing import Final, NamedTuple

_VERSION: Final = re.compile(r"[0-9]{1,19}")
#: Versions are numbers of 64 bits wherever they are spoken of.
_LARGEST: Final = (1 << 63) - 1
_SAVED_MODEL: Final = "saved_model.pb"
#: Models that are one file each, by their names in the folder of a version.
_FILES: Final = ("model.keras", "model.tflite")

#: The name, size and time of change of each file. No inode: some network file systems make them up.
Stamp = tuple[tuple[str, int, int], ...]


class Found(NamedTuple):
    """A version as it lies there. `source` is a SavedModel's folder or a model's file, or None with a word on `why`."""

    number: int
    stamp: Stamp
    source: Path | None
    why: str = ""


def versions(path: Path) -> dict[int, Path]:
    """Return the versions by number, newest first; a model that is in no folder with a number is version 1.

    Raises OSError if there is none, or the folder cannot be read.
    """
    if path.suffix in {".keras", ".tflite"} and path.is_file():
        return {1: path}
    if not path.is_dir():
        raise FileNotFoundError("there is no such folder")
    if _source(path):
        return {1: path}
    folders = sorted(folder for folder in path.iterdir() if _VERSION.fullmatch(folder.name) and folder.is_dir())
    found = {number: folder for folder in folders if (number := int(folder.name)) <= _LARGEST}
    if not found:
        raise FileNotFoundError("neither a model nor a folder of numbered versions")
    return dict(sorted(found.items(), reverse=True))


def examine(number: int, path: Path) -> Found:
    """Look at a version's files."""
    try:
        source, stamp = _source(path), _stamp(path)
    except OSError as error:
        return Found(number, (), None, f"version {number} cannot be read: {error.strerror}")
    names = ", ".join((_SAVED_MODEL, *_FILES))
    why = "" if source else f"version {number} has none of {names}: it is not complete"
    return Found(number, stamp, source, why)


def _source(path: Path) -> Path | None:
    """Return what is to be loaded. Its name is the last that `tf.saved_model.save` writes."""
    if path.is_file() or (path / _SAVED_MODEL).is_file():
        return path
    return next((path / name for name in _FILES if (path / name).is_file()), None)


def _stamp(path: Path) -> Stamp:
    files = [path] if path.is_file() else [Path(root, name) for root, _, names in os.walk(path) for name in names]
    stamp = []
    for file in sorted(files):
        try:
            status = file.stat()
        except FileNotFoundError:  # while a copy is made, files come and go
            continue
        stamp.append((str(file), status.st_size, status.st_mtime_ns))
    return tuple(stamp)
