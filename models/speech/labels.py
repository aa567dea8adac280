"""The labels, and how tonal pinyin is spelled with them.

A syllable is its initial, if it has one, and its final with the tone: `zhuang4` is `zh` `uang4`, `er2` is `er2`. Back,
labels are joined until one ends in a tone (service/speech/ctc.py). The letters are those of pinyin with v for ü, so `y`
and `w` count as initials and `ju4` is `j` `u4`. The neutral tone is 5. The blank comes last.
"""

from typing import Final

BLANK: Final = "_"
TONES: Final = "12345"
#: The finals that follow each initial; `r` is the ending in 儿. Every tone is allowed everywhere.
FOLLOWING: Final = {
    "": "a ai an ang ao e ê ei en eng er o ou m n ng r",
    "b": "a ai an ang ao ei en eng o ong i ian iang iao ie in ing u",
    "p": "a ai an ang ao ei en eng o ou i ian iao ie in ing u",
    "m": "a ai an ang ao e ei en eng o ou i ian iao ie in ing iu u",
    "f": "a an ang ei en eng o ou iao u",
    "d": "a ai an ang ao e ei en eng ong ou i ia ian iao ie in ing iu u uan ui un uo",
    "t": "a ai an ang ao e ei eng ong ou i ian iao ie ing u uan ui un uo",
    "n": "a ai an ang ao e ei en eng ong ou i ia ian iang iao ie in ing iu u uan un uo v ve",
    "l": "a ai an ang ao e ei en eng o ong ou i ia ian iang iao ie in ing iu u uan un uo v ve",
    "g": "a ai an ang ao e ei en eng ong ou u ua uai uan uang ui un uo",
    "k": "a ai an ang ao e ei en eng ong ou u ua uai uan uang ui un uo",
    "h": "a ai an ang ao e ei en eng ong ou u ua uai uan uang ui un uo m ng",
    "j": "i ia ian iang iao ie in ing iong iu u uan ue un",
    "q": "i ia ian iang iao ie in ing iong iu u uan ue un",
    "x": "i ia ian iang iao ie in ing iong iu u uan ue un",
    "zh": "a ai an ang ao e ei en eng ong ou i u ua uai uan uang ui un uo",
    "ch": "a ai an ang ao e en eng ong ou i u ua uai uan uang ui un uo",
    "sh": "a ai an ang ao e ei en eng ou i u ua uai uan uang ui un uo",
    "r": "an ang ao e en eng ong ou i u ua uan ui un uo",
    "z": "a ai an ang ao e ei en eng ong ou i u uan ui un uo",
    "c": "a ai an ang ao e ei en eng ong ou i u uan ui un uo",
    "s": "a ai an ang ao e en eng ong ou i u uan ui un uo",
    "y": "a an ang ao e o ong ou i in ing u uan ue un",
    "w": "a ai an ang ei en eng o ong u",
}
INITIALS: Final = [initial for initial in FOLLOWING if initial]
FINALS: Final = sorted({final for finals in FOLLOWING.values() for final in finals.split()})
LABELS: Final = [*INITIALS, *(final + tone for final in FINALS for tone in TONES), BLANK]
#: Without tones.
SYLLABLES: Final = [initial + final for initial, finals in FOLLOWING.items() for final in finals.split()]

_NUMBER: Final = {label: number for number, label in enumerate(LABELS)}


def spell(syllable: str) -> list[int]:
    """Return the numbers of the labels of a tonal syllable such as `shi4`. Raises ValueError if it is none."""
    for length in (2, 1, 0):
        initial, final = syllable[:length], syllable[length:]
        if final in _NUMBER and final[-1] in TONES and initial in FOLLOWING:
            return [_NUMBER[label] for label in (initial, final) if label]
    raise ValueError(f"{syllable!r} is no tonal syllable")
