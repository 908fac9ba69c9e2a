"""How many seats each priority level has, who waits for one, and who is next: pure.

A request that is carried out has a seat. Each level has its share of all seats (nominal). Of these it keeps some for
itself whoever else wants them (the lower limit); the rest it lends while it does not use it, and itself it may borrow
up to the upper limit. `Levels.take` gives a seat if there is one and nobody waits; else `Levels.wait` puts who asks
into a queue, or says that there is no room. A level deals to each flow a few of its queues (shuffle sharding) and uses
the shortest, so that a flow that fills its own seldom meets another everywhere. `Levels.leave` frees a seat and gives
it to who is next: levels below their share before those that borrow, then in turn, and within a level its queues in
turn, so that nobody's many are before anybody's first.

Invariant: seats taken, and those that levels below their lower limit lack to it, are never more than there are, but for
what a change of the levels leaves over. What waits in a level that is gone is still carried out.
Upstream moves borrowed seats every ten seconds by what was wanted lately; here a seat is lent when it is asked for.
Follows: "API Priority and Fairness" of the Kubernetes documentation, KEP-1040.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from petset.base import round_robin
from petset.kinds.flowcontrol import every_cluster
from petset.kinds.flowcontrol.priority_level import PRIORITYLEVELCONFIGURATIONS
from petset.objects import meta
from petset.objects.meta import Object

T = TypeVar("T")  # Who waits.


@dataclass(frozen=True, slots=True)
class Terms:
    """What a PriorityLevelConfiguration says."""

    uid: str = ""
    is_exempt: bool = False
    shares: int = 0
    lendable_percent: int = 0
    borrowing_percent: int | None = None  # None: whatever there is.
    queues: int = 0  # 0: who finds no seat is rejected.
    hand_size: int = 0
    queue_length: int = 0


@dataclass(frozen=True, slots=True)
class Limits:
    """Of a level, in seats."""

    nominal: int = 0
    lower: int = 0
    upper: int = 0


def terms_of(obj: Object) -> Terms:
    spec = meta.part(obj, "spec")
    is_exempt = spec.get("type") == "Exempt"
    level = meta.part(spec, "exempt" if is_exempt else "limited")
    response = meta.part(level, "limitResponse")
    queuing = meta.part(response, "queuing" if response.get("type") == "Queue" else "")
    return Terms(
        obj["metadata"].get("uid", ""),
        is_exempt,
        level.get("nominalConcurrencyShares") or 0,
        level.get("lendablePercent") or 0,
        level.get("borrowingLimitPercent"),
        queuing.get("queues") or 0,
        queuing.get("handSize") or 0,
        queuing.get("queueLengthLimit") or 0,
    )


def limits(terms: Mapping[str, Terms], seats: int) -> dict[str, Limits]:
    """Each level's part of so many seats, rounded up; a percentage of that is rounded to the nearest."""
    shares = sum(one.shares for one in terms.values()) or 1
    found: dict[str, Limits] = {}
    for name, one in terms.items():
        nominal = -(-seats * one.shares // shares)
        lower = nominal - (2 * nominal * one.lendable_percent + 100) // 200
        borrowing = one.borrowing_percent
        upper = seats if borrowing is None else min(seats, nominal + (2 * nominal * borrowing + 100) // 200)
        found[name] = Limits(nominal, lower, max(upper, nominal))
    return found


def flow_hash(schema: str, flow: str) -> int:
    """A number of 64 bits: the same at every start, and no stranger chooses it."""
    return int.from_bytes(hashlib.sha256(f"{len(schema)}:{schema}{flow}".encode()).digest()[:8], "little")


def hand(number: int, queues: int, size: int) -> Sequence[int]:
    """The queues that a flow of this hash is dealt: each hand of `size` different ones is as likely as any other."""
    dealt: list[int] = []
    for left in range(queues, queues - size, -1):
        number, card = divmod(number, left)
        for before in sorted(dealt):  # The card-th of those that are still in the deck.
            card += card >= before
        dealt.append(card)
    return dealt


class Level(Generic[T]):
    """One, as it is now."""

    __slots__ = ("executing", "limits", "name", "own", "terms", "waiting", "waiting_count")

    def __init__(self, name: str):
        self.name = name
        self.put(Terms(), Limits())
        self.executing = 0  # Seats taken.
        self.waiting = round_robin.RoundRobin[T]()  # By the number of the queue.
        self.waiting_count = 0

    def put(self, terms: Terms, limits: Limits) -> None:
        self.terms, self.limits = terms, limits
        self.own = math.inf if terms.is_exempt else limits.lower  # Seats that it has whoever else wants some.

    @property
    def reserved(self) -> int:
        """The seats that nobody else may have."""
        return self.limits.lower if self.terms.is_exempt else max(self.executing, self.limits.lower)


class Levels(Generic[T]):
    def __init__(self, seats: int):
        self.seats = seats
        self._missing = {
            name: terms_of(obj)
            for (plural, name), obj in every_cluster.OBJECTS.items()
            if plural == PRIORITYLEVELCONFIGURATIONS.plural and name in every_cluster.MANDATORY
        }
        self._terms: dict[str, Terms] = dict(self._missing)
        self._levels: dict[str, Level[T]] = {}
        self._gone: list[Level[T]] = []  # With some that still have seats, or wait.
        self._hungry: dict[Level[T], None] = {}  # With somebody that waits, in the order of their turns.
        self._reserved = 0  # Of each level the seats taken, or its lower limit where that is more.
        self._anew()

    def __iter__(self) -> Iterator[Level[T]]:
        return iter(self._levels.values())

    def __contains__(self, name: str) -> bool:
        return name in self._levels

    def named(self, name: str) -> Level[T]:
        return self._levels[name]

    def put(self, name: str, obj: Object | None) -> list[T]:
        """The PriorityLevelConfiguration of this name, None: there is none. Who waited and has a seat now."""
        terms = terms_of(obj) if obj is not None else self._missing.get(name)
        if terms is None:
            self._terms.pop(name, None)
        else:
            self._terms[name] = terms
        self._anew()
        return self._called()

    def _anew(self) -> None:
        found = limits(self._terms, self.seats)
        self._total = max(self.seats, sum(one.nominal for one in found.values()))  # Shares are rounded up.
        for name in [name for name in self._levels if name not in found]:
            level = self._levels.pop(name)
            level.put(Terms(), Limits(0, max(1, level.limits.lower), self.seats))
            self._gone.append(level)
        self._gone = [level for level in self._gone if level.executing or level.waiting_count]
        for name, given in found.items():
            level = self._levels.get(name)
            if level is None:
                level = self._levels[name] = Level(name)
            level.put(self._terms[name], given)
        self._reserved = sum(level.reserved for level in (*self._levels.values(), *self._gone))

    def within_reach(self, level: Level[T]) -> int:
        """How many seats the level could have now, those that it has among them."""
        limits = level.limits
        borrowed = max(0, self._total - self._reserved) + max(limits.lower, level.executing)
        return min(limits.upper, borrowed)

    # Taking and leaving a seat is on the way of every request: few steps, whatever there is.

    def take(self, level: Level[T]) -> bool:
        """A seat, if there is one and nobody of the level waits for it."""
        if level.waiting_count or (level.executing >= level.own and not self._borrow(level)):
            return False
        level.executing += 1
        return True

    def leave(self, level: Level[T]) -> list[T]:
        """A seat is free again; who waited and has it now."""
        level.executing -= 1
        if level.executing >= level.own:
            self._reserved -= 1
        return self._called() if self._hungry else []

    def _may_borrow(self, level: Level[T]) -> bool:
        return level.executing < level.limits.upper and self._reserved < self._total

    def _borrow(self, level: Level[T]) -> bool:
        """One that the level has not kept for itself."""
        if not self._may_borrow(level):
            return False
        self._reserved += 1
        return True

    def wait(self, level: Level[T], schema: str, flow: str, who: T) -> str | None:
        """The queue he waits in from now on; None: there is no room for him."""
        terms = level.terms
        if not terms.queues:
            return None
        dealt = hand(flow_hash(schema, flow), terms.queues, terms.hand_size)
        lengths = [level.waiting.waiting_of(str(queue)) for queue in dealt]
        shortest = min(lengths)
        if shortest >= terms.queue_length:
            return None
        queue = str(dealt[lengths.index(shortest)])
        level.waiting.add(queue, who)
        level.waiting_count += 1
        self._hungry[level] = None
        return queue

    def give_up(self, level: Level[T], queue: str, who: T) -> bool:
        """He waits no longer; False: he has a seat already."""
        if not level.waiting.drop(queue, who):
            return False
        self._took_one(level)
        return True

    def _took_one(self, level: Level[T]) -> None:
        level.waiting_count -= 1
        if not level.waiting_count:
            self._hungry.pop(level, None)

    def _called(self) -> list[T]:
        called: list[T] = []
        while (level := self._next()) is not None:
            if level.executing >= level.own:
                self._reserved += 1
            level.executing += 1
            called.append(level.waiting.take())
            del self._hungry[level]
            self._hungry[level] = None  # Behind the other levels.
            self._took_one(level)
        return called

    def _next(self) -> Level[T] | None:
        """Whose turn it is: of those that may have a seat one below its share, else the first."""
        first = None
        for level in self._hungry:
            if level.executing < level.own or self._may_borrow(level):
                if level.executing < level.limits.nominal:
                    return level
                first = first or level
        return first
