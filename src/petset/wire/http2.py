"""A server's side of HTTP/2 without a socket: bytes in, requests out; answers, by their stream, to bytes.

`feed` gives events in order: `Received` (one whole request on a stream), `Refused` (a stream whose request is too
large), `Left` (the client wants no answer of a stream any more), `Room` (there may be room again for what did not fit),
or, as the last one, `Ended`. `begin`, `write` and `end` make an answer; `write` takes as much as the client has room
for. `outgoing` is what is to be written after each of them. Import this module late: hardly any client needs it.

Invariants: no input raises; memory is bounded by the limits here and of http1; the grammar, flow control and header
compression are h2's, which refuses what floods it. RFC 9113.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from h2 import config, connection, errors, events, exceptions, settings

from petset.wire import http, http1

STREAMS_MAX = 100  # Of a connection at once.
PIECE_BYTES_MAX = 64 << 10  # Of one answer, before another stream's has its turn.


@dataclass(frozen=True, slots=True)
class Received:
    stream: int
    request: http.Request


@dataclass(frozen=True, slots=True)
class Refused:
    stream: int
    why: http.Malformed


@dataclass(frozen=True, slots=True)
class Left:
    stream: int


@dataclass(frozen=True, slots=True)
class Room:
    pass


@dataclass(frozen=True, slots=True)
class Ended:
    pass


Event = Received | Refused | Left | Room | Ended


class Gone(Exception):
    """Nobody wants what was to be written any more."""


@dataclass(slots=True)
class _Partial:
    headers: list[tuple[bytes, bytes]]
    body: list[bytes] = field(default_factory=list[bytes])
    size: int = 0


class ServerConnection:
    def __init__(self, peer: http.Peer, body_bytes_max: int = http1.BODY_BYTES_MAX):
        self._peer, self._body_bytes_max = peer, body_bytes_max
        self._partial: dict[int, _Partial] = {}
        self._http2 = connection.H2Connection(config.H2Configuration(client_side=False, header_encoding=None))
        limits = {
            settings.SettingCodes.MAX_CONCURRENT_STREAMS: STREAMS_MAX,
            settings.SettingCodes.MAX_HEADER_LIST_SIZE: http1.HEAD_BYTES_MAX,
        }
        self._http2.local_settings = settings.Settings(client=False, initial_values=limits)
        self._http2.initiate_connection()

    def outgoing(self) -> bytes:
        return self._http2.data_to_send()

    @property
    def partial(self) -> Iterable[int]:
        """The streams whose requests are not complete."""
        return tuple(self._partial)

    @property
    def body_bytes(self) -> int:
        """How much is here of the bodies of requests that are not complete."""
        return sum(partial.size for partial in self._partial.values())

    def feed(self, data: bytes) -> list[Event]:
        try:
            happened = self._http2.receive_data(data)
        except exceptions.H2Error:
            return [Ended()]
        found: list[Event] = []
        for event in happened:
            found += self._event(event)
        return found

    def _event(self, event: events.Event) -> Iterable[Event]:
        match event:
            case events.RequestReceived():
                self._partial[event.stream_id] = _Partial(list(event.headers or ()))
            case events.DataReceived():
                return self._data(event.stream_id, event.data or b"", event.flow_controlled_length or 0)
            case events.StreamEnded() if event.stream_id in self._partial:
                return self._whole(event.stream_id)
            case events.StreamReset():
                self._partial.pop(event.stream_id, None)
                return [Left(event.stream_id)]
            case events.WindowUpdated() | events.RemoteSettingsChanged():
                return [Room()]
            case _:
                pass
        return ()

    def _data(self, stream: int, data: bytes, size: int) -> Iterable[Event]:
        try:
            self._http2.acknowledge_received_data(size, stream)
        except exceptions.H2Error:
            pass  # The stream is gone.
        partial = self._partial.get(stream)
        if partial is None:
            return ()
        partial.body.append(data)
        partial.size += len(data)
        if partial.size <= self._body_bytes_max:
            return ()
        return [Refused(stream, http1.body_too_large(self._body_bytes_max))]

    def _whole(self, stream: int) -> Iterable[Event]:
        partial = self._partial.pop(stream)
        said: dict[str, str] = {}
        headers: list[tuple[str, str]] = []
        for name, value in partial.headers:
            key, text = name.decode("ascii", "replace"), value.decode("utf-8", "replace").strip()
            if key.startswith(":"):
                said[key] = text
            else:
                headers.append((key, text))
        if len(headers) > http1.HEADERS_MAX:
            return [Refused(stream, http1.head_too_large())]
        if said.get(":authority") and not any(name == "host" for name, _ in headers):
            headers.insert(0, ("host", said[":authority"]))
        try:
            target = http1.origin_form(said.get(":path", "").encode())
        except http.Malformed as why:
            return [Refused(stream, why)]
        request = http.Request(
            said.get(":method", ""), target, tuple(headers), b"".join(partial.body), self._peer
        )  # fmt: skip
        return [Received(stream, request)]

    def drop(self, stream: int) -> None:
        """What came of a request counts no more."""
        self._partial.pop(stream, None)

    # Answers

    def begin(self, stream: int, response: http.Response, date: str, size: int | None, is_last: bool) -> None:
        """`size` of the body, where it is known; `is_last`: there comes none. Raises Gone."""
        headers = [(":status", str(response.code))]
        headers += [(name.lower(), value) for name, value in response.headers if name.lower() not in http1.HOP_BY_HOP]
        headers.append(("date", date))
        if size is not None and response.code not in http1.BODYLESS_CODES:
            headers.append(("content-length", str(size)))
        told = [(name.encode(), http1.one_line(value).encode("utf-8", "replace")) for name, value in headers]
        try:
            self._http2.send_headers(stream, told, end_stream=is_last)
        except exceptions.H2Error:
            raise Gone from None

    def write(self, stream: int, data: memoryview) -> int:
        """How much of it was taken; 0 when there is no room. Raises Gone."""
        taken = 0
        try:
            while taken < min(len(data), PIECE_BYTES_MAX):
                room = min(self._http2.local_flow_control_window(stream), self._http2.max_outbound_frame_size)
                if room <= 0:
                    break
                piece = data[taken : taken + room]
                self._http2.send_data(stream, bytes(piece))
                taken += len(piece)
        except exceptions.H2Error:
            raise Gone from None
        return taken

    def end(self, stream: int) -> None:
        """Raises Gone."""
        try:
            self._http2.end_stream(stream)
        except exceptions.H2Error:
            raise Gone from None

    def reset(self, stream: int, *, speaks_1_1: bool = False) -> None:
        """End a stream without a whole answer; `speaks_1_1`: what it asks for is to be had in HTTP/1.1 alone."""
        code = errors.ErrorCodes.HTTP_1_1_REQUIRED if speaks_1_1 else errors.ErrorCodes.INTERNAL_ERROR
        try:
            self._http2.reset_stream(stream, code)
        except exceptions.H2Error:
            pass  # It has ended already.

    def refuse(self, stream: int) -> None:
        """Say that nothing was done of a request, which may be asked again."""
        try:
            self._http2.reset_stream(stream, errors.ErrorCodes.REFUSED_STREAM)
        except exceptions.H2Error:
            pass

    def close(self) -> None:
        """Say that nothing more is answered."""
        try:
            self._http2.close_connection()
        except exceptions.H2Error:
            pass
