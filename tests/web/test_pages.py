"""What a browser is given: pages that need nothing from anywhere else, and that a cache may keep but must ask about."""

import re
from pathlib import Path

import pytest

from service.web import pages
from tests.test_routes import running

pytestmark = pytest.mark.anyio

FOLDER = Path(pages.__file__).with_name("static")
FILES = sorted(path.name for path in FOLDER.iterdir())
#: As Firefox and curl send it.
BROWSER = {"Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}


async def test_a_browser_gets_a_page_and_a_program_the_names(tmp_path: Path) -> None:
    async with running(tmp_path) as pod:
        page = await pod.http.get("/", headers=BROWSER)
        assert page.headers["content-type"] == "text/html; charset=utf-8"
        assert page.text == (FOLDER / "index.html").read_text()
        for accept in ("*/*", "application/json"):
            names = await pod.http.get("/", headers={"Accept": accept})
            assert names.json() == {"name": "tfpod", "version": "9.9.9", "models": ["m"]}
        assert page.headers["vary"] == names.headers["vary"] == "Accept"


async def test_every_file_is_served_as_what_it_is(tmp_path: Path) -> None:
    kinds = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
    async with running(tmp_path) as pod:
        for name in FILES:
            answer = await pod.http.get(f"/page/{name}")
            if name.endswith(".html"):
                assert answer.status_code == 404, "its relative addresses would lead nowhere"
                continue
            assert answer.content == (FOLDER / name).read_bytes()
            assert answer.headers["content-type"].split(";")[0] == kinds[Path(name).suffix]
        assert (await pod.http.get("/docs")).text == (FOLDER / "docs.html").read_text()


@pytest.mark.parametrize("path", ["/", "/docs", "/page/page.js"])
async def test_a_page_may_neither_load_from_elsewhere_nor_be_framed(tmp_path: Path, path: str) -> None:
    async with running(tmp_path) as pod:
        headers = (await pod.http.get(path, headers=BROWSER)).headers
    policy = headers["content-security-policy"]
    assert "default-src 'self'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"


@pytest.mark.parametrize("path", ["/", "/docs", "/page/style.css"])
async def test_what_did_not_change_is_not_sent_again(tmp_path: Path, path: str) -> None:
    async with running(tmp_path) as pod:
        first = await pod.http.get(path, headers=BROWSER)
        assert first.headers["cache-control"] == "no-cache"
        for known in (first.headers["etag"], f"W/{first.headers['etag']}", f'"other", {first.headers["etag"]}', "*"):
            again = await pod.http.get(path, headers=BROWSER | {"If-None-Match": known})
            assert (again.status_code, again.content) == (304, b"")
            assert again.headers["etag"] == first.headers["etag"]
        changed = await pod.http.get(path, headers=BROWSER | {"If-None-Match": '"other"'})
        assert changed.content == first.content


@pytest.mark.parametrize("path", ["/", "/docs", "/page/page.js", "/openapi.json"])
async def test_head_answers_like_get_but_for_the_body(tmp_path: Path, path: str) -> None:
    async with running(tmp_path) as pod:
        get, head = [await pod.http.request(method, path, headers=BROWSER) for method in ("GET", "HEAD")]
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-length"] == get.headers["content-length"] == str(len(get.content))


@pytest.mark.parametrize("name", ["nothing.js", "..%2fpages.py", "%2e%2e%2fpages.py", ".", "index.html", "%00"])
async def test_no_other_file_is_served(tmp_path: Path, name: str) -> None:
    async with running(tmp_path) as pod:
        answer = await pod.http.get(f"/page/{name}")
        assert answer.status_code == 404
        assert "error" in answer.json()


def text(name: str) -> str:
    return (FOLDER / name).read_text()


def needs(name: str) -> set[str]:
    """Return the files that a page or a module asks for."""
    if name.endswith(".html"):
        return set(re.findall(r'(?:src|href)="page/([^"]+)"', text(name)))
    return set(re.findall(r'(?:^import .* from |new URL\()"\./([^"]+)"', text(name), re.MULTILINE))


def test_all_that_is_needed_is_there_and_nothing_else() -> None:
    found, ahead = {"index.html", "docs.html"}, {"index.html", "docs.html"}
    while ahead := set().union(*map(needs, ahead)) - found:
        found |= ahead
    assert found == set(FILES)


@pytest.mark.parametrize("name", FILES)
def test_a_file_needs_nothing_from_elsewhere_and_writes_no_markup(name: str) -> None:
    source = text(name).replace("http://www.w3.org/2000/svg", "")
    assert not re.search(r"(https?:)?//[a-z]", source), "another host"
    assert not re.search(r"<script(?![^>]* src=)|<style|\bstyle=|\bon[a-z]+=", source), (
        "a policy forbids what is inline"
    )
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(", source)
    assert not re.search(r'(?:src|href)="/', source), "behind a path of an ingress this would lead past the pod"
    assert len(source.splitlines()) <= 250
