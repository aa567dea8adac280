"""The page, in a browser: a person draws, reads, types and copies, with the mouse and without."""

import itertools
import json
import math
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.browser import EXECUTABLE, Browser, browser
from tests.program import ROOT, program, until_ready

pytestmark = [
    pytest.mark.skipif(EXECUTABLE is None, reason="no Chromium is installed"),
    pytest.mark.timeout(300),
]

Point = tuple[float, float]
Strokes = list[list[Point]]

BEST = "document.querySelector('.best')?.innerText"
IDLE = "!document.querySelector('.answer').hasAttribute('aria-busy')"


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with browser(tmp_path_factory.mktemp("profile")) as running:
        yield running


@pytest.fixture(scope="module")
def pod() -> Iterator[str]:
    with program() as started:
        api, admin = started.urls()
        until_ready(admin)
        yield api


@pytest.fixture
def page(chromium: Browser, pod: str) -> Iterator[Browser]:
    """The page, opened anew; at the end nothing must have gone wrong in it."""
    with chromium.opened(f"{pod}/#digits", ".signature h3"):
        yield chromium


def arc(middle: Point, radii: Point, start: float, end: float) -> list[Point]:
    """Return points of an ellipse's arc, in degrees from the right and clockwise; sizes are shares of the board."""
    angles = [math.radians(start + (end - start) * step / 20) for step in range(21)]
    return [(middle[0] + radii[0] * math.cos(angle), middle[1] + radii[1] * math.sin(angle)) for angle in angles]


def line(*corners: Point) -> list[Point]:
    """Return points along straight lines."""
    points = [corners[0]]
    for (x, y), (to_x, to_y) in itertools.pairwise(corners):
        points += [(x + (to_x - x) * step / 6, y + (to_y - y) * step / 6) for step in range(1, 7)]
    return points


#: As people write them; small and off the middle, too.
DRAWINGS: dict[int, Strokes] = {
    0: [arc((0.5, 0.5), (0.2, 0.32), -90, 270)],
    1: [line((0.38, 0.32), (0.52, 0.18), (0.52, 0.82))],
    2: [[*arc((0.3, 0.3), (0.12, 0.12), -170, 30), *line((0.4, 0.36), (0.2, 0.6), (0.44, 0.6))]],
    3: [[*arc((0.48, 0.34), (0.17, 0.16), -150, 90), *arc((0.48, 0.66), (0.19, 0.17), -90, 140)]],
    4: [line((0.55, 0.2), (0.3, 0.58), (0.72, 0.58)), line((0.58, 0.4), (0.56, 0.84))],
    5: [[*line((0.68, 0.2), (0.4, 0.2), (0.36, 0.48)), *arc((0.5, 0.62), (0.18, 0.19), -130, 140)]],
    6: [[*line((0.6, 0.17), (0.42, 0.4), (0.36, 0.62)), *arc((0.51, 0.66), (0.15, 0.16), 180, 540)]],
    7: [line((0.3, 0.22), (0.7, 0.22), (0.46, 0.82)), line((0.42, 0.5), (0.68, 0.5))],
    8: [[*arc((0.5, 0.33), (0.14, 0.15), 90, 450), *arc((0.5, 0.66), (0.18, 0.18), -90, 270)]],
    9: [[*arc((0.5, 0.36), (0.16, 0.17), 0, 360), *line((0.66, 0.36), (0.64, 0.6), (0.56, 0.84))]],
}


def draw(page: Browser, strokes: Strokes) -> None:
    left, top = page.place(".board", 0, 0)
    right, bottom = page.place(".board", 1, 1)
    for stroke in strokes:
        page.drag([(left + x * (right - left), top + y * (bottom - top)) for x, y in stroke])


def test_a_digit_that_is_drawn_is_told(page: Browser) -> None:
    for digit, strokes in DRAWINGS.items():
        page.click(".aside button")
        page.evaluate("document.querySelector('.answer').replaceChildren()")
        draw(page, strokes)
        assert page.until(f"{IDLE} && {BEST}") == str(digit)
        assert len(page.evaluate("[...document.querySelectorAll('.distribution li')].map(li => li.innerText)")) == 10
    assert "200" in page.text(".facts")


def test_the_line_for_the_shell_asks_the_same(page: Browser) -> None:
    draw(page, DRAWINGS[3])
    page.text(".best")
    answers = []
    for protocol in (1, 2):
        page.click(f".curl label:nth-of-type({protocol}) span")
        command = page.text(".curl code").replace("curl", "curl -sS", 1)
        done = subprocess.run(["sh", "-c", command], capture_output=True, check=True, timeout=60)
        answers.append(json.loads(done.stdout))
    (row,) = answers[0]["predictions"]
    assert row.index(max(row)) == 3
    assert answers[1]["outputs"][0]["data"] == pytest.approx(row)


