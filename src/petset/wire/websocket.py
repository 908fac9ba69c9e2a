"""WebSocket without a socket, both ends: bytes in, messages out; messages to bytes. RFC 6455, by `websockets`.

`accept` answers a request to upgrade with the headers of a 101 and a `Connection`; `connect` makes the request of a
client, and `Connection` out of the answer. `feed` gives whole messages and, once, `Closed`; afterwards `outgoing`
holds what the protocol answers by itself (pongs, the echo of a close). `send_*` return bytes to write.
Import this module late: the library costs a start 40 ms, and few processes ever see an upgrade.

Invariants: no input raises; a message larger than the limit closes the connection with 1009; no extension (no
compression) is offered, so a byte costs a byte.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from websockets import client, datastructures, frames, http11, protocol, server, uri
from websockets.exceptions import InvalidHandshake

from petset.wire import http

PROTOCOL_HEADER = "sec-websocket-protocol"
MESSAGE_BYTES_MAX = 4 << 20
NORMAL_CLOSE = 1000
CLOSE_SECONDS_MAX = 2.0  # For the other end to answer the closing handshake.


@dataclass(frozen=True, slots=True)
class Message:
    data: bytes
    is_text: bool = False


@dataclass(frozen=True, slots=True)
class Closed:
    """The other end has closed, or what it sent was no WebSocket; `code` 1006: without a word."""

    code: int
    reason: str = ""


Event = Message | Closed


class Connection:
    """An open WebSocket; `subprotocol` is the one that was agreed on ("" for none)."""

    def __init__(self, inner: protocol.Protocol, subprotocol: str):
        self._inner, self.subprotocol = inner, subprotocol
        self._parts: list[bytes] = []  # Of a message that comes in fragments.
        self._is_text = False
        self._told = False
        self._ended = False

    def feed(self, data: bytes) -> list[Event]:
        """Events in order; b"" says that the connection has ended."""
        if self._ended:
            return []
        if data:
            self._inner.receive_data(data)
        else:
            self._ended = True
            self._inner.receive_eof()
        events: list[Event] = []
        for frame in self._inner.events_received():
            if isinstance(frame, frames.Frame):
                events.extend(self._message(frame))
        if not self._told and (closed := self._closed()) is not None:
            self._told = True
            events.append(closed)
        return events

    def outgoing(self) -> bytes:
        """What is to be written after `feed`; b"" when nothing is."""
        return b"".join(self._inner.data_to_send())

    @property
    def is_open(self) -> bool:
        """Whether messages can still be sent."""
        return self._inner.state is protocol.State.OPEN

    @property
    def is_over(self) -> bool:
        """Whether both ends are done: close the connection once everything is written."""
        return self._told and not self.is_open

    def send_binary(self, data: bytes) -> bytes:
        """b"" when the connection is closing: nobody would read it."""
        return self._sent(self._inner.send_binary, data)

    def send_text(self, text: str) -> bytes:
        return self._sent(self._inner.send_text, text.encode())

    def send(self, data: bytes, is_text: bool) -> bytes:
        return self._sent(self._inner.send_text if is_text else self._inner.send_binary, data)

    def send_ping(self, data: bytes = b"") -> bytes:
        return self._sent(self._inner.send_ping, data)

    def send_close(self, code: int = NORMAL_CLOSE, reason: str = "") -> bytes:
        """The start of the closing handshake; the other end's answer is a `Closed`."""
        return self._sent(self._inner.send_close, code, _short(reason))

    def _sent(self, send: Callable[..., None], *args: Any) -> bytes:
        if self.is_open:
            send(*args)
        return self.outgoing()

    def _message(self, frame: frames.Frame) -> list[Event]:
        if frame.opcode in (frames.Opcode.TEXT, frames.Opcode.BINARY):
            self._is_text = frame.opcode is frames.Opcode.TEXT
            self._parts = [bytes(frame.data)]
        elif frame.opcode is frames.Opcode.CONT:
            self._parts.append(bytes(frame.data))
        else:
            return []  # Pings, pongs and closes are the protocol's own business.
        if not frame.fin:
            return []
        parts, self._parts = self._parts, []
        return [Message(b"".join(parts), self._is_text)]

    def _closed(self) -> Closed | None:
        inner = self._inner
        if inner.close_rcvd is not None:
            return Closed(inner.close_rcvd.code, inner.close_rcvd.reason)
        if inner.parser_exc is not None or self._ended:
            # We said why we closed, if there was anybody to say it to.
            said = inner.close_sent if inner.parser_exc is not None else None
            return Closed(said.code, said.reason) if said is not None else Closed(1006)
        return None


