"""Sockets of the host for a petset that is in a network namespace of its own: `python -m petset.net.lending < SOCKET`.

Who is not root runs petset inside; nothing there listens on the host. This process stays outside and lends: for each
question it makes a TCP socket that listens on a port of the host's loopback and hands it over, whose owner is then the
one who asked. `borrowed` is his side. A socket is a port's for as long as the borrower keeps it. What it listens on
is made before it runs (`listening`), so that whoever goes inside meanwhile finds it.
Only who may write the instance's directory reaches the lender, so nobody is asked who he is.
"""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Generator
from pathlib import Path

from petset.base import networks, state

LOOPBACK = "127.0.0.1"
SOCKET = "ports.sock"  # Of an instance.
LINE_BYTES_MAX = 200
SECONDS_MAX = 5.0


def lender_of(instance: state.State) -> Path | None:
    """Where sockets of the host are lent to this process; None: it is in the host's network itself."""
    path = instance.path(SOCKET)
    return path if networks.OWNER in os.environ and path.exists() else None


@contextlib.contextmanager
def listening(path: Path) -> Generator[socket.socket]:
    """Where a lender that is started now is asked; what a killed one left there is replaced. Raises OSError."""
    with socket.socket(socket.AF_UNIX) as made:
        path.unlink(missing_ok=True)
        with state.reachable(path) as short:
            made.bind(short)
        made.listen()
        yield made


def lend(asked: socket.socket) -> None:
    """Until the process is ended."""
    while True:
        asking, _ = asked.accept()
        with asking:
            asking.settimeout(SECONDS_MAX)
            with contextlib.suppress(OSError):  # Who asked has gone.
                _answer(asking)


def _answer(asking: socket.socket) -> None:
    said = asking.recv(LINE_BYTES_MAX).decode(errors="replace").strip()
    if not (said.isascii() and said.isdecimal() and 0 < int(said) < 1 << 16):
        asking.sendall(f"{said!r} is no port".encode())
        return
    with socket.socket() as lent:
        lent.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            lent.bind((LOOPBACK, int(said)))
            lent.listen()
        except OSError as error:
            asking.sendall((error.strerror or "it cannot be had").encode())
            return
        socket.send_fds(asking, [b"lent"], [lent.fileno()])


def borrowed(path: Path, port: int) -> socket.socket:
    """A socket that listens on the host's loopback; blocks for a moment. Raises OSError, with why there is none."""
    with socket.socket(socket.AF_UNIX) as asking:
        asking.settimeout(SECONDS_MAX)
        with state.reachable(path) as short:
            asking.connect(short)
        asking.sendall(str(port).encode())
        said, descriptors, _, _ = socket.recv_fds(asking, LINE_BYTES_MAX, 1)
    if not descriptors:
        raise OSError(said.decode(errors="replace") or "nobody lends it")
    found = socket.socket(fileno=descriptors[0])
    found.setblocking(False)
    return found


if __name__ == "__main__":
    with socket.socket(fileno=0) as asked:
        lend(asked)
