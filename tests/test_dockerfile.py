"""Dockerfile and .dockerignore: the rules that hadolint knows, and those of this project that it does not."""

import json
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parent.parent
FINAL = ["adapter", "pod-litert", "pod"]


class Stage(NamedTuple):
    base: str
    instructions: list[tuple[str, str]]

    def all(self, word: str) -> list[str]:
        return [rest for instruction, rest in self.instructions if instruction == word]


def stages() -> dict[str, Stage]:
    """Return the stages by name, in the order of the file."""
    text = re.sub(r"^#.*\n", "", (ROOT / "Dockerfile").read_text(), flags=re.MULTILINE)
    found: dict[str, Stage] = {}
    instructions: list[tuple[str, str]] = []
    for line in re.sub(r"\s*\\\n\s*", " ", text).splitlines():
        word, _, rest = line.partition(" ")
        if word == "FROM":
            base, name = rest.split(" AS ")
            instructions = []
            found[name] = Stage(base, instructions)
        elif word:
            instructions.append((word, rest))
    return found


def lineage(name: str) -> list[Stage]:
    """Return stage `name` and all that it is made from, by FROM or COPY --from."""
    stage = stages()[name]
    sources = [stage.base, *re.findall(r"--from=(\S+)", " ".join(stage.all("COPY")))]
    return [stage, *(other for source in sources if source in stages() for other in lineage(source))]


def test_hadolint_has_nothing_to_say() -> None:
    hadolint = Path(sys.executable).with_name("hadolint")
    done = subprocess.run([hadolint, "Dockerfile"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_the_pod_is_what_a_build_without_a_target_makes() -> None:
    assert list(stages())[-1] == "pod"
    assert "adapter" in stages()


def test_every_stage_stands_on_the_one_base_image() -> None:
    assert {stage.base for stage in stages().values()} - set(stages()) == {"${PYTHON_IMAGE}"}


@pytest.mark.parametrize("name", FINAL)
def test_an_image_runs_as_a_numbered_user_that_is_not_root(name: str) -> None:
    """By a number, so that Kubernetes' runAsNonRoot can tell; after the last COPY, so that it owns no file."""
    words = [instruction for instruction, _ in stages()[name].instructions]
    assert stages()[name].all("USER") == ["10001:10001"]
    assert words.index("USER") > max(at for at, word in enumerate(words) if word == "COPY")


@pytest.mark.parametrize(
    ("name", "module"), [("adapter", "service.adapter"), ("pod-litert", "service"), ("pod", "service")]
)
def test_a_program_is_process_1_and_so_gets_the_signals(name: str, module: str) -> None:
    assert [json.loads(given) for given in stages()[name].all("ENTRYPOINT")] == [["python", "-m", module]]
    assert stages()[name].all("CMD") == []


def test_the_small_pod_has_its_own_requirements_and_no_other_models_than_it_can_serve() -> None:
    whole = str(lineage("pod-litert"))
    assert "requirements/litert.txt" in whole
    assert "FLAVOUR" not in whole
    assert "tensorflow" not in (ROOT / "requirements/litert.txt").read_text()
    (models,) = (run for run in stages()["litert-models"].all("RUN"))
    assert models.startswith("find /app/models -type f ! -name model.tflite ! -path '*/assets.extra/*' -delete")


def test_the_adapter_has_its_own_requirements_and_nothing_of_the_pods() -> None:
    whole = str(lineage("adapter"))
    assert "requirements/adapter.txt" in whole
    assert "FLAVOUR" not in whole
    assert "models" not in whole


@pytest.mark.parametrize("name", FINAL)
def test_what_is_installed_is_hashed_and_compiled(name: str) -> None:
    runs = [run for stage in lineage(name) for run in stage.all("RUN")]
    installs = [run for run in runs if " install " in run]
    assert len(installs) == 1
    assert " --require-hashes " in installs[0]
    assert " -m compileall " in installs[0]
    assert any("compileall" in run and "/app/service" in run for run in runs)


@pytest.mark.parametrize("name", FINAL)
def test_dependencies_lie_below_the_code(name: str) -> None:
    copies = stages()[name].all("COPY")
    assert copies[0].endswith("/venv /venv")
    assert copies[-1] == "--from=code /app /app"


def test_every_flavour_has_its_requirements() -> None:
    assert stages()["pod-builder"].all("ARG") == ["FLAVOUR=cpu", "TRACING="]
    for flavour in ("cpu", "gpu"):
        assert (ROOT / "requirements" / f"{flavour}.txt").is_file()


@pytest.mark.parametrize("flavour", ["cpu", "gpu"])
def test_tracing_goes_with_every_flavour(flavour: str) -> None:
    """Both lists are installed at once: where they name the same package, they name the same version."""
    lists = [
        dict(re.findall(r"^(\S+)==(\S+)", (ROOT / f"requirements/{name}.txt").read_text(), re.MULTILINE))
        for name in (flavour, "tracing")
    ]
    assert {name: lists[0].get(name, version) for name, version in lists[1].items()} == lists[1]


def test_the_build_is_given_what_it_copies_and_nothing_else() -> None:
    """An allow-list: a secret beside the project, or a new folder, gets into no image."""
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    rules = [line for line in lines if line and not line.startswith("#")]
    assert rules[0] == "*"
    copied = {
        source.replace("${FLAVOUR}", "cpu").rstrip("/")
        for stage in stages().values()
        for copy in stage.all("COPY")
        if not copy.startswith("--from")
        for source in copy.split()[:-1]
    }
    assert {path for path in copied if not (ROOT / path).exists()} == set()
    allowed = {rule.removeprefix("!").split("/")[0] for rule in rules if rule.startswith("!")}
    assert allowed == {path.split("/")[0] for path in copied}


@pytest.mark.parametrize("name", FINAL)
def test_what_is_installed_is_stripped_before_it_is_compiled(name: str) -> None:
    (install,) = (run for stage in lineage(name) for run in stage.all("RUN") if " install " in run)
    assert install.index("python3 strip.py /venv/lib") < install.index(" -m compileall ")


def test_a_stripped_library_is_shorter_and_as_good_as_before(tmp_path: Path) -> None:
    """By the longest of those that an image has."""
    folder = Path(sysconfig.get_path("platlib"))
    (library,) = folder.glob("uvloop/loop*.so")
    shutil.copytree(folder / "uvloop", tmp_path / "uvloop")
    (tmp_path / "no_library.so.py").write_text("as it is")
    subprocess.run([sys.executable, ROOT / "requirements/strip.py", tmp_path], check=True)
    assert (tmp_path / "no_library.so.py").read_text() == "as it is"
    assert (tmp_path / "uvloop" / library.name).stat().st_size < library.stat().st_size / 2
    code = "import asyncio, uvloop; print(uvloop.__file__); uvloop.run(asyncio.sleep(0))"
    done = subprocess.run(
        [sys.executable, "-c", code], env={"PYTHONPATH": str(tmp_path)}, check=True, capture_output=True, text=True
    )
    assert done.stdout.startswith(str(tmp_path))
