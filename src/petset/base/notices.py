"""What a service manager is told of this process: that it is ready, that it stops, how it is, that it still lives.

systemd says in NOTIFY_SOCKET where it listens, and in WATCHDOG_USEC how long this process may be silent until it is
taken for hung and restarted. Both are read once, at the start, and taken out of the environment: they are meant for
nobody that petset starts. Without them, telling does nothing. The watchdog is told from the loop: a loop that stands
still is what it is to find.
Follows: sd_notify(3), sd_watchdog_enabled(3).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import MutableMapping
from dataclasses import dataclass

READY, STOPPING, ALIVE = "READY=1", "STOPPING=1", "WATCHDOG=1"
STATUS_CHARACTERS_MAX = 200


@dataclass(frozen=True, slots=True)
class Notices:
    """Where they go; "" for nobody."""

    address: str = ""
    silence_seconds_max: float = 0.0  # 0: nobody watches.

    def tell(self, *states: str) -> None:
        """Whether it is heard is not this process's business."""
        if not self.address:
            return
        name = f"\0{self.address[1:]}" if self.address.startswith("@") else self.address
        with (
            contextlib.suppress(OSError),
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as to,
        ):
            to.sendto("\n".join(states).encode(), name)

    def tell_status(self, line: str) -> None:
        """A line for `systemctl status`."""
        self.tell(f"STATUS={' '.join(line.split())[:STATUS_CHARACTERS_MAX]}")

    async def keep_alive(self) -> None:
        """Say again and again that the loop goes round, where somebody watches."""
        while self.silence_seconds_max:
            self.tell(ALIVE)
            await asyncio.sleep(self.silence_seconds_max / 2)


def taken(environment: MutableMapping[str, str] = os.environ) -> Notices:
    """From the environment, which no longer has it afterwards."""
    address = environment.pop("NOTIFY_SOCKET", "")
    microseconds, process = environment.pop("WATCHDOG_USEC", ""), environment.pop("WATCHDOG_PID", "")
    is_meant = process in ("", str(os.getpid())) and microseconds.isascii() and microseconds.isdecimal()
    return Notices(address, int(microseconds) / 1e6 if is_meant and address else 0.0)
