"""The repository checks itself: who imports whom, how long files are, and that every name is the same everywhere."""

import ast
import fnmatch
import re
import subprocess
import sys
import tomllib
from collections import Counter
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Final

import msgspec
import pytest
import yaml

from service.adapter.answers import METRICS
from service.adapter.settings import Settings as AdapterSettings
from service.settings import Settings

ROOT: Final = Path(__file__).resolve().parent.parent

LEAVES: Final = ["errors", "types", "metrics", "counters", "expiry", "settings", "logs", "stages", "cpus", "memory"]
#: What each module may import of ours, by pattern; the first that fits a module counts.
ALLOWED: Final = {
    **{leaf: [] for leaf in LEAVES},
    "metrics": ["counters"],
    "gpu": LEAVES,
    "sessions": LEAVES,
    "probes": LEAVES,
    "codecs.*": [*LEAVES, "codecs.*"],
    "runners.*": [*LEAVES, "runners.*", "codecs.grpc.wire"],
    "speech.*": [*LEAVES, "speech.*"],
    "net.*": [*LEAVES, "net.*"],
    "door.*": [*LEAVES, "door.*"],
    "batching.*": [*LEAVES, "batching.*"],
    "models.*": [*LEAVES, "models.*", "batching.*", "speech.*"],
    "web.pages": [*LEAVES, "web.openapi", "models.models"],
    "web.*": [*LEAVES, "web.*"],
    "handlers": [*LEAVES, "door.bodies", "codecs.*", "models.models"],
    "transcription": [*LEAVES, "door.bodies", "codecs.*", "models.models", "sessions", "speech.*"],
    "routes": [*LEAVES, "handlers", "transcription", "door.*", "codecs.*", "models.models", "web.*"],
    "rpcs": [*LEAVES, "handlers", "routes", "door.bodies", "codecs.*", "models.models"],
    "app": [
        *LEAVES,
        "gpu",
        "probes",
        "routes",
        "rpcs",
        "sessions",
        "batching.form",
        "door.*",
        "models.models",
        "runners.*",
    ],
    "check": [*LEAVES, "app", "models.models", "door.tokens"],
    "convert": [*LEAVES, "runners.*"],
    "__main__": [*LEAVES, "app", "check", "door.*", "net.*"],
    "adapter.*": [*LEAVES, "net.server", "adapter.*"],
}
#: Who alone may import a package of others.
OWNERS: Final = {
    "tensorflow": ["runners.*", "convert"],
    "ai_edge_litert": ["runners.litert"],
    "pynvml": ["gpu"],
    "redis": ["sessions"],
    "soundfile": ["speech.audio"],
    "soxr": ["speech.audio"],
    "opentelemetry": ["door.tracing"],
    "uvicorn": ["net.server", "net.connections", "net.connection", "net.http2", "adapter.protocol"],
    "h2": ["net.http2", "net.frames", "net.outflow"],
    "hyperframe": ["net.frames"],
    "httptools": ["net.heads", "net.reader"],
    "uvloop": ["__main__", "adapter.__main__"],
    "signal": ["__main__", "adapter.__main__"],
    "argparse": ["__main__", "convert"],
    "starlette": [
        "net.server",
        "net.drain",
        "net.connection",
        "net.exchange",
        "net.reader",
        "net.grpc",
        "door.bodies",
        "door.admission",
        "door.answer",
        "app",
        "handlers",
        "routes",
        "rpcs",
        "probes",
        "transcription",
        "web.openapi",
        "web.pages",
        "door.trail",
        "door.tracing",
        "adapter.*",
    ],
    "httpx": ["adapter.*"],
    "prometheus_client": ["counters", "metrics", "app", "check"],
}
#: What makes a function impure: no codec may have it.
IMPURE: Final = ["asyncio", "threading", "time", "logging", "os", "pathlib", "random", "service.metrics"]

LONGEST_FILE, LONGEST_FUNCTION, LARGEST_POD = 250, 40, 11500
#: Functions that may be longer, and why.
LONG: Final[dict[str, str]] = {}
#: Tests that mirror no file of service/, and what they are about instead.
UNMIRRORED: Final = {
    "tests/test_structure.py": "this file",
    "tests/test_digits.py": "models/digits",
    "tests/training/*": "models",
    "tests/test_foreign.py": "service/runners/formats.py",
    "tests/test_dockerfile.py": "Dockerfile",
    "tests/test_nginx.py": "nginx",
    "tests/web/test_fuzz.py": "service/web/openapi.py",
    "tests/web/test_page.py": "service/web/static",
    "tests/web/test_page_speech.py": "service/web/static/speech.js",
    "tests/test_tfserving_http.py": "service/routes.py",
    "tests/test_runtimes.py": "service/runners",
    "tests/batching/test_leaving.py": "service/batching/batcher.py",
    "tests/test_hang.py": "service/app.py",
    "tests/batching/test_refusals.py": "service/batching/batcher.py",
    "tests/batching/test_worker_ends.py": "service/batching/worker.py",
    "tests/test_shared_sessions.py": "service/sessions.py",
    "tests/test_hostile_audio.py": "service/transcription.py",
    "tests/clients/test_asrt_sdk.py": "service/codecs/asrt.py",
    "tests/clients/*": "service/codecs/oip.py",
    "tests/codecs/test_contract.py": "service/codecs",
    "tests/codecs/grpc/test_hostile_messages.py": "service/codecs/grpc",
    "tests/adapter/test_adapter_program.py": "service/adapter",
    "tests/adapter/test_adapter_readings.py": "service/adapter/scrape.py",
    "tests/adapter/test_adapter_values.py": "service/adapter/answers.py",
    "tests/benchmarks/*": "benchmarks",
    "tests/chart/*": "charts",
    "tests/e2e/*": "charts",
}


