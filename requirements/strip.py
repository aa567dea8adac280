"""Shortens the shared libraries in a folder by what nobody loads: `python strip.py FOLDER`, for the Dockerfile.

A library is loaded by its program headers (System V ABI, "Program Loading"). What lies behind its last segment, symbols
and section headers, is for linkers and debuggers: of some wheels' libraries nine tenths.
"""

import struct
import sys
from pathlib import Path

#: ELF of 64 bits, the lowest byte first, begins so.
_ELF = b"\x7fELF\2\1"
#: Where the head tells of program headers: the first one's place, the size of each and how many there are; and of
#: section headers: the first one's place, how many, and which has their names.
_PROGRAMS, _PROGRAM_SIZE, _SECTIONS, _SECTION_COUNT = 32, 54, 40, 60


def stripped(data: bytes) -> bytes:
    """Return a library without what is behind its last segment, and anything else as it is."""
    if not data.startswith(_ELF):
        return data
    (first,) = struct.unpack_from("<Q", data, _PROGRAMS)
    size, count = struct.unpack_from("<HH", data, _PROGRAM_SIZE)
    end = first + size * count
    for place in range(first, end, size):
        offset, _, _, length = struct.unpack_from("<QQQQ", data, place + 8)
        end = max(end, offset + length)
    library = bytearray(data[:end])
    struct.pack_into("<Q", library, _SECTIONS, 0)
    struct.pack_into("<HH", library, _SECTION_COUNT, 0, 0)
    return bytes(library)


if __name__ == "__main__":
    for path in Path(sys.argv[1]).rglob("*.so*"):
        if path.is_file() and not path.is_symlink():
            path.write_bytes(stripped(path.read_bytes()))
