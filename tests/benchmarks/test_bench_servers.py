"""What the comparison believes of servers: their ends, their memory with that of their children, and wrk's words."""

import asyncio
import sys
from collections import Counter
from pathlib import Path

import pytest

from benchmarks import sigterm
from benchmarks.programs import Program, free_port
from benchmarks.wrk import Figures, parse

pytestmark = pytest.mark.anyio

#: A server of threads that answers every GET; what follows says what a SIGTERM does.
SERVER = """
import http.server, os, signal, socketserver, subprocess, sys, threading
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", "0")
        if ended.is_set():
            self.send_header("Connection", "close")
        self.end_headers()
    def log_message(self, *_): pass
class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 128
    daemon_threads = True
ended = threading.Event()
server = Server(("127.0.0.1", int(sys.argv[1])), Handler)
"""
DRAINS = "signal.signal(signal.SIGTERM, lambda *_: (ended.set(), threading.Timer(1, lambda: os._exit(0)).start()))\n"
FREEZES = "signal.signal(signal.SIGTERM, lambda *_: os.kill(os.getpid(), signal.SIGSTOP))\n"
CHILD = "subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'], start_new_session=True)\n"


def server(extra: str = "") -> Program:
    port = free_port()
    script = f"{SERVER}{extra}server.serve_forever()"
    return Program([sys.executable, "-c", script, str(port)], {}, f"http://127.0.0.1:{port}/")


async def end(extra: str) -> Counter[str]:
    async with server(extra) as program:
        return await sigterm.end(program, connections=4)


async def test_a_server_that_drains_loses_nothing() -> None:
    counts = await end(DRAINS)
    assert counts["before"] > 0
    assert counts["after"] > 0
    assert not sigterm.lost(counts)


async def test_a_server_that_dies_at_once_loses_what_is_in_flight_and_refuses_once_for_each_client() -> None:
    lost = sigterm.lost(await end(""))
    assert lost["refused"] == 4
    assert lost["in flight"] + lost["on reuse"] >= 4


async def test_a_server_that_stops_answering_hangs_its_clients(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sigterm, "_PATIENCE", 0.5)
    assert (await end(FREEZES))["hung"] >= 4


async def test_children_that_left_their_parents_are_counted_and_ended_with_the_program() -> None:
    async with server(CHILD) as program:
        pids = program.tree.pids()
        assert len(pids) == 2
        assert program.tree.pss() > 5
        assert program.tree.cpu() > 0
        program.process.kill()
        await program.process.wait()
        assert program.tree.pids() == [pid for pid in pids if pid != program.process.pid]
    async with asyncio.timeout(10):
        while program.tree.pids():
            await asyncio.sleep(0.01)


async def test_a_program_that_ends_before_it_answers_is_quoted(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "raise SystemExit('no such model')"]
    program = Program(command, {}, f"http://127.0.0.1:{free_port()}/", log=tmp_path / "log")
    with pytest.raises(RuntimeError, match="ended with 1 before it answered: no such model"):
        await program.__aenter__()


async def test_a_program_that_never_answers_is_given_up() -> None:
    command = [sys.executable, "-c", "import time; time.sleep(600)"]
    program = Program(command, {}, f"http://127.0.0.1:{free_port()}/", patience=0.3)
    with pytest.raises(RuntimeError, match=r"no answer within 0\.3 s"):
        await program.__aenter__()
    assert program.process.returncode is not None


async def test_refused_requests_are_no_answers() -> None:
    said = '{"seconds":2.0,"answers":300,"p50":1.5,"p99":9.0,"refused":100,"failed":3}'
    assert parse(f"Running 2s test\n\n{said}\n") == Figures(rate=100, p50=1.5, p99=9, failed=103)


async def test_what_wrk_says_when_it_fails_is_passed_on() -> None:
    with pytest.raises(RuntimeError, match="unable to connect"):
        parse("unable to connect to 127.0.0.1:1\n")
