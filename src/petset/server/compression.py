"""Long answers, compressed for who accepts gzip.

As upstream's APIResponseCompression: answers to reads of 128 KiB and more, at the quickest level; watches, logs and
what pods answer go out as they are. An answer that is made as it is read is compressed as it is read, beside the loop
by the piece; one that ends before it is long enough is left alone. Follows: RFC 9110, 8.4.1.3 and 12.5.3.
"""

from __future__ import annotations

import zlib
from collections.abc import AsyncGenerator, AsyncIterator, Iterable
from dataclasses import replace

from petset.server import answers, weight
from petset.server.routes import Call
from petset.wire import http

ANSWER_BYTES_MIN = 128 << 10
LEVEL = 1  # Most of what can be gained, for a third of the time.
GZIP_WINDOW_BITS = 31  # zlib's word for its largest window in gzip's frame.


def is_short(response: http.Response) -> bool:
    """Whether an answer is too short for it, as most are: nothing more is asked of them."""
    return isinstance(response.body, bytes) and len(response.body) < ANSWER_BYTES_MIN


async def answered(call: Call, response: http.Response) -> http.Response:
    """A long answer, compressed where that is wanted."""
    body = response.body
    if response.code != 200 or call.verb not in ("get", "list") or call.route.subresource or not accepts(call.request):
        return response
    if response.header("content-encoding"):  # It is kept so.
        return response
    if not isinstance(body, bytes):
        return await _streamed(call.work, response, body)
    return replace(response, headers=_headers(response), body=await call.work.in_turn(gzipped, [body]))


async def _streamed(work: weight.Work, response: http.Response, pieces: AsyncIterator[bytes]) -> http.Response:
    begun: list[bytes] = []
    size = 0
    async for piece in pieces:
        begun.append(piece)
        size += len(piece)
        if size >= ANSWER_BYTES_MIN:
            return replace(response, headers=_headers(response), body=_pieces(work, b"".join(begun), pieces))
    return replace(response, body=b"".join(begun))


async def _pieces(work: weight.Work, begun: bytes, others: AsyncIterator[bytes]) -> AsyncGenerator[bytes, None]:
    compressor = zlib.compressobj(LEVEL, wbits=GZIP_WINDOW_BITS)
    try:
        yield await work.in_turn(compressor.compress, begun)
        async for piece in others:
            if made := await work.beside(len(piece), compressor.compress, piece):
                yield made
        yield compressor.flush()
    finally:
        close = getattr(others, "aclose", None)
        if close is not None:
            await close()


def gzipped(pieces: Iterable[bytes], level: int = LEVEL) -> bytes:
    """All of them, compressed as they come."""
    compressor = zlib.compressobj(level, wbits=GZIP_WINDOW_BITS)
    return b"".join([*map(compressor.compress, pieces), compressor.flush()])


def plain(data: bytes) -> bytes:
    """What was compressed."""
    return zlib.decompress(data, GZIP_WINDOW_BITS)


def _headers(response: http.Response) -> http.Headers:
    return (*response.headers, ("content-encoding", "gzip"), ("vary", "Accept-Encoding"))


def accepts(request: http.Request) -> bool:
    """Whether gzip is among the encodings that the client names, and not with a weight of zero."""
    codings = [answers.media_ranges(value) for value in request.header_values("accept-encoding")]
    return any(name == "gzip" and parameters.get("q", "1").strip("0.") for each in codings for name, parameters in each)
