"""What the objects of one namespace use of its quotas: as committed, and with all that is on its way to the store.

An `Account` has a line for each quota and a book for each kind that somebody asked to write. A book follows the store
and charges each object to the lines that count it. A `Claim` is a write that was let through: it is charged at once, in
the same step in which there was found to be room, and until its book shows the version it made, or it has failed. So
no two writes are ever given the same room, and nothing is counted twice when the first of many is committed. Nothing of
this is written anywhere: after a start the books are read from what is stored.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from petset.kinds.quotas import quota as quotas
from petset.kinds.quotas import usage
from petset.kinds.quotas.quota import Quota
from petset.objects import errors, meta
from petset.objects.meta import Object
from petset.objects.registry import Kind
from petset.server.live import LiveEntries
from petset.store import store as stores

NOTHING: Object = {}


class Line:
    """One quota and how much of it is used."""

    __slots__ = ("quota", "used")

    def __init__(self, quota: Quota):
        self.quota = quota
        self.used: dict[str, int] = {}

    def give(self, amounts: Mapping[str, int]) -> None:
        for name, amount in amounts.items():
            self.used[name] = self.used.get(name, 0) + amount

    def take_back(self, amounts: Mapping[str, int]) -> None:
        for name, amount in amounts.items():
            self.used[name] -= amount


Charges = list[tuple[Line, Mapping[str, int]]]


class Claim:
    """A write on its way: a new object, or a version of one that is to follow the old one."""

    __slots__ = ("account", "key", "kind", "namespace", "new", "old")

    def __init__(self, kind: Kind, namespace: str, key: str, new: Object, old: Object | None):
        self.kind, self.namespace, self.key, self.new, self.old = kind, namespace, key, new, old
        self.account: Account | None = None  # Where it is charged.

    @property
    def resource(self) -> str:
        return usage.resource_of(self.kind)

    def is_settled_by(self, entry: stores.Entry) -> bool:
        """Whether a version in the store is the one it made, or one that leaves it none to make."""
        if meta.uid(entry.object) != meta.uid(self.new):
            return False
        return self.old is None or entry.revision > meta.revision(self.old)


Claims = dict[Claim, None]  # Of all writes that are on their way.


class Book:
    """The objects of one kind, each with what it is charged."""

    def __init__(self, store: stores.Store, account: Account, claim: Claim):
        self._account, self._resource = account, claim.resource
        self._charges: dict[str, Charges] = {}  # By key.
        self.is_closed = False
        self.view = LiveEntries(store, claim.kind.key(claim.namespace), self._told)

    def close(self) -> None:
        """Charge nobody any more, also when somebody still reads it."""
        self.is_closed = True
        self.view.close()

    def _told(self, key: str, entry: stores.Entry | None) -> None:
        if self.is_closed:
            return
        for line, amounts in self._charges.pop(key, ()):
            line.take_back(amounts)
        if entry is None:
            return
        obj = entry.object if usage.is_read(self._resource) else NOTHING
        if charges := self._account.charged(self._resource, obj, None):
            self._charges[key] = charges
            for line, amounts in charges:
                line.give(amounts)
        for claim in self._account.held(key):
            if claim.is_settled_by(entry):
                self._account.drop(claim)


class Account:
    """One namespace's quotas. `claims` are all there are, of whatever namespace."""

    def __init__(self, store: stores.Store, namespace: str, claims: Claims):
        self._store, self._namespace, self._claims = store, namespace, claims
        self._lines: dict[str, Line] = {}  # By the quota's name.
        self._books: dict[str, Book] = {}  # By the kind's key.
        self._held: dict[str, dict[Claim, Charges]] = {}  # What is charged for claims, by the key that they write.

    @property
    def is_empty(self) -> bool:
        return not self._lines

    def set(self, name: str, quota: Quota | None) -> None:
        """A quota is like that now. All begins anew when it is another than before."""
        known = self._lines.get(name)
        if quota == (known.quota if known is not None else None):
            return
        self.close()
        wanted = {name: line.quota for name, line in self._lines.items() if quota is not None or line is not known}
        if quota is not None:
            wanted[name] = quota
        self._lines = {name: Line(wanted[name]) for name in sorted(wanted)}
        self._held.clear()
        for claim in self._claims:
            if claim.namespace == self._namespace:
                self._charge(claim, self.charged(claim.resource, claim.new, claim.old))

    def close(self) -> None:
        for book in self._books.values():
            book.close()
        self._books.clear()

    def limits(self, resource: str) -> bool:
        return any(resource in line.quota.names for line in self._lines.values())

    def book(self, claim: Claim) -> Book:
        """That of the claim's kind, from which there may be much to read yet."""
        key = claim.kind.key()
        book = self._books.get(key)
        if book is None:
            book = self._books[key] = Book(self._store, self, claim)
        return book

    def admit(self, claim: Claim, *, is_tried: bool = False) -> None:
        """Charge it, unless it is only tried whether there is room. Raises ApiError 403."""
        self.book(claim).view.refresh()
        for line in self._lines.values():
            if missing := line.quota.unsaid(claim.resource, claim.new):
                told = "; ".join(f"{name} for: {','.join(containers)}" for name, containers in missing.items())
                raise _refusal(claim, f"failed quota: {line.quota.name}: must specify {told}")
        charges = self.charged(claim.resource, claim.new, claim.old)
        for line, amounts in charges:
            exceeded = line.quota.exceeded(line.used, amounts)
            if exceeded:
                asked, used, hard = (
                    quotas.shown({name: of.get(name, 0) for name in exceeded})
                    for of in (amounts, line.used, line.quota.hard)
                )
                why = f"exceeded quota: {line.quota.name}, requested: {asked}, used: {used}, limited: {hard}"
                raise _refusal(claim, why)
        if not is_tried:
            self._charge(claim, charges)

    def charged(self, resource: str, new: Object, old: Object | None) -> Charges:
        """What an object takes of each quota; beyond the old one of it."""
        found: Charges = []
        used = usage.of(resource, new)
        for line in self._lines.values():
            amounts = line.quota.charge(resource, new, used)
            if old is not None and amounts:
                before = line.quota.charge(resource, old, usage.of(resource, old))
                more = {name: amount - before.get(name, 0) for name, amount in amounts.items()}
                amounts = {name: amount for name, amount in more.items() if amount > 0}
            if amounts:
                found.append((line, amounts))
        return found

    def _charge(self, claim: Claim, charges: Charges) -> None:
        if charges:
            claim.account = self
            self._held.setdefault(claim.key, {})[claim] = charges
        for line, amounts in charges:
            line.give(amounts)

    def held(self, key: str) -> Sequence[Claim]:
        """The claims on a key."""
        return tuple(self._held.get(key, ()))

    def drop(self, claim: Claim) -> None:
        """Charge it no more."""
        held = self._held.get(claim.key, {})
        for line, amounts in held.pop(claim, ()):
            line.take_back(amounts)
        if not held:
            self._held.pop(claim.key, None)


def _refusal(claim: Claim, why: str) -> errors.ApiError:
    return errors.forbidden(claim.kind.plural, meta.name(claim.new), why, claim.kind.group)
