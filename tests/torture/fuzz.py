"""Spoilt requests, thousands a minute, over HTTPS: nothing is a 500, nothing stops, every answer is a whole sentence.

A dozen connections send at once. Beside them one client asks /livez again and again: how much petset worked before
the slowest answer is how long anybody could hold up everybody; work is counted, not time, since the machine may have
much else to do. What is wrong is told with its seed: `--request SEED` prints that request.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from petset.kinds import builtin
from petset.net.dialer import Dialer
from petset.wire import http
from tests.torture import requests
from tests.torture.instance import Instance

SENDERS = 12
LAG_SECONDS_MAX = (
    2.0  # Of petset's own work between a question and its answer: a dozen requests, and none of them long.
)
ANSWER_SECONDS_MAX = 120.0  # No machine is so busy that this is no hang.
PING_SECONDS = 0.02
SLOWEST_TOLD = 5
REQUESTS_TOLD = 10_000
STREAMED_BYTES_MAX = 1 << 20
STREAMED_SECONDS_MAX = 2.0
FINE_ABOVE_500 = (501, 503, 504)  # Not offered; no room just now; a revision that is still to come.


Tell = Callable[[str], None]


@dataclass
class Figures:
    requests: int = 0
    codes: Counter[int] = field(default_factory=Counter)
    objects: int = 0  # That were taken.
    longest_lag_seconds: float = 0.0
    slowest: list[tuple[float, str]] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)


async def run(instance: Instance, count: int, seed: int, tell: Tell) -> Figures:
    figures = Figures()
    if not instance.is_running and not await instance.start():
        raise RuntimeError(instance.said[-1])
    async with contextlib.AsyncExitStack() as opened:
        made = [instance.dialer(answer_seconds_max=ANSWER_SECONDS_MAX) for _ in range(SENDERS + 1)]
        lines = [await opened.enter_async_context(each) for each in made]
        for name in requests.NAMESPACES:
            body = json.dumps({"metadata": {"name": name}}).encode()
            await lines[0].send(http.Request("POST", "/api/v1/namespaces", HEADERS, body))
        async with asyncio.TaskGroup() as working:
            pinging = working.create_task(ping(lines[-1], instance, figures))
            numbers = iter(range(count))
            senders = [working.create_task(send(line, numbers, seed, figures, tell)) for line in lines[:-1]]
            await asyncio.wait(senders)
            pinging.cancel()
        figures.objects = await stored(lines[0])
    figures.wrong[:0] = await instance.wrong_at_the_end()  # What explains the others comes first.
    return figures


HEADERS = (("accept", "application/json"), ("content-type", "application/json"))


async def send(line: Dialer, numbers: Iterator[int], seed: int, figures: Figures, tell: Tell) -> None:
    for number in numbers:
        name = f"{seed}-{number}"
        request = requests.request(name)
        figures.requests += 1
        if figures.requests % REQUESTS_TOLD == 0:
            tell(f"fuzz {figures.requests}: {len(figures.wrong)} wrong")
        began = time.monotonic()
        try:
            response = await line.send(request)
            body = await whole(response)
        except (OSError, ValueError) as error:
            figures.codes[0] += 1
            figures.wrong.append(f"{name}: {request.method} {request.target[:200]} has no answer: {error}")
            if len(figures.wrong) > 100:
                return
            continue
        figures.codes[response.code] += 1
        figures.slowest = sorted([*figures.slowest, (time.monotonic() - began, name)])[-SLOWEST_TOLD:]
        if why := wrong_with(request, response, body):
            figures.wrong.append(f"{name}: {request.method} {request.target[:200]}: {why}")


async def whole(response: http.Response) -> bytes | None:
    """The body; None when it is a stream, which is left early: a watch may have no end."""
    if isinstance(response.body, bytes):
        return response.body
    size = 0
    async with contextlib.aclosing(response.body) as parts:  # type: ignore[type-var]
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(STREAMED_SECONDS_MAX):
                async for part in parts:
                    size += len(part)
                    if size > STREAMED_BYTES_MAX:
                        break
    return None


def wrong_with(request: http.Request, response: http.Response, body: bytes | None) -> str:
    """Why no server should answer so; "" when it may."""
    if response.code >= 500 and response.code not in FINE_ABOVE_500:
        return f"{response.code} {(body or b'')[:300]!r}"
    if request.method == "HEAD" or body is None or "json" not in response.header("content-type"):
        return ""
    try:
        told = json.loads(body)
    except ValueError:
        return f"{response.code} with {body[:200]!r}, which is no JSON"
    if response.code >= 400 and (told.get("kind") != "Status" or told.get("code") != response.code):
        return f"{response.code} without a Status: {body[:200]!r}"
    return ""


async def ping(line: Dialer, instance: Instance, figures: Figures) -> None:
    """Somebody who only asks whether it lives."""
    while True:
        began = instance.worked_seconds()
        try:
            response = await line.send(http.Request("GET", "/livez"))
            if response.code != 200:
                figures.wrong.append(f"/livez says {response.code}")
        except OSError as error:
            figures.wrong.append(f"/livez has no answer: {error}")
        lag = instance.worked_seconds() - began
        figures.longest_lag_seconds = max(figures.longest_lag_seconds, lag)
        if lag > LAG_SECONDS_MAX:
            figures.wrong.append(f"/livez was answered after {lag:.1f} s of work")
        await asyncio.sleep(PING_SECONDS)


async def stored(line: Dialer) -> int:
    """How many objects of the fuzzed namespaces were taken and stayed."""
    count = 0
    for resource in builtin.KINDS:
        if "list" in resource.verbs:
            response = await line.send(http.Request("GET", resource.path(), HEADERS[:1]))
            body = (
                response.body if isinstance(response.body, bytes) else b"".join([part async for part in response.body])
            )
            count += len(json.loads(body).get("items") or ())
    return count
