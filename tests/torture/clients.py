"""Clients that write, read, list and watch without a pause, and write down what they asked and were told.

They speak HTTPS and JSON and know nothing of petset's insides. Each does one thing at a time; a client whose
connection breaks does not know whether it was done, says so in its history, and goes on. Nothing is sent twice.
"""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

from petset.net.dialer import Dialer
from petset.wire import http
from tests.torture import history
from tests.torture.history import Event, History, Operation, Stream, Version
from tests.torture.instance import seen, short

COLORS = ("red", "blue")
KEYS = 12
PADDING_BYTES = (0, 0, 0, 200, 4000)
PAUSE_SECONDS = 0.02  # After a broken connection.
WATCH_SECONDS_MAX = 4
PATCH_TYPES = ("application/merge-patch+json", "application/strategic-merge-patch+json")


@dataclass
class Book:
    """What all clients of one history write into."""

    namespace: str
    told: History = field(default_factory=History)
    codes: Counter[int] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)  # Answers that no server should give.
    durable: int = 0  # The revision that petset's last start began with.

    @property
    def path(self) -> str:
        return f"/api/v1/namespaces/{self.namespace}/configmaps"


class Speaker:
    def __init__(self, name: str, book: Book, dialer: Dialer):
        self.name, self.book, self.dialer = name, book, dialer

    async def ask(self, method: str, target: str, body: Any = None, kind: str = "application/json") -> tuple[int, Any]:
        """(code, decoded answer). Raises OSError when there is none."""
        headers = (("accept", "application/json"), *((("content-type", kind),) if body is not None else ()))
        request = http.Request(method, target, headers, json.dumps(body).encode() if body is not None else b"")
        response = await self.dialer.send(request)
        text = response.body if isinstance(response.body, bytes) else b"".join([part async for part in response.body])
        self.count(response.code, f"{method} {target}", text)
        try:
            return response.code, json.loads(text)
        except ValueError:
            if response.code < 500:
                self.book.faults.append(f"{method} {target}: {response.code} with {text[:200]!r}")
            return response.code, {}

    def count(self, code: int, what: str, text: bytes) -> None:
        self.book.codes[code] += 1
        if code == 500:
            self.book.faults.append(f"{what}: 500 {text[:300]!r}")

    async def listed(self, chance: random.Random, query: str = "") -> Operation:
        """The whole list, in one piece or several."""
        operation = Operation(self.name, "list", "", time.monotonic())
        self.book.told.operations.append(operation)
        limit = chance.choice((0, 0, 3, 5))
        found: list[Version] = []
        more = ""
        while True:
            fields = {**({"limit": limit} if limit else {}), **({"continue": more} if more else {})}
            code, answer = await self.ask("GET", f"{self.book.path}?{urlencode(fields)}")
            if code != 200:
                operation.outcome, operation.ended = history.REFUSED, time.monotonic()
                return operation
            found += [version for item in answer["items"] if (version := seen(item))]
            more = answer["metadata"].get("continue", "")
            if not more:
                break
        operation.ended, operation.outcome = time.monotonic(), history.DONE
        operation.revision, operation.seen = int(answer["metadata"]["resourceVersion"]), tuple(found)
        return operation


class Worker(Speaker):
    """Writes, gets and lists, one after another."""

    def __init__(self, name: str, book: Book, dialer: Dialer, chance: random.Random):
        super().__init__(name, book, dialer)
        self.chance = chance
        self.number = 0
        self.known: dict[str, int] = {}  # The last revision it was told of each key.

    async def run(self) -> None:
        while True:
            try:
                await self.step()
            except OSError:
                await asyncio.sleep(PAUSE_SECONDS)

    async def step(self) -> None:
        key = f"k-{self.chance.randrange(KEYS)}"
        verbs = ("create", "create", "update", "update", "update", "patch", "patch", "delete", "get", "get", "list")
        verb = self.chance.choice(verbs)
        if verb == "list":
            for version in (await self.listed(self.chance)).seen:
                self.known[version.key] = version.revision
        elif verb == "get":
            await self.get(key)
        else:
            await self.write(verb, key)

    async def get(self, key: str) -> None:
        operation = Operation(self.name, "get", key, time.monotonic())
        self.book.told.operations.append(operation)
        code, answer = await self.ask("GET", f"{self.book.path}/{key}")
        self.finish(operation, code, answer)

    async def write(self, verb: str, key: str, color: str = "") -> None:
        self.number += 1
        by = f"{self.name}-{self.number}"
        expected = self.known.get(key, 0) if verb != "create" and self.chance.random() < 0.5 else 0
        operation = Operation(self.name, verb, key, time.monotonic(), by="" if verb == "delete" else by)
        self.book.told.operations.append(operation)
        color = color or self.chance.choice(COLORS)
        data = {"by": by, f"p-{self.name}" if verb == "patch" else "pad": self.padding()}
        operation.value = {**{name: short(text) for name, text in data.items()}, "color": color}
        operation.expected = expected
        metadata = {"labels": {"color": color}, **({"resourceVersion": str(expected)} if expected else {})}
        whole = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": key, **metadata}, "data": data}
        match verb:
            case "create":
                code, answer = await self.ask("POST", self.book.path, whole)
            case "update":
                code, answer = await self.ask("PUT", f"{self.book.path}/{key}", whole)
            case "patch":
                patch = {"metadata": metadata, "data": data}
                code, answer = await self.ask(
                    "PATCH", f"{self.book.path}/{key}", patch, self.chance.choice(PATCH_TYPES)
                )
            case _:
                operation.value = {}
                only = {"preconditions": {"resourceVersion": str(expected)}} if expected else {}
                options = {"apiVersion": "v1", "kind": "DeleteOptions", **only}
                code, answer = await self.ask("DELETE", f"{self.book.path}/{key}", options)
        self.finish(operation, code, answer)

    def padding(self) -> str:
        return "x" * self.chance.choice(PADDING_BYTES)

    def finish(self, operation: Operation, code: int, answer: Any) -> None:
        outcome = outcome_of(code, answer)
        if outcome == history.UNKNOWN:
            return
        operation.ended, operation.outcome = time.monotonic(), outcome
        if outcome == history.ABSENT:
            self.known.pop(operation.key, None)
        if outcome != history.DONE:
            return
        if operation.verb == "delete":
            operation.uid = answer["details"]["uid"]
            self.known.pop(operation.key, None)
            return
        version = seen(answer)
        assert version is not None
        operation.seen, operation.revision = (version,), version.revision
        self.known[operation.key] = version.revision


