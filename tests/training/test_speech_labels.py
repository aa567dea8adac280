"""models/speech/labels.py: every syllable can be written, in one way, and read back."""

import numpy as np
import pytest

from models.speech.labels import BLANK, INITIALS, LABELS, SYLLABLES, TONES, spell
from service.speech.ctc import greedy

#: The table of the standard language, by initial, without interjections.
STANDARD = """
a ai an ang ao e ei en eng er o ou
ba bai ban bang bao bei ben beng bi bian biao bie bin bing bo bu
pa pai pan pang pao pei pen peng pi pian piao pie pin ping po pou pu
ma mai man mang mao me mei men meng mi mian miao mie min ming miu mo mou mu
fa fan fang fei fen feng fo fou fu
da dai dan dang dao de dei deng di dian diao die ding diu dong dou du duan dui dun duo
ta tai tan tang tao te teng ti tian tiao tie ting tong tou tu tuan tui tun tuo
na nai nan nang nao ne nei nen neng ni nian niang niao nie nin ning niu nong nou nu nuan nuo nv nve
la lai lan lang lao le lei leng li lia lian liang liao lie lin ling liu long lou lu luan lun luo lv lve
ga gai gan gang gao ge gei gen geng gong gou gu gua guai guan guang gui gun guo
ka kai kan kang kao ke ken keng kong kou ku kua kuai kuan kuang kui kun kuo
ha hai han hang hao he hei hen heng hong hou hu hua huai huan huang hui hun huo
ji jia jian jiang jiao jie jin jing jiong jiu ju juan jue jun
qi qia qian qiang qiao qie qin qing qiong qiu qu quan que qun
xi xia xian xiang xiao xie xin xing xiong xiu xu xuan xue xun
zha zhai zhan zhang zhao zhe zhei zhen zheng zhi zhong zhou zhu zhua zhuai zhuan zhuang zhui zhun zhuo
cha chai chan chang chao che chen cheng chi chong chou chu chuai chuan chuang chui chun chuo
sha shai shan shang shao she shei shen sheng shi shou shu shua shuai shuan shuang shui shun shuo
ran rang rao re ren reng ri rong rou ru ruan rui run ruo
za zai zan zang zao ze zei zen zeng zi zong zou zu zuan zui zun zuo
ca cai can cang cao ce cen ceng ci cong cou cu cuan cui cun cuo
sa sai san sang sao se sen seng si song sou su suan sui sun suo
ya yan yang yao ye yi yin ying yong you yu yuan yue yun
wa wai wan wang wei wen weng wo wu
m n ng hm hng ê yo r
""".split()  # noqa: SIM905 - a table is easier to check


def test_every_syllable_of_the_language_is_known() -> None:
    assert set(STANDARD) <= set(SYLLABLES)
    assert len(SYLLABLES) == len(set(SYLLABLES))


def test_a_syllable_is_an_initial_and_a_final_or_a_final_alone() -> None:
    written = {syllable: [LABELS[label] for label in spell(syllable)] for syllable in ("zhuang4", "er2", "lve4", "yu3")}
    assert written == {"zhuang4": ["zh", "uang4"], "er2": ["er2"], "lve4": ["l", "ve4"], "yu3": ["y", "u3"]}
    assert [LABELS[label] for name in ("n2", "ng2", "hng5", "r5") for label in spell(name)] == [
        *("n2", "ng2", "h", "ng5", "r5")
    ]


def test_what_the_decoder_joins_is_what_was_spelled() -> None:
    syllables = [syllable + tone for syllable in SYLLABLES for tone in TONES]
    blank = len(LABELS) - 1
    path = [label for syllable in syllables for label in (*spell(syllable), blank)]
    heard = greedy(np.eye(len(LABELS), dtype=np.float32)[path], LABELS)
    assert [syllable.name for syllable in heard] == syllables


@pytest.mark.parametrize("syllable", ["", "zh", "zh4", "ma", "ma6", "4", "Ma1", "ma11", "_", "xa1z", "bbi4"])
def test_what_is_no_tonal_syllable_is_refused(syllable: str) -> None:
    with pytest.raises(ValueError, match="is no tonal syllable"):
        spell(syllable)


def test_labels_are_unique_and_only_finals_bear_tones() -> None:
    assert len(set(LABELS)) == len(LABELS)
    assert LABELS[-1] == BLANK
    assert [label for label in LABELS[:-1] if label[-1] not in TONES] == INITIALS
