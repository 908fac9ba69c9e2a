"""Numbered channels in the messages of a WebSocket: how sessions, ports and logs write them, by subprotocol. Pure.

A message is the number of its channel and bytes: as they are, or, in the dialects named base64, the number as a digit
and the bytes in base64, all of it text. How a session's end is told differs too: until version 4 a failure is a
sentence and success is silence; since then it is a Status. Version 5 lets the client close a channel.
A log has one channel only, so its dialects have no numbers, nor has that of a watch. A client that names no
subprotocol speaks the oldest.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass

CLOSE = 255  # Whose one byte is the number of the channel that the client closes.


@dataclass(frozen=True, slots=True)
class Dialect:
    is_text: bool = False  # Of the messages: numbers are digits then, and bytes are in base64.
    tells_status: bool = False  # The end is a Status in JSON; otherwise a sentence, or nothing.
    can_close: bool = False  # The client may close a channel: the message CLOSE, channel.


_NUMBERED, _TEXT = Dialect(), Dialect(is_text=True)

SESSIONS: Mapping[str, Dialect] = {
    "v5.channel.k8s.io": Dialect(tells_status=True, can_close=True),
    "v4.channel.k8s.io": Dialect(tells_status=True),
    "v4.base64.channel.k8s.io": Dialect(is_text=True, tells_status=True),
    "v3.channel.k8s.io": _NUMBERED,
    "v2.channel.k8s.io": _NUMBERED,
    "v1.channel.k8s.io": _NUMBERED,
    "channel.k8s.io": _NUMBERED,
    "base64.channel.k8s.io": _TEXT,
    "": _NUMBERED,
}
# Two channels a port: its data and its errors; the first message on each is the port.
PORTS: Mapping[str, Dialect] = {"v4.channel.k8s.io": _NUMBERED, "v4.base64.channel.k8s.io": _TEXT, "": _NUMBERED}
# Of a watch each message is an event, which is text already.
EVENTS: Mapping[str, Dialect] = {"": _TEXT}
LOGS: Mapping[str, Dialect] = {"binary.k8s.io": _NUMBERED, "base64.binary.k8s.io": _TEXT, "": _NUMBERED}


def encode(dialect: Dialect, channel: int, data: bytes) -> bytes:
    """The message of some bytes on a channel."""
    if dialect.is_text:
        return str(channel).encode() + base64.b64encode(data)
    return bytes([channel]) + data


def decode(dialect: Dialect, message: bytes) -> tuple[int, bytes] | None:
    """(channel, bytes) of a message; None when it is not one."""
    if not message:
        return None
    if not dialect.is_text:
        return message[0], message[1:]
    try:
        return int(message[:1]), base64.b64decode(message[1:], validate=True)
    except (ValueError, binascii.Error):
        return None


def encode_bare(dialect: Dialect, data: bytes) -> bytes:
    """The message of some bytes of a log."""
    return base64.b64encode(data) if dialect.is_text else data