def accept(
    request: http.Request, subprotocols: Sequence[str], message_bytes_max: int = MESSAGE_BYTES_MAX
) -> tuple[http.Headers, Connection]:
    """The headers of the 101 and the open connection, with the first subprotocol of the client's that is among ours.

    "" among ours: the client need not name one. Raises http.Malformed when it is no request to upgrade to WebSocket, or
    when it offers only others.
    """
    offered = [name for name in request.header_items(PROTOCOL_HEADER) if name]
    chosen = next((name for name in offered if name in subprotocols), "")
    if not chosen and subprotocols and (offered or "" not in subprotocols):
        raise http.Malformed(
            400,
            "BadRequest",
            f"cannot open a WebSocket: the client offers the subprotocols {', '.join(offered) or '(none)'}; "
            f"offer one of {', '.join(filter(None, subprotocols))}",
        )
    inner = server.ServerProtocol(max_size=message_bytes_max)
    try:
        asked = _library_request(request)
        response = inner.accept(asked)
    except (InvalidHandshake, ValueError) as error:
        raise _no_handshake(str(error)) from None
    if response.status_code != 101:
        raise _no_handshake(str(inner.handshake_exc or "the handshake is not valid"))
    # The library reads frames only after it has read a handshake and sent its answer.
    inner.receive_data(asked.serialize())
    inner.events_received()
    inner.send_response(response)
    inner.data_to_send()
    headers = tuple((name.lower(), value) for name, value in response.headers.raw_items() if name.lower() != "date")
    agreed = ((PROTOCOL_HEADER, chosen),) if chosen else ()
    return (*headers, *agreed), Connection(inner, chosen)


def _no_handshake(why: str) -> http.Malformed:
    return http.Malformed(400, "BadRequest", f"cannot open a WebSocket: {why}; send an RFC 6455 handshake")


def _library_request(request: http.Request) -> http11.Request:
    headers = datastructures.Headers((name, value) for name, value in request.headers if name in _HANDSHAKE_HEADERS)
    return http11.Request(method=request.method, protocol="HTTP/1.1", path="/", headers=headers)


# Without the subprotocol: that of kubectl's port-forward has a slash, which RFC 6455 and the library do not allow.
_HANDSHAKE_HEADERS = (
    "connection",
    "host",
    "sec-websocket-key",
    "sec-websocket-version",
    "upgrade",
)


class Client:
    """A client's handshake: send `request`, hand its answer to `accepted`."""

    def __init__(
        self,
        target: str,
        subprotocols: Sequence[str] = (),
        headers: http.Headers = (),
        message_bytes_max: int = MESSAGE_BYTES_MAX,
    ):
        self._inner = client.ClientProtocol(
            uri.parse_uri("ws://localhost/"),
            subprotocols=list(subprotocols) or None,  # type: ignore[arg-type]  # Their own name of str.
            max_size=message_bytes_max,
        )
        asked = self._inner.connect()
        own = tuple((name.lower(), value) for name, value in asked.headers.raw_items() if name.lower() != "host")
        self._inner.send_request(asked)
        self._inner.data_to_send()
        self.request = http.Request("GET", target, (*own, *headers))

    def accepted(self, response: http.Response) -> Connection:
        """The open connection. Raises ConnectionError when the server did not agree."""
        lines = [f"{name}: {value}\r\n" for name, value in response.headers]
        head = f"HTTP/1.1 {response.code} Answered\r\n{''.join(lines)}\r\n"
        self._inner.receive_data(head.encode("utf-8", "replace"))
        self._inner.events_received()
        self._inner.data_to_send()
        failed = self._inner.handshake_exc
        if response.code != 101 or failed is not None:
            why = str(failed) if isinstance(failed, InvalidHandshake) else f"the server answered {response.code}"
            raise ConnectionError(f"cannot open a WebSocket to {self.request.path}: {why}")
        return Connection(self._inner, self._inner.subprotocol or "")


def _short(reason: str) -> str:
    """At most 123 bytes: what fits into a control frame."""
    return reason.encode()[:120].decode(errors="ignore")