def test_the_line_for_the_shell_is_copied(page: Browser) -> None:
    page.call("Browser.grantPermissions", permissions=["clipboardReadWrite", "clipboardSanitizedWrite"])
    page.click(".curl p button")
    assert page.text(".curl [role=status]") == "Copied."
    assert page.evaluate("navigator.clipboard.readText()") == page.text(".curl code")


def test_a_digit_can_be_drawn_without_a_mouse(page: Browser) -> None:
    page.evaluate("document.querySelector('.board').focus()")
    page.press("ArrowUp", 10)
    page.press(" ")
    page.press("ArrowDown", 20)
    page.press(" ")
    assert page.text(".best") == "1"
    page.press("Delete")
    page.click("button.primary")
    assert page.text(".answer .fault") == "Draw something first."


def test_json_is_sent_as_it_was_typed(page: Browser) -> None:
    page.click(".ask label:nth-of-type(2) span")
    sample = json.loads((ROOT / "models/digits/sample.json").read_text())["instances"]
    zeros = json.loads(page.evaluate("document.querySelector('textarea').value"))
    assert zeros == [[[[0]] * 8] * 8]
    page.evaluate(f"document.querySelector('textarea').value = {json.dumps(json.dumps(sample))}")
    page.click("button.primary")
    best = page.text(".best")
    page.evaluate("document.querySelector('textarea').value = '[[[1'")
    page.click("button.primary")
    assert "not JSON" in page.text(".answer .fault")
    page.evaluate("document.querySelector('textarea').value = '[[[1]]]'")
    page.click("button.primary")
    assert "400" in page.until("document.querySelector('.facts')?.innerText")
    assert "The model cannot take this" in page.text(".answer .fault")
    assert best.isdigit()


def test_a_token_opens_what_strangers_may_not_see(chromium: Browser, tmp_path: Path) -> None:
    (tmp_path / "tokens").write_text("s3cret")
    with program("--models", "digits=models/digits", "--tokens-file", str(tmp_path / "tokens")) as pod:
        api, admin = pod.urls()
        until_ready(admin)
        chromium.open(api)
        assert "A token is needed" in chromium.text("#model .fault")
        assert chromium.evaluate("document.activeElement.id") == "secret"
        assert "float32" not in chromium.evaluate("document.body.innerText")
        chromium.evaluate("document.getElementById('secret').value = 's3cret'")
        chromium.press("Enter")
        chromium.click("#token button")
        assert "float32" in chromium.text(".tensors")
        draw(chromium, DRAWINGS[0])
        assert chromium.text(".best") == "0"
        assert '-H "Authorization: Bearer $TOKEN"' in chromium.text(".curl code")
        assert "s3cret" not in chromium.evaluate("document.documentElement.outerHTML")
        assert chromium.evaluate("document.cookie + JSON.stringify({...localStorage, ...sessionStorage})") == "{}"


@pytest.mark.parametrize("fragment", ["#%", "#nobody", ""])
def test_an_address_that_names_no_model_shows_the_first(chromium: Browser, pod: str, fragment: str) -> None:
    with chromium.opened(f"{pod}/{fragment}", ".signature h3"):
        assert chromium.text("#models [aria-current=page]") == chromium.text("#models a")


def test_the_document_is_a_page_too(chromium: Browser, pod: str) -> None:
    chromium.complaints.clear()
    chromium.open(f"{pod}/docs")
    chromium.click("[id='v1_models_digits_predict'] summary")
    assert "[float32, n \u00d7 8 \u00d7 8 \u00d7 1]" in chromium.text("[id='v1_models_digits_predict'] pre")
    chromium.click("[id='v1_stream'] summary")
    assert "Tfpod-Sequence in the header: integer" in chromium.text("[id='v1_stream'] .operation")
    assert "model in the query: string" in chromium.text("[id='v1_stream'] .operation")
    spec = json.loads(chromium.evaluate("fetch('openapi.json').then(answer => answer.text())"))
    shown = chromium.evaluate("document.querySelectorAll('.operations > details').length")
    assert shown == sum(map(len, spec["paths"].values()))
    assert chromium.complaints == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [320, 1200])
@pytest.mark.parametrize("path", ["", "docs"])
def test_it_fits_every_screen(chromium: Browser, pod: str, path: str, width: int, scheme: str) -> None:
    chromium.open(f"{pod}/{path}?{width}{scheme}", width=width, scheme=scheme)
    chromium.text("section h3, section h2")
    assert chromium.evaluate("document.documentElement.scrollWidth") <= width
    ground = chromium.evaluate("getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)")
    assert (sum(ground) < 3 * 128) == (scheme == "dark")