def _files() -> list[Path]:
    """Return the files that belong to the project: what git knows, or all but what is made if this is no checkout."""
    try:
        listing = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True, text=True).stdout
        found = [ROOT / name for name in listing.split("\0") if name]
    except (OSError, subprocess.CalledProcessError):
        found = []
    if Path(__file__) not in found:
        made = re.compile(r"\.(git|venv)$|build$|__pycache__$|\..*_cache$")
        found = [path for path in ROOT.rglob("*") if not any(map(made.match, path.relative_to(ROOT).parts))]
    return sorted(path for path in found if path.is_file() and not path.is_symlink())


FILES: Final = _files()
SERVICE: Final = [path for path in FILES if path.match("*.py") and ROOT / "service" in path.parents]


def module(path: Path) -> str:
    """Return a file's name as a module inside `service`; of a package, the package's."""
    return ".".join(path.relative_to(ROOT / "service").with_suffix("").parts).removesuffix(".__init__")


MODULES: Final = {module(path): path for path in SERVICE}


def imports(source: str) -> Iterator[str]:
    """Yield the full name of every module that the source imports, at its top or anywhere inside."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.module is not None, "imports are absolute"
            assert node.level == 0, "imports are absolute"
            inner = [f"{node.module}.{alias.name}" for alias in node.names]
            modules = [name for name in inner if name.removeprefix("service.") in MODULES]
            yield from modules if len(modules) == len(inner) else [node.module, *modules]


def matches(name: str, patterns: list[str]) -> bool:
    """Tell whether a name is one of those, in which * stands for anything."""
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)


def text(path: Path) -> str:
    """Return the text of a file; of one that holds none, nothing."""
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return ""


def name(path: Path) -> str:
    """Return a file's path from the root."""
    return path.relative_to(ROOT).as_posix()


ON_MODULE = pytest.mark.parametrize("path", SERVICE, ids=name)


def test_imports_are_seen_wherever_they_stand() -> None:
    source = (
        "import os.path\nfrom service import logs\ndef f():\n  from service.codecs import http, oip\n  import signal"
    )
    assert set(imports(source)) == {"os.path", "service.logs", "service.codecs.http", "service.codecs.oip", "signal"}
    assert list(imports("from service.errors import PodError")) == ["service.errors"]


@ON_MODULE
def test_a_module_imports_only_what_its_place_allows(path: Path) -> None:
    if path.name == "__init__.py":
        assert not list(imports(text(path))), "a package's own file is its docstring"
        return
    allowed = next(allowed for pattern, allowed in ALLOWED.items() if matches(module(path), [pattern]))
    ours = [found.removeprefix("service.") for found in imports(text(path)) if found.startswith("service.")]
    assert not [found for found in ours if not matches(found, allowed)]


def test_no_module_needs_one_that_needs_it() -> None:
    needs = {name: {found.removeprefix("service.") for found in imports(text(path))} for name, path in MODULES.items()}
    sorter = TopologicalSorter({name: found & set(MODULES) for name, found in needs.items()})
    assert len(list(sorter.static_order())) == len(MODULES)  # raises CycleError


@ON_MODULE
def test_packages_of_others_have_one_place(path: Path) -> None:
    packages = {found.split(".")[0] for found in imports(text(path))}
    assert not [package for package in packages & set(OWNERS) if not matches(module(path), OWNERS[package])]


@pytest.mark.parametrize("path", [path for path in SERVICE if ROOT / "service/codecs" in path.parents], ids=name)
def test_codecs_are_pure(path: Path) -> None:
    assert not set(imports(text(path))) & set(IMPURE)
    assert not [node for node in ast.walk(ast.parse(text(path))) if isinstance(node, ast.AsyncFunctionDef | ast.Await)]


def test_only_the_programs_read_the_environment() -> None:
    readers = [module(path) for path in SERVICE if re.search(r"\bos\.(environ\b(?!\.setdefault)|getenv)", text(path))]
    assert readers == ["__main__", "adapter.__main__"]


def test_the_rules_are_about_modules_that_exist() -> None:
    patterns = {*ALLOWED, *(pattern for allowed in [*ALLOWED.values(), *OWNERS.values()] for pattern in allowed)}
    assert not [pattern for pattern in patterns if not fnmatch.filter(MODULES, pattern)]


