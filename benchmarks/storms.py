"""What becomes of a server that is asked for twice what it can do, by a schedule that waits for nobody."""

import math
from typing import Final

from benchmarks import wrk
from benchmarks.load import Report, Step, offer
from benchmarks.peers.table import Contender, target
from benchmarks.results import Storm
from benchmarks.workloads import DENSE

_SHARE: Final = 2.0
#: Those that batch can do more, the more are asking.
_CLIENTS: Final = 256
#: More than any server has in flight at once.
_CONNECTIONS: Final = 400
_PATIENCE: Final = 5.0  # seconds after which an answer is of no use


async def storm(contender: Contender, seconds: float) -> Storm:
    """Start a contender, find its capacity, and offer twice as much; raise RuntimeError where it fails before that."""
    async with contender.program(DENSE) as program:
        at = target(program)
        await wrk.load(at, _CLIENTS, 1)
        capacity = (await wrk.load(at, _CLIENTS, 2)).rate
        report = await offer(at, [Step(_SHARE * capacity, seconds)], connections=_CONNECTIONS, patience=_PATIENCE)
    return _storm(contender.name, report, seconds)


def _storm(name: str, report: Report, seconds: float) -> Storm:
    refused = len(report.refused)
    p50, p99 = (
        0.0 if math.isnan(found := report.quantile(share)) else 1000 * found for share in (0.5, 0.99)
    )  # fmt: skip
    return Storm(
        name,
        offered=report.offered / seconds,
        answered=len(report.latencies) / seconds,
        refused=refused / seconds,
        lost=(report.failed - refused) / seconds,
        p50=p50,
        p99=p99,
    )
