"""Sockets of the host, lent by a process outside to one that may not listen there."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from petset import rootless
from petset.base import networks, state
from petset.net import lending


@pytest.fixture
def lender(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / ("d" * 100) / "ports.sock"  # Longer than a socket's address may be.
    path.parent.mkdir()
    with lending.listening(path) as asked:
        process = subprocess.Popen([sys.executable, "-m", "petset.net.lending"], stdin=asked.fileno())
    try:
        yield path
    finally:
        process.kill()
        process.wait()


def test_a_socket_that_was_lent_listens_on_loopback_until_it_is_closed(lender: Path) -> None:
    with socket.socket() as free:
        free.bind((lending.LOOPBACK, 0))
        port = free.getsockname()[1]
    with lending.borrowed(lender, port) as lent:
        assert lent.getsockname() == (lending.LOOPBACK, port)
        with pytest.raises(OSError, match="already in use"):
            lending.borrowed(lender, port)
        with socket.create_connection((lending.LOOPBACK, port)) as asking:
            lent.setblocking(True)
            answering, _ = lent.accept()
            with answering:
                answering.sendall(b"hello")
                assert asking.recv(100) == b"hello"
    lending.borrowed(lender, port).close()


def test_what_is_no_port_is_refused_and_the_lender_goes_on(lender: Path) -> None:
    for wrong in (0, 65536, -1):
        with pytest.raises(OSError, match="is no port"):
            lending.borrowed(lender, wrong)
    lending.borrowed(lender, 0x8000 + 1234).close()


def test_a_lender_is_there_for_who_goes_inside_before_it_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    instance = state.State(tmp_path)
    monkeypatch.setenv(networks.OWNER, "65534")
    begun: list[bool] = []

    def popen(command: Sequence[str], **how: Any) -> SimpleNamespace:
        assert list(command)[-1] == "petset.net.lending" and how["stdin"] >= 0
        begun.append(lending.lender_of(instance) is not None)
        return SimpleNamespace(pid=os.getpid())

    monkeypatch.setattr(rootless.subprocess, "Popen", popen)
    assert rootless.lender(instance) is not None and begun == [True]


def test_what_a_killed_lender_left_is_replaced(tmp_path: Path) -> None:
    for _ in range(2):
        with lending.listening(tmp_path / lending.SOCKET) as asked:
            assert asked.getsockname().endswith(lending.SOCKET)


def test_only_who_is_inside_borrows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    instance = state.State(tmp_path)
    monkeypatch.setenv(networks.OWNER, "65534")
    assert lending.lender_of(instance) is None
    (tmp_path / lending.SOCKET).touch()
    assert lending.lender_of(instance) == tmp_path / lending.SOCKET
    monkeypatch.delenv(networks.OWNER)
    assert lending.lender_of(instance) is None
