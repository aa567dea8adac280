"""A server listens where it is told to."""

import socket

import pytest

from service.net.server import listen


def test_listens_on_both_families_where_there_are_both() -> None:
    with listen("", 0) as listener:
        port = listener.getsockname()[1]
        for host in ("127.0.0.1", *(["::1"] if socket.has_dualstack_ipv6() else [])):
            socket.create_connection((host, port)).close()


def test_listens_on_the_host_that_is_named_only() -> None:
    with listen("127.0.0.1", 0) as listener:
        assert listener.getsockname()[0] == "127.0.0.1"


def test_an_address_in_use_is_named() -> None:
    with listen("127.0.0.1", 0) as listener, pytest.raises(OSError, match="in use"):
        listen("127.0.0.1", listener.getsockname()[1])
