"""A real Kubernetes for tests, without Docker: build, up, down, run COMMAND…, load IMAGE…"""

import argparse
import os
import sys

from tests.cluster import build, images, lifecycle
from tests.cluster.host import KUBECONFIG, ClusterError, environment, inside


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.cluster", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("build", help="make the programs and images, once for each machine")
    commands.add_parser("up", help="start the cluster, or keep the one that runs; print its kubeconfig")
    commands.add_parser("down", help="stop it and remove what it left")
    load = commands.add_parser("load", help="copy images from buildah's store into it")
    load.add_argument("images", nargs="+")
    run = commands.add_parser("run", help="run a command in its network, with kubectl and helm")
    run.add_argument("argv", nargs=argparse.REMAINDER)
    given = parser.parse_args()
    match given.command:
        case "build":
            build.build()
            images.make()
        case "up":
            lifecycle.up()
            print(KUBECONFIG)  # noqa: T201 - the command's answer
        case "down":
            lifecycle.down()
        case "load":
            images.load(*given.images)
        case "run":
            command = inside(*given.argv)
            os.execvpe(command[0], command, environment())


if __name__ == "__main__":
    try:
        main()
    except ClusterError as error:
        sys.exit(str(error))
