"""Who holds all that others would be given: asked before anybody makes a role or binds one.

Several rules together may cover one: for each choice of a verb, group, resource and name there must be one that has
them all. The choices are as many as the product of the lists, so they are never walked: held rules are found by what
they name, values that the same of them have are one, and what is left is counted, up to a maximum.
"""

from __future__ import annotations

import bisect
import functools
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

from petset.server.access.rbac import Rule

STEPS_MAX = 500_000
LOOP_STEPS_MAX = 10_000  # Within 20 ms.


class Unclear(Exception):
    """Whether rules cover others takes more steps to tell than it may."""


def covers(held: Iterable[Rule], wanted: Iterable[Rule], steps_max: int = STEPS_MAX) -> bool:
    """Whether somebody with the held rules has all that the wanted ones would give. Raises Unclear."""
    rules = _Held(tuple(held), steps_max)
    return all(rules.cover(rule) for rule in wanted)


class _Held:
    """Rules by what they name: a set of rules is a number with a bit for each."""

    def __init__(self, rules: Sequence[Rule], steps_max: int):
        self._steps, self._steps_max = 0, steps_max
        self._words = 1 + len(rules) // 4096  # What a step with such a number costs.
        self._verbs = self._index(rule.verbs for rule in rules)
        self._groups = self._index(rule.groups for rule in rules)
        self._resources = self._index(rule.resources for rule in rules)
        self._names = self._index(rule.names for rule in rules)
        self._unnamed = sum(1 << index for index, rule in enumerate(rules) if not rule.names)
        self._paths = self._index(rule.paths for rule in rules)
        self._beginnings = {path[:-1]: bits for path, bits in self._paths.items() if path.endswith("*")}
        self._lengths = sorted(dict.fromkeys(map(len, self._beginnings)))

    def _index(self, lists: Iterable[Collection[str]]) -> dict[str, int]:
        found: dict[str, int] = {}
        for index, values in enumerate(lists):
            self._step(len(values))
            for value in values:
                found[value] = found.get(value, 0) | 1 << index
        return found

    def _step(self, count: int) -> None:
        self._steps += count * self._words
        if self._steps > self._steps_max:
            raise Unclear

    def cover(self, wanted: Rule) -> bool:
        verbs = self._those(wanted.verbs, self._verb)
        paths = self._those(wanted.paths, self._path)
        groups = self._those(wanted.groups, self._group)
        kinds = self._those(wanted.resources, self._resource)
        names = self._those(wanted.names or ("",), self._name)
        return self._meet(verbs, paths) and self._meet(verbs, groups, kinds, names)

    def _those(self, values: Collection[str], having: Callable[[str], int]) -> Sequence[int]:
        """For each of the values the rules that have it; the same ones once."""
        self._step(len(values))
        return tuple(dict.fromkeys(map(having, values)))

    def _verb(self, verb: str) -> int:
        return _any(self._verbs, verb)

    def _group(self, group: str) -> int:
        return _any(self._groups, group)

    def _name(self, name: str) -> int:
        return self._unnamed | (self._names.get(name, 0) if name else 0)

    def _resource(self, resource: str) -> int:
        _, slash, sub = resource.partition("/")
        found = _any(self._resources, resource)
        return found | self._resources.get(f"*/{sub}", 0) if slash else found

    def _path(self, path: str) -> int:
        """Those that have it, or a beginning of it."""
        found = self._paths.get(path, 0)
        self._step(bisect.bisect_right(self._lengths, len(path)))
        for length in self._lengths:
            if length > len(path):
                break
            found |= self._beginnings.get(path[:length], 0)
        return found

    def _meet(self, *choices: Sequence[int]) -> bool:
        """Whether every choice of one number from each list leaves a rule that has them all."""
        if not all(choices):
            return True  # There is nothing to choose.
        if any(0 in masks for masks in choices):
            return False
        if functools.reduce(int.__and__, [bits for masks in choices for bits in masks]):
            return True  # One rule has everything.
        reached = choices[0]
        for masks in choices[1:]:
            self._step(len(reached) * len(masks))
            reached = tuple(dict.fromkeys(a & b for a in reached for b in masks))
            if 0 in reached:
                return False
        return True


def _any(index: Mapping[str, int], value: str) -> int:
    return index.get(value, 0) | index.get("*", 0)
