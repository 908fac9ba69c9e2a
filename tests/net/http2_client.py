"""A client that speaks HTTP/2 and shows what comes, stream by stream."""

from __future__ import annotations

import asyncio

from h2 import config, connection, events, settings


class Client:
    """Answers by their streams, as far as they have come."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, window: int):
        self._reader, self._writer = reader, writer
        self.http2 = connection.H2Connection(config.H2Configuration(client_side=True, header_encoding="utf-8"))
        if window:
            given = {settings.SettingCodes.INITIAL_WINDOW_SIZE: window}
            self.http2.local_settings = settings.Settings(client=True, initial_values=given)
        self.http2.initiate_connection()
        self.heads: dict[int, dict[str, str]] = {}
        self.bodies: dict[int, bytes] = {}
        self.ended: dict[int, int] = {}  # By stream: 0, or the error it was reset with.
        self.reads_bodies = True

    def ask(
        self, path: str, method: str = "GET", body: bytes = b"", *headers: tuple[str, str], ends: bool = True
    ) -> int:
        stream = self.http2.get_next_available_stream_id()
        pseudo = [(":method", method), (":scheme", "https"), (":authority", "x"), (":path", path)]
        self.http2.send_headers(stream, [*pseudo, *headers], end_stream=ends and not body)
        if body:
            self.http2.send_data(stream, body, end_stream=ends)
        self.flush()
        return stream

    def flush(self) -> None:
        self._writer.write(self.http2.data_to_send())

    async def read(self) -> bool:
        data = await self._reader.read(65_536)
        for event in self.http2.receive_data(data):
            match event:
                case events.ResponseReceived():
                    self.heads[event.stream_id] = dict(event.headers)
                    self.bodies[event.stream_id] = b""
                case events.DataReceived():
                    self.bodies[event.stream_id] += event.data
                    if self.reads_bodies:
                        self.http2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                case events.StreamEnded():
                    self.ended.setdefault(event.stream_id, 0)
                case events.StreamReset():
                    self.ended[event.stream_id] = int(event.error_code)
                case _:
                    pass
        self.flush()
        return bool(data)

    async def answer(self, stream: int) -> tuple[str, bytes]:
        while stream not in self.ended:
            assert await self.read(), "the server closed the connection"
        return self.heads[stream][":status"] if stream in self.heads else "", self.bodies.get(stream, b"")
