"""The loop that kills: clients at work while petset is killed, stopped, starved of disk and cut off; then the verdict.

It goes in rounds. A round is a namespace of its own, a history of its own and a few dozen mishaps drawn from the seed;
at its end everybody must be heard and every watch must come to the last revision, then the checker reads the history.
After each death what the disk holds is read before petset starts again: what was acknowledged or seen must be there.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

from tests.torture import checker, clients, history, proxy
from tests.torture.clients import Book, Watcher, Worker
from tests.torture.history import Operation
from tests.torture.instance import Instance

WORKERS_STRAIGHT, WORKERS_PROXIED = 4, 3
ROUND_KILLS_MAX = 25
STARTS_MAX = 20  # In a row that may fail, on a disk that is freed meanwhile.
HEARD_SECONDS_MAX = 60.0
PROXIED_ANSWER_SECONDS_MAX = 2.0


@dataclass
class Figures:
    mishaps: Counter[str] = field(default_factory=Counter)
    outcomes: Counter[str] = field(default_factory=Counter)
    codes: Counter[int] = field(default_factory=Counter)
    events: int = 0
    streams: int = 0
    expired: int = 0
    wrong: list[str] = field(default_factory=list)


class Round:
    """One history: clients at work on one instance, and the mishaps that befall it."""

    def __init__(self, instance: Instance, book: Book, chance: random.Random, figures: Figures, cable: proxy.Proxy):
        self.instance, self.book, self.chance, self.figures, self.cable = instance, book, chance, figures, cable
        self.watchers: list[Watcher] = []

    async def run(self, kills: int) -> None:
        async with self.at_work():
            done = 0
            deck: list[Mishap] = []
            while done < kills:
                await asyncio.sleep(self.chance.choice((0.02, 0.1, 0.2, 0.3)) * (0.5 + self.chance.random()))
                deck = deck or self.chance.sample(MISHAPS, sum(COUNTS), counts=COUNTS)
                mishap = deck.pop()
                if mishap is starved and not self.instance.has_own_disk:
                    mishap = killed
                self.figures.mishaps[mishap.__name__] += 1
                if self.instance.process is not None and self.instance.process.returncode is not None:
                    self.figures.wrong.append(f"petset ended by itself: {self.instance.process.returncode}")
                    await self.up_again()
                await mishap(self)
                done += mishap is killed or mishap is killed_while_starting
            await self.everybody_hears()

    @contextlib.asynccontextmanager
    async def at_work(self) -> AsyncIterator[None]:
        book, chance, made = self.book, self.chance, self.instance.dialer
        async with contextlib.AsyncExitStack() as opened:

            async def line(port: int = 0):
                seconds = PROXIED_ANSWER_SECONDS_MAX if port else 20.0
                return await opened.enter_async_context(made(port, seconds))

            async def a_random() -> random.Random:
                return random.Random(chance.random())

            speakers: list[Worker | Watcher] = []
            for i in range(WORKERS_STRAIGHT + WORKERS_PROXIED):
                port = self.cable.port if i >= WORKERS_STRAIGHT else 0
                speakers.append(Worker(f"w{i}", book, await line(port), await a_random()))
            self.watchers = [
                Watcher("all", book, await line(), await a_random(), witness=True),
                Watcher("cut", book, await line(self.cable.port), await a_random()),
                Watcher("red", book, await line(), await a_random(), color="red"),
                Watcher("streamed", book, await line(self.cable.port), await a_random(), streamed=True),
            ]
            async with asyncio.TaskGroup() as working:
                running = [working.create_task(each.run()) for each in (*speakers, *self.watchers)]
                try:
                    yield
                finally:
                    for task in running:
                        task.cancel()

    async def everybody_hears(self) -> None:
        """A last write, which every watch must come to; and a last list."""
        self.cable.heal()
        async with self.instance.dialer() as line:
            last = Worker("last", self.book, line, self.chance)
            async with asyncio.timeout(HEARD_SECONDS_MAX):
                for color in clients.COLORS * 2:  # Each watch is told of at least one of them.
                    operation = await self.marked(last, color)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(HEARD_SECONDS_MAX):
                    await self.heard(operation.revision)
            self.figures.wrong += [
                f"the watch of {each.name} never came to {operation.revision}"
                for each in self.watchers
                if each.since < operation.revision
            ]
            await last.listed(self.chance)

    async def heard(self, revision: int) -> None:
        while any(each.since < revision for each in self.watchers):  # noqa: ASYNC110  # Streams of other tasks.
            await asyncio.sleep(0.01)

    async def marked(self, last: Worker, color: str) -> Operation:
        """A write of that color that was acknowledged."""
        while True:
            with contextlib.suppress(OSError):
                await last.write("create" if last.number % 2 else "update", "k-0", color)
            mine = [each for each in self.book.told.operations if each.client == "last"]
            if mine and mine[-1].outcome == history.DONE:
                return mine[-1]

    async def up_again(self) -> None:
        for _ in range(STARTS_MAX):
            if await self.instance.start():
                return
            await asyncio.sleep(0.05)
        raise RuntimeError(f"petset does not start any more: {self.instance.said[-1]}")

    def look_at_the_disk(self) -> None:
        """What is durable, judged as a list that somebody read now."""
        began = time.monotonic()
        revision, live, also = self.instance.durable(f"/core/configmaps/{self.book.namespace}/")
        operation = Operation(checker.DISK, "list", "", began, time.monotonic(), history.DONE, revision=revision)
        operation.seen, operation.also = tuple(live), tuple(also)
        self.book.durable = revision
        self.book.told.operations.append(operation)


# -- mishaps ------------------------------------------------------------------------------------------------------


async def killed(round_: Round) -> None:
    """kill -9 at any moment."""
    await round_.instance.kill()
    round_.look_at_the_disk()
    await round_.up_again()


async def killed_while_starting(round_: Round) -> None:
    """kill -9, and again before it is ready."""
    await round_.instance.kill()
    round_.look_at_the_disk()
    await round_.instance.spawn()
    await asyncio.sleep(round_.chance.random() * 0.8)
    await round_.instance.kill()
    round_.look_at_the_disk()
    await round_.up_again()


async def ended(round_: Round) -> None:
    """SIGTERM, as `petset down` sends it: it ends, with exit code 0."""
    code = await round_.instance.stop()
    if code:
        round_.figures.wrong.append(f"SIGTERM ended with exit code {code}")
    round_.look_at_the_disk()
    await round_.up_again()


async def frozen(round_: Round) -> None:
    """SIGSTOP for a while, then SIGCONT."""
    round_.instance.signal(signal.SIGSTOP)
    await asyncio.sleep(0.05 + round_.chance.random() * 0.5)
    round_.instance.signal(signal.SIGCONT)


async def cut_off(round_: Round) -> None:
    """Connections end in the middle of anything, or nothing gets through one way for a while."""
    what = round_.chance.choice(("cut", "requests", "answers", "answers"))
    if what != "cut":
        round_.cable.stall(what)
        await asyncio.sleep(round_.chance.random() * 0.4)
    round_.cable.cut()
    round_.cable.heal()


async def starved(round_: Round) -> None:
    """The disk is full to the last page for a while; sometimes petset is killed meanwhile."""
    with round_.instance.full_disk():
        await asyncio.sleep(0.1 + round_.chance.random() * 0.4)
        dies = round_.chance.random() < 0.4
        if dies:
            await round_.instance.kill()
            round_.figures.mishaps["killed on a full disk"] += 1
            round_.look_at_the_disk()
            if round_.chance.random() < 0.5:
                await round_.instance.start()  # It may be refused, with its reason.
    if not round_.instance.is_running:
        await round_.up_again()


Mishap = Callable[[Round], Awaitable[None]]
MISHAPS: tuple[Mishap, ...] = (killed, killed_while_starting, ended, frozen, cut_off, starved)
COUNTS = (7, 1, 1, 1, 2, 2)  # Of a deck that is dealt again and again.


# -- rounds -------------------------------------------------------------------------------------------------------


async def run(instance: Instance, kills: int, seed: int, keep: Path, tell: Callable[[str], None]) -> Figures:
    """Rounds until that many kills are done. A history that breaks a law is kept as a file."""
    figures = Figures()
    if not instance.is_running and not await instance.start():
        raise RuntimeError(instance.said[-1])
    async with proxy.running(instance.port) as cable:
        done = number = told = 0
        while done < kills:
            number += 1
            wanted = min(ROUND_KILLS_MAX, kills - done)
            chance = random.Random(f"{seed} {number}")
            book = Book(f"torture-{number}")
            await made_namespace(instance, book.namespace)
            await Round(instance, book, chance, figures, cable).run(wanted)
            done += wanted
            judged(book, figures, keep, f"seed-{seed}-round-{number}")
            answers = figures.outcomes[history.DONE]
            tell(f"kills {done}: {answers} answers, {figures.events} events, {len(figures.wrong)} wrong")
            for wrong in figures.wrong[told:]:
                tell(wrong)
            told = len(figures.wrong)
    await instance.stop()
    figures.wrong += instance.tracebacks()
    return figures


async def made_namespace(instance: Instance, name: str) -> None:
    async with instance.dialer() as line:
        speaker = clients.Speaker("namespace", Book(name), line)
        namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
        code, answer = await speaker.ask("POST", "/api/v1/namespaces", namespace)
        if code != 201:
            raise RuntimeError(f"cannot make a namespace: {code} {answer}")


def judged(book: Book, figures: Figures, keep: Path, name: str) -> None:
    told = book.told
    figures.codes += book.codes
    figures.streams += len(told.streams)
    figures.events += sum(len(stream.events) for stream in told.streams)
    figures.outcomes += Counter(operation.outcome for operation in told.operations)
    figures.expired += book.codes[410]
    violations = checker.check(told)
    figures.wrong += [f"{law}: {what}" for law, what in violations] + book.faults
    if violations or book.faults:
        keep.mkdir(parents=True, exist_ok=True)
        told.save(keep / f"{name}.json")
