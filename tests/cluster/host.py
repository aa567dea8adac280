"""What the cluster is on the machine: its folders, its addresses, its process, and how to run a command beside it.

The whole cluster is one process tree in network, mount and process namespaces of its own: when its first process
ends, the kernel ends every other, and takes the interfaces and mounts along.
"""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
CACHE = Path(os.environ.get("TFPOD_CLUSTER_CACHE", "~/.cache/tfpod-cluster")).expanduser()
STATE = Path("/var/lib/tfpod-cluster")
LOGS = STATE / "log"
KUBECONFIG = STATE / "admin.kubeconfig"
CONTAINERD = STATE / "run/containerd/containerd.sock"  # its /run is this folder

NODE = "node0"
NODE_ADDRESS = "10.89.0.1"
POD_NETWORK = "10.244.0.0/16"
SERVICE_NETWORK = "10.96.0.0/16"
API_SERVICE = "10.96.0.1"


class ClusterError(RuntimeError):
    """The cluster cannot be built or started; the message says what a person can do."""


def environment() -> dict[str, str]:
    """The environment with the cluster's programs and kubeconfig in front."""
    return {**os.environ, "PATH": f"{CACHE / 'bin'}:{os.environ['PATH']}", "KUBECONFIG": str(KUBECONFIG)}


def run(
    *command: str | Path, stdin: str | None = None, cwd: Path | None = None, env: Mapping[str, str] | None = None
) -> str:
    """Run a command to its end and return its output.

    Raises ClusterError with the end of what it wrote when it fails.
    """
    done = subprocess.run(command, input=stdin, cwd=cwd, env=env, capture_output=True, text=True, check=False)
    if done.returncode:
        said = (done.stderr.strip() or done.stdout.strip())[-2000:]
        raise ClusterError(f"{' '.join(map(str, command))[:200]} failed ({done.returncode}):\n{said}")
    return done.stdout


def inside(*command: str) -> list[str]:
    """The command line that runs `command` in the cluster's network."""
    process = pid()
    if process is None:
        raise ClusterError("the cluster is not up: python -m tests.cluster up")
    return ["nsenter", f"--net=/proc/{process}/ns/net", "--", *command]


def kubectl(*arguments: str, stdin: str | None = None) -> str:
    """Run kubectl against the cluster and return its output."""
    return run(*inside("kubectl", *arguments), stdin=stdin, env=environment())


def pid() -> int | None:
    """The process that holds the cluster's namespaces, or None where no cluster runs."""
    try:
        number, started = (STATE / "pid").read_text().split()
    except (FileNotFoundError, ValueError):
        return None
    return int(number) if _start_time(int(number)) == started else None


def spawn(*command: str, log: Path) -> int:
    """Start the cluster's first process in fresh namespaces, remember it, and return the holder's id."""
    # fmt: off
    holder = os.posix_spawnp(  # subprocess.Popen would insist on being waited for
        "unshare",
        ["unshare", f"--wd={REPOSITORY}", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc",
         *command],
        environment(),
        setsid=True,
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, str(log), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644),
            (os.POSIX_SPAWN_DUP2, 1, 2),
        ],
    )
    # fmt: on
    (STATE / "pid").write_text(f"{holder} {_start_time(holder)}\n")
    return holder


def stop() -> None:
    """End the cluster's processes, whatever state they are in, and remove all that it left on the machine."""
    holder = pid()
    if holder is not None:
        for child in Path(f"/proc/{holder}/task/{holder}/children").read_text().split():
            os.kill(int(child), signal.SIGKILL)
        wait_for(lambda: pid() is None, 30, "the cluster's processes did not end")
    for root in cgroups():
        for folder in sorted(root.glob("**/"), reverse=True):  # children first
            folder.rmdir()
    if STATE.exists():
        shutil.rmtree(STATE)
    with suppress(OSError):  # made as a mount point; it stays where it holds networks of others
        Path("/var/lib/cni").rmdir()


def cgroups() -> list[Path]:
    """The control groups that hold all of the cluster's: one with cgroup v2, one for each controller with v1."""
    top = Path("/sys/fs/cgroup")
    trees = [top] if (top / "cgroup.procs").exists() else [tree.parent for tree in top.glob("*/cgroup.procs")]
    return [tree / "tfpod-cluster" for tree in trees]


def wait_for(condition: Callable[[], bool], seconds: float, complaint: str) -> None:
    """Return as soon as `condition()` holds; raise ClusterError with `complaint` after `seconds`."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise ClusterError(f"{complaint} within {seconds:.0f} s; its logs are in {LOGS}")
        time.sleep(0.2)


def _start_time(process: int) -> str | None:
    """When the process began (clock ticks since boot), which tells it from a later one with the same id."""
    try:
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[0] == "Z" else fields[19]
