"""Who changes an object before it is written, one after another, and once more where one changed what another saw.

A `Mutator` is a mutating policy with its binding or a mutating webhook. `Rounds` is who is asked in the first round,
which is everybody, and who again in the second; there is no third. `read` and `complete` are what every changed object
passes.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from petset.objects import errors
from petset.objects.errors import FieldError
from petset.objects.meta import Object
from petset.server import decoding, writes
from petset.server.admission.request import Request

Change = Callable[[Object], Object]


class Mutator(Protocol):
    is_asked_again: bool  # When the object was changed after it saw it.

    def is_selected(self, new: Object | None, old: Object | None) -> bool: ...

    async def changed(self, new: Object, old: Object | None, keep: Change) -> Object:
        """The object as it wants it, itself when that is as it is. Raises ApiError.

        `keep` gives an object back what nobody may change.
        """
        ...


async def mutated(mutators: Sequence[Mutator], new: Object, old: Object | None, admit: Change, keep: Change) -> Object:
    """The object as all want it; `admit` is admission without them. Raises ApiError."""
    rounds = Rounds()
    new = await _round(mutators, rounds, admit(new), old, keep)
    if rounds.is_changed:
        seen, new = new, admit(new)
        if new != seen:
            rounds.changed()
        rounds.begin_again()
        new = await _round(mutators, rounds, new, old, keep)
    return new


async def _round(mutators: Sequence[Mutator], rounds: Rounds, new: Object, old: Object | None, keep: Change) -> Object:
    for place, mutator in enumerate(mutators):
        if not rounds.is_due(place) or not mutator.is_selected(new, old):
            continue
        changed = await mutator.changed(new, old, keep)
        if changed is not new:
            rounds.changed()
            new = changed
        if mutator.is_asked_again:
            rounds.asked(place)
    return new


class Rounds:
    """Who is asked in the first round, which is everybody, and who again in the second: pure.

    Who wishes to be asked again is, when the object was changed after he saw it. There is no third round.
    """

    def __init__(self) -> None:
        self._is_first, self.is_changed = True, False
        self._asked: dict[int, None] = {}  # Who wishes it, and has seen the object as it is.
        self._due: dict[int, None] = {}

    def is_due(self, place: int) -> bool:
        return self._is_first or place in self._due

    def asked(self, place: int) -> None:
        """One who wishes to be asked again has been asked."""
        self._asked[place] = None

    def changed(self) -> None:
        self.is_changed = True
        self._due.update(self._asked)
        self._asked.clear()

    def begin_again(self) -> None:
        self._is_first = False


def read(request: Request, tree: Any) -> tuple[Object, Sequence[FieldError]]:
    """A changed object by its schema, and what is missing. Raises ApiError 400."""
    quiet = dataclasses.replace(request.write, field_validation=writes.IGNORE, resource=request.kind)
    return decoding.checked(quiet, tree)


def complete(request: Request, obj: Object, missing: Sequence[FieldError]) -> Object:
    """It with its defaults. Raises ApiError 422."""
    if missing:
        raise errors.invalid(request.kind.kind, request.write.name, missing, request.kind.group)
    return request.kind.default(obj)
