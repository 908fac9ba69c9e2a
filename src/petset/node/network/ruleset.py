"""An nftables table that many objects have a part in, and what has to change in it when one of them does.

Pure: a `Part` is what one object contributes (sets, chains, elements of sets and maps), a `Table` all parts and a base
that never changes. `whole` is the script that makes all of it anew in one step; `changes` the script for what differs
from what is in force, in one step too, so that nobody meets half of a change and whatever is not concerned goes on.

Sets and chains belong to one object alone. An element may be claimed by several: the one whose name is first has it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

Element = tuple[str, str]  # The set's or map's name, and the key.


@dataclass(frozen=True, slots=True)
class Part:
    sets: Mapping[str, str] = field(default_factory=dict[str, str])  # What stands between their braces, by name.
    chains: Mapping[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])  # Their rules, by name.
    elements: Mapping[Element, str] = field(default_factory=dict[Element, str])  # The value; "" in a set.


NOTHING = Part()


def mark(*names: str) -> str:
    """What a name in a table ends with that is about all of these: nft's own names are short."""
    return hashlib.sha256("\0".join(names).encode()).hexdigest()[:16]


class Table:
    def __init__(self, name: str, base: str):
        """Of the family ip; `base` is what stands in it whoever has a part."""
        self.name, self._base = name, base
        self._parts: dict[str, Part] = {}
        self._claims: dict[Element, dict[str, str]] = {}  # Values by who claims it.
        self._before: dict[str, Part] = {}  # The parts in force of those that have another now.
        self._in_force: dict[Element, str] = {}

    def put(self, owner: str, part: Part = NOTHING) -> None:
        """What the object has in it from now on."""
        old = self._parts.pop(owner, NOTHING)
        if part is not NOTHING:
            self._parts[owner] = part
        if old == part:
            return
        self._before.setdefault(owner, old)
        for element in old.elements:
            claims = self._claims[element]
            del claims[owner]
            if not claims:
                del self._claims[element]
        for element, value in part.elements.items():
            self._claims.setdefault(element, {})[owner] = value

    def value(self, element: Element) -> str | None:
        claims = self._claims.get(element)
        return claims[min(claims)] if claims else None

    def whole(self) -> str:
        """Instead of whatever is in force under that name."""
        lines = [f"add table ip {self.name}", f"delete table ip {self.name}", f"table ip {self.name} {{", self._base]
        parts = [self._parts[owner] for owner in sorted(self._parts)]
        lines += [f"set {name} {{ {body} }}" for part in parts for name, body in part.sets.items()]
        lines += [f"chain {name} {{\n}}" for part in parts for name in part.chains]
        lines.append("}")
        for part in parts:
            lines += self._rules(part.chains)
        lines += self._elements("add", {element: self.value(element) or "" for element in sorted(self._claims)})
        return "\n".join(lines) + "\n"

    def changes(self) -> str:
        """What brings what is in force to what is to be; "" when nothing differs. Then call `done`."""
        lines: list[str] = []
        before = {owner: self._before[owner] for owner in sorted(self._before)}
        after = {owner: self._parts.get(owner, NOTHING) for owner in before}
        last: list[str] = []
        for owner, new in after.items():  # All that rules may lead to is there first, whose ever it is.
            old = before[owner]
            fresh = [name for name in new.sets if name not in old.sets]
            lines += [f"add set ip {self.name} {name} {{ {new.sets[name]} }}" for name in fresh]
            lines += [f"add chain ip {self.name} {name}" for name in new.chains if name not in old.chains]
        for owner, new in after.items():
            old = before[owner]
            changed = {name: rules for name, rules in new.chains.items() if old.chains.get(name) != rules}
            lines += [f"flush chain ip {self.name} {name}" for name in changed if name in old.chains]
            lines += self._rules(changed)
            gone = [name for name in old.chains if name not in new.chains]
            last += [f"flush chain ip {self.name} {name}" for name in gone]
            last += [f"delete chain ip {self.name} {name}" for name in gone]
            last += [f"delete set ip {self.name} {name}" for name in old.sets if name not in new.sets]
        moved = self._moved()
        lines += self._elements("delete", {one: "" for one in moved if one in self._in_force})
        lines += self._elements("add", {one: value for one, value in moved.items() if value is not None})
        return "".join(f"{line}\n" for line in (*lines, *_chains_first(last)))

    def done(self) -> None:
        """What was asked for last is in force."""
        for element, value in self._moved().items():
            if value is None:
                del self._in_force[element]
            else:
                self._in_force[element] = value
        self._before.clear()

    # ---- small leaves

    def _moved(self) -> dict[Element, str | None]:
        """The elements whose values are not those in force; None: they go."""
        concerned = dict.fromkeys(
            element
            for owner, old in self._before.items()
            for element in (*old.elements, *self._parts.get(owner, NOTHING).elements)
        )
        wanted = {element: self.value(element) for element in concerned}
        return {element: value for element, value in wanted.items() if value != self._in_force.get(element)}

    def _rules(self, chains: Mapping[str, Iterable[str]]) -> list[str]:
        return [f"add rule ip {self.name} {name} {rule}" for name, rules in chains.items() for rule in rules]

    def _elements(self, verb: str, elements: Mapping[Element, str]) -> list[str]:
        by_set: dict[str, list[str]] = {}
        for (name, key), value in elements.items():
            by_set.setdefault(name, []).append(f"{key} : {value}" if value else key)
        return [f"{verb} element ip {self.name} {name} {{ {', '.join(keys)} }}" for name, keys in by_set.items()]


def _chains_first(lines: list[str]) -> list[str]:
    return sorted(lines, key=lambda line: ("flush", "delete").index(line.split()[0]))