def outcome_of(code: int, answer: Any) -> str:
    if code < 300:
        return history.DONE
    if code >= 500:
        return history.UNKNOWN
    if code == 404:
        return history.ABSENT
    if code == 409:
        return history.EXISTS if answer.get("reason") == "AlreadyExists" else history.CONFLICT
    return history.REFUSED


class Watcher(Speaker):
    """Lists, watches from there, and goes on from the last revision whenever the stream ends; lists again after a 410.

    With `streamed` the list itself comes as a watch's initial events. A `witness` begins where petset's last start
    began, so that somebody saw every change: superseded versions do not stay in the file for ever.
    """

    def __init__(
        self,
        name: str,
        book: Book,
        dialer: Dialer,
        chance: random.Random,
        color: str = "",
        streamed: bool = False,
        witness: bool = False,
    ):
        super().__init__(name, book, dialer)
        self.chance, self.color, self.streamed, self.witness = chance, color, streamed, witness
        self.since = 0
        self.expired = 0

    async def run(self) -> None:
        resumed = False
        while True:
            try:
                if not self.since and not self.streamed:
                    self.since = (await self.listed(self.chance)).revision
                if self.since:
                    await self.watch(resumed)
                    resumed = True
                elif self.streamed:
                    await self.listed_by_watching()
                    resumed = True
                else:
                    await asyncio.sleep(PAUSE_SECONDS)
            except OSError:
                resumed = True
                await asyncio.sleep(PAUSE_SECONDS)

    async def watch(self, resumed: bool) -> None:
        stream = Stream(self.name, self.since, self.color, resumed)
        self.book.told.streams.append(stream)
        selector = {"labelSelector": f"color={self.color}"} if self.color else {}
        async for kind, obj in self.events({"resourceVersion": str(self.since), **selector}):
            if kind == "ERROR":
                self.expired += 1
                self.since = self.book.durable if self.witness and self.since < self.book.durable else 0
                if obj.get("code") != 410:
                    self.book.faults.append(f"{self.name}'s watch ends with {obj}")
                return
            self.record(stream, kind, obj)

    def record(self, stream: Stream, kind: str, obj: Any) -> None:
        at, revision = time.monotonic(), int(obj["metadata"]["resourceVersion"])
        if kind == history.BOOKMARK:
            stream.events.append(Event(at, kind, Version("", revision, None)))
        elif version := seen(obj):
            stream.events.append(Event(at, kind, version))
        self.since = revision

    async def listed_by_watching(self) -> None:
        """A list whose items come as events, and then goes on as a watch."""
        operation = Operation(self.name, "list", "", time.monotonic())
        self.book.told.operations.append(operation)
        found: list[Version] = []
        stream: Stream | None = None
        async for kind, obj in self.events({"sendInitialEvents": "true", "resourceVersionMatch": "NotOlderThan"}):
            if kind == "ERROR":
                self.expired += 1
                self.since = 0
                return
            if stream is not None:
                self.record(stream, kind, obj)
            elif kind == history.BOOKMARK:
                revision = int(obj["metadata"]["resourceVersion"])
                operation.ended, operation.outcome = time.monotonic(), history.DONE
                operation.revision, operation.seen = revision, tuple(found)
                stream = Stream(self.name, revision)
                self.book.told.streams.append(stream)
                self.since = revision
            elif version := seen(obj):
                found.append(version)

    async def events(self, query: dict[str, str]) -> AsyncIterator[tuple[str, Any]]:
        seconds = self.chance.randint(1, WATCH_SECONDS_MAX)
        asked = {"watch": "true", "allowWatchBookmarks": "true", "timeoutSeconds": str(seconds), **query}
        target = f"{self.book.path}?{urlencode(asked)}"
        response = await self.dialer.send(http.Request("GET", target, (("accept", "application/json"),)))
        if isinstance(response.body, bytes):
            self.count(response.code, f"GET {target}", response.body)
            if response.code == 410:
                yield "ERROR", {"code": 410}
            return
        self.count(response.code, f"GET {target}", b"")
        rest = b""
        async with aclosing(response.body) as pieces:  # type: ignore[type-var]
            async for piece in pieces:
                *lines, rest = (rest + piece).split(b"\n")
                for line in lines:
                    event = json.loads(line)
                    yield event["type"], event["object"]
