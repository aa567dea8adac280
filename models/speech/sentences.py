"""The sentences of the data set in characters, and which of them are held out: those whose recordings are."""

import json
import re
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np

from models.speech.data import Samples, Utterance, split

CHINESE: Final = re.compile(r"[一-鿿]+")


class Sentence(NamedTuple):
    """A text and its syllables, one for each Chinese character."""

    name: str
    text: str
    syllables: tuple[str, ...]

    def characters(self) -> str:
        """Return the text without punctuation."""
        return "".join(CHINESE.findall(self.text))


def read(folder: Path) -> tuple[list[Sentence], list[Sentence]]:
    """Return the sentences for training and those held out, the same as the acoustic model's."""
    sentences = json.loads((folder / "sentences.json").read_text(encoding="utf-8"))
    by_name = {each["id"]: Sentence(each["id"], each["text"], tuple(each["pinyin"].split())) for each in sentences}
    silent: Samples = np.zeros(0, np.int16)
    parts = split([Utterance(name, "", silent, sentence.syllables) for name, sentence in by_name.items()])
    training, held_out = ([by_name[utterance.name] for utterance in part] for part in parts)
    return training, held_out
