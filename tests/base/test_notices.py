"""What systemd is told, and what a real petset tells it from its start to its end."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from petset.base import notices

SECONDS_MAX = 60


@pytest.fixture(params=["a path", "an abstract name"])
def listening(request, tmp_path):
    """Somebody who listens, and what NOTIFY_SOCKET says of it."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as heard:
        heard.settimeout(SECONDS_MAX)
        address = str(tmp_path / "notify") if request.param == "a path" else f"@petset-test-{os.getpid()}"
        heard.bind(f"\0{address[1:]}" if address[0] == "@" else address)
        yield heard, address


def test_what_is_told_is_heard(listening):
    heard, address = listening
    notices.Notices(address).tell(notices.READY, "STATUS=up")
    assert heard.recv(1000) == b"READY=1\nSTATUS=up"
    notices.Notices(address).tell_status("many\nlines " + "x" * 1000)
    said = heard.recv(5000).decode()
    assert said.startswith("STATUS=many lines xxx") and len(said) < 250 and "\n" not in said


def test_nobody_need_listen():
    notices.Notices("/nowhere/at/all").tell(notices.READY)
    notices.Notices().tell(notices.READY)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({}, notices.Notices()),
        ({"NOTIFY_SOCKET": "/n"}, notices.Notices("/n")),
        ({"NOTIFY_SOCKET": "/n", "WATCHDOG_USEC": "2000000"}, notices.Notices("/n", 2.0)),
        ({"NOTIFY_SOCKET": "/n", "WATCHDOG_USEC": "2000000", "WATCHDOG_PID": "1"}, notices.Notices("/n")),
        ({"NOTIFY_SOCKET": "/n", "WATCHDOG_USEC": "soon"}, notices.Notices("/n")),
        ({"WATCHDOG_USEC": "2000000"}, notices.Notices()),
    ],
)
def test_what_the_environment_says_is_taken_out_of_it(given, told):
    environment = {**given, "PATH": "/bin"}
    assert notices.taken(environment) == told
    assert environment == {"PATH": "/bin"}


def test_a_start_and_an_end_are_told(tmp_path: Path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as heard:
        heard.bind(str(tmp_path / "notify"))
        heard.settimeout(SECONDS_MAX)
        command = [sys.executable, "-m", "petset", "--state", str(tmp_path / "state"), "up", "--simulate"]
        environment = {**os.environ, "NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "200000"}
        process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            until(heard, "READY=1")
            until(heard, "WATCHDOG=1")
            until(heard, "WATCHDOG=1")
            process.send_signal(signal.SIGTERM)
            until(heard, "STOPPING=1")
            assert process.wait(SECONDS_MAX) == 0
        finally:
            process.kill()
            process.wait()


def until(heard: socket.socket, wanted: str) -> None:
    while wanted not in heard.recv(5000).decode().splitlines():
        pass
