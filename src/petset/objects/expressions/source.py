"""The text of a CEL expression, token by token: which variables it names, which objects it makes.

`members` says which members of a name an expression uses (`variables.a` uses a). `objects_as_maps` writes the objects
that mutations make, `Object.spec{replicas: 3}` and `JSONPatch{op: "add", ...}`, as maps, since their types are not
known to the runtime; each map says in TYPE what it was. `plain` takes that out of what an expression made, and finds an
object that stands where another is due. Nothing else of an expression is changed.
Follows: the CEL language definition (lexis), and the documentation of MutatingAdmissionPolicy.
"""

from __future__ import annotations

import functools
import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from petset.objects import meta

OBJECT, PATCH = "Object", "JSONPatch"
PATCH_FIELDS = ("op", "path", "from", "value")
TYPE = "@type"  # No field of an object is called so.
TEXTS_KEPT_MAX = 2_000  # What was found out about expressions, which are asked again and again.

_QUOTED = r""""(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'"""
_TOKEN = re.compile(
    rf"""
    (?P<space>\s+|//[^\n]*)
    |(?P<text>[bB]?[rR](?:\"\"\".*?\"\"\"|'''.*?'''|"[^"\n]*"|'[^'\n]*')
      |[bB]?(?:\"\"\"(?:\\.|[^\\])*?\"\"\"|'''(?:\\.|[^\\])*?'''|{_QUOTED}))
    |(?P<name>[A-Za-z_][A-Za-z0-9_]*|`[^`\n]*`)
    |(?P<number>\.?[0-9][0-9A-Za-z_]*)
    |(?P<mark>.)
    """,
    re.VERBOSE | re.DOTALL,
)


RESERVED = re.compile(
    "true|false|null|in|as|break|const|continue|else|for|function|if|import|let|loop|package|namespace|return|var|void|"
    "while"
)


def is_identifier(name: str) -> bool:
    return name.isascii() and name.isidentifier() and RESERVED.fullmatch(name) is None


@dataclass(frozen=True, slots=True)
class Token:
    kind: str  # space, text, name, number or mark.
    text: str


def tokens(expression: str) -> list[Token]:
    return [Token(found.lastgroup or "", found.group()) for found in _TOKEN.finditer(expression)]


def _solid(expression: str) -> list[Token]:
    return [token for token in tokens(expression) if token.kind != "space"]


def _is_member(found: Sequence[Token], at: int) -> bool:
    before = [token.text for token in found[max(at - 2, 0) : at]]
    return before[-1:] == ["."] or before == [".", "?"]


@functools.lru_cache(TEXTS_KEPT_MAX)
def calls(expression: str) -> Sequence[str]:
    """What it calls, members and functions."""
    found = _solid(expression)
    pairs = itertools.pairwise(found)
    return tuple(dict.fromkeys(token.text for token, after in pairs if token.kind == "name" and after.text == "("))


@functools.lru_cache(TEXTS_KEPT_MAX)
def members(expression: str, name: str) -> Sequence[str] | None:
    """The members of this name that it uses, None where it uses the name otherwise."""
    found = _solid(expression)
    used: dict[str, None] = {}
    for at, token in enumerate(found):
        if token.text != name or token.kind != "name" or _is_member(found, at):
            continue
        after = found[at + 1 : at + 4]
        if len(after) > 1 and after[0].text == "." and after[1].text == "?":
            del after[1]
        if len(after) < 2 or after[0].text != "." or after[1].kind != "name":
            return None
        used[after[1].text] = None
    return tuple(used)


@functools.lru_cache(TEXTS_KEPT_MAX)
def with_lists(expression: str, name: str, members_of: tuple[str, ...]) -> str:
    """With `variables.a[?0]` for `variables.a`: an optional that is given as a list of its value, or of nothing."""
    found = tokens(expression)
    solid = [at for at, token in enumerate(found) if token.kind != "space"]
    ends: dict[int, None] = {}
    for place in range(len(solid) - 2):
        first, dot, last = (found[one] for one in solid[place : place + 3])
        before = [found[one] for one in solid[:place]]
        if first.text == name and dot.text == "." and last.text in members_of and not _is_member(before, place):
            ends[solid[place + 2]] = None
    return "".join(token.text + ("[?0]" if at in ends else "") for at, token in enumerate(found))


# -- objects ------------------------------------------------------------------------------------------------------


@functools.lru_cache(TEXTS_KEPT_MAX)
def objects_as_maps(expression: str) -> str:
    """Raises ValueError for a field that a JSONPatch does not have."""
    return "".join(_Objects(tokens(expression)).written())


class _Objects:
    def __init__(self, found: Sequence[Token]):
        self._tokens = found
        self._at = 0
        self._open: list[str] = []  # The types of the objects that we are in, "" for any other bracket.
        self._begins = False  # Whether the next thing is a field's name.

    def written(self) -> Iterator[str]:
        while self._at < len(self._tokens):
            token = self._tokens[self._at]
            if token.kind == "name" and (made := self._object()):
                yield made
                continue
            yield self._one(token)
            self._at += 1

    def _one(self, token: Token) -> str:
        if token.kind == "space":
            return token.text
        if self._begins and self._open and self._open[-1]:
            if token.text == "?":
                return token.text
            if token.kind == "name" and self._solid_after(self._at) == ":":
                self._begins = False
                return self._field(token.text.strip("`"))
        self._begins = False
        if token.text in ("(", "[", "{"):
            self._open.append("")
        elif token.text in (")", "]", "}") and self._open:
            self._open.pop()
        elif token.text == ",":
            self._begins = True
        return token.text

    def _field(self, name: str) -> str:
        if self._open[-1] == PATCH and name not in PATCH_FIELDS:
            raise ValueError(f"undefined field '{name}'")
        return f'"{name}"'

    def _solid_after(self, at: int) -> str:
        return next((token.text for token in self._tokens[at + 1 : at + 4] if token.kind != "space"), "")

    def _object(self) -> str:
        """The beginning of an object as a map's; "" when none begins here."""
        at, found = self._at, self._tokens
        if found[at].text not in (OBJECT, PATCH) or (at and found[at - 1].text == "."):
            return ""
        name = found[at].text
        while at + 2 < len(found) and found[at + 1].text == "." and found[at + 2].kind == "name":
            name = f"{name}.{found[at + 2].text}"
            at += 2
        at += 1
        while at < len(found) and found[at].kind == "space":
            at += 1
        if at == len(found) or found[at].text != "{" or (name.startswith(PATCH) and name != PATCH):
            return ""
        self._open.append(name)
        self._begins = True
        self._at = at + 1
        return f'{{"{TYPE}": "{name}",'


class Mismatch(ValueError):
    """An object that stands where another is due."""


def plain(value: Any, expected: str = "") -> Any:
    """What an expression made, without the marks of its objects. Raises Mismatch.

    `expected` is the type that is due: for a field's value that of the object around it, and the field's name.
    """
    if meta.is_struct(value):
        name = value.get(TYPE)
        if name is not None and expected and name != expected:
            why = f'unexpected type name "{name}", expected "{expected}", which matches field name path from root'
            raise Mismatch(f"{why} Object type")
        if name is None:
            return {key: plain(inner, expected and f"{expected}.{key}") for key, inner in value.items()}
        within = "" if name == PATCH else f"{name}."
        return {key: plain(inner, within and within + key) for key, inner in value.items() if key != TYPE}
    if meta.is_list(value):
        return [plain(item, expected) for item in value]
    return value