@ON_MODULE
def test_no_file_and_no_function_is_too_long(path: Path) -> None:
    too_long = {
        f"{module(path)}.{node.name}"
        for node in ast.walk(ast.parse(text(path)))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (node.end_lineno or 0) - node.lineno >= LONGEST_FUNCTION
    }
    assert too_long == {function for function in LONG if function.rpartition(".")[0] == module(path)}
    assert len(text(path).splitlines()) <= LONGEST_FILE


def test_the_pod_is_small() -> None:
    pod = [path for path in SERVICE if path.parent.name != "adapter"]
    assert sum(len(text(path).splitlines()) for path in pod) <= LARGEST_POD


@ON_MODULE
def test_every_file_says_its_one_job_first(path: Path) -> None:
    assert ast.get_docstring(ast.parse(text(path)))


def test_every_test_mirrors_a_file_or_is_listed() -> None:
    strays = []
    for path in (path for path in FILES if path.match("tests/**/test_*.py") or path.match("tests/test_*.py")):
        subject = path.stem.removeprefix("test_").removeprefix("adapter_").removeprefix("grpc_")
        folder = ROOT / "service" / path.parent.relative_to(ROOT / "tests")
        mirrored = any((folder / f"{stem}.py").is_file() for stem in (subject, f"__{subject}__"))
        strays += [] if mirrored or matches(name(path), list(UNMIRRORED)) else [name(path)]
    assert not strays
    for pattern, subject in UNMIRRORED.items():
        assert fnmatch.filter(map(name, FILES), pattern), f"{pattern} is listed, but not there"
        assert subject == "this file" or (ROOT / subject).exists()


def test_test_files_have_names_of_their_own() -> None:
    """Test folders are no packages: of two files of one name, only one would be found."""
    counts = Counter(path.name for path in FILES if path.match("tests/**/*.py") and path.name.startswith("test_"))
    assert not [found for found, count in counts.items() if count > 1]


#: What people and clusters read.
DOCUMENTS: Final = [
    path
    for path in FILES
    if matches(
        name(path), ["charts/*", "k8s/*", "README.md", "CHANGELOG.md", "Dockerfile", "Makefile", "skaffold.yaml"]
    )
]


def test_metrics_are_named_everywhere_as_the_pod_names_them() -> None:
    exposed = set(re.findall(r'"(tfpod_[a-z_]+)"', text(MODULES["metrics"])))
    assert len(exposed) > 10
    assert set(METRICS) <= exposed
    for path in DOCUMENTS:
        named = set(re.findall(r"\btfpod_[a-z_]+[a-z]\b", text(path)))
        named = {re.sub(r"_(bucket|sum|count)$", "", found) for found in named}
        assert named <= exposed, name(path)


def test_settings_are_named_everywhere_as_they_are_read() -> None:
    known = {f"TFPOD_{field.name.upper()}" for field in msgspec.structs.fields(Settings)}
    known |= {f"TFPOD_ADAPTER_{field.name.upper()}" for field in msgspec.structs.fields(AdapterSettings)}
    found = {path: set(re.findall(r"\bTFPOD_(?!CLUSTER_|E2E_)[A-Z_]*[A-Z]\b", text(path))) for path in DOCUMENTS}
    assert any(found.values())
    for path, named in found.items():
        assert named <= known, name(path)


def test_there_is_one_version() -> None:
    version = tomllib.loads(text(ROOT / "pyproject.toml"))["project"]["version"]
    charts = [path for path in FILES if path.name == "Chart.yaml"]
    assert len(charts) == 2
    for path in charts:
        chart = yaml.safe_load(text(path))
        assert {chart["version"], str(chart["appVersion"])} == {version}, name(path)
        assert all(dependency["version"] == version for dependency in chart.get("dependencies", []))


def test_one_python_is_spoken_of() -> None:
    project = tomllib.loads(text(ROOT / "pyproject.toml"))
    assert project["tool"]["mypy"]["python_version"] == "3.11"
    assert project["tool"]["ruff"]["target-version"] == "py311"
    assert sys.version_info[:2] == (3, 11)
    assert "python:3.11" in text(ROOT / "Dockerfile")


@pytest.mark.parametrize(
    ("pattern", "why"),
    [
        (r"(?<![\w.$})-])/(?:root|work|home/\w+)(?:/|\b)(?!\w)", "paths of one machine"),
        (r"https?://[^\s\"']+\.(?:whl|tar\.gz)\b", "packages come from a registry, by hash"),
        (r"^(?:<{7}|>{7}) ", "what a merge left"),
    ],
)
def test_what_belongs_to_no_repository_is_not_in_this_one(pattern: str, why: str) -> None:
    others = [path for path in FILES if path != Path(__file__)]
    found = [f"{name(path)}: {hit[0]}" for path in others for hit in re.finditer(pattern, text(path), re.MULTILINE)]
    assert not found, why
