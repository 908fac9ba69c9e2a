"""What upstream's CEL writes and the runtime writes otherwise: an expression's text as the runtime takes it.

    m.transformMap(k, v, v + 1)     ->  m.transformList(k, v, {k: v + 1}).mergedMaps()
    format.uri().validate(self)     ->  format.uri().validate(self).first()        a list of one or none is an optional
    l.indexOf(1), lists.range(3)    ->  l.indexOF(1), lists.rangE(3)               functions of ours under other names
    l.includes(a)                   ->  l.includes([a])                            which take a list for anything

The runtime lacks what transformMap needs, takes no optional from a function of ours, and lets nobody add to a function
that one of its libraries has. Calls are told by their names and how many arguments they have; all else is left as it
is, and a name that is only changed stays as long as it was, so that places in the text stay where they were. `told`
gives a message, or a function's name, back with upstream's names.
Follows: the libraries of cel-go (lists, two-variable comprehensions), and Kubernetes' own.
"""

from __future__ import annotations

import functools
import itertools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from petset.objects.expressions import source
from petset.objects.expressions.source import Token

MERGED = "mergedMaps"  # A list of maps as one.
RENAMED: Mapping[str, str] = {  # Members (of `lists`: functions), as long as they were.
    "indexOf": "indexOF",
    "lastIndexOf": "lastIndexOF",
    "distinct": "distincT",
    "range": "rangE",
}
_BACK = {new: old for old, new in RENAMED.items()}
_GIVES_OPTIONAL = ("validate", "named")
_CONCERNED = re.compile(
    "|".join([*RENAMED, *_BACK, MERGED, *_GIVES_OPTIONAL, "includes", "exists_?[Oo]ne", "transformMap"])
)  # Anywhere, whatever it is there.


@dataclass(slots=True)
class _Call:
    """A bracket that is open, and whose it is: a member that is called, or "" for anything else."""

    name: str
    at: int  # Where its name was written.
    begins: int  # Where its first argument was.
    commas: list[int]


@functools.lru_cache(source.TEXTS_KEPT_MAX)
def written(expression: str) -> str:
    """Raises ValueError for a name that only the runtime knows."""
    if _CONCERNED.search(expression) is None:
        return expression
    found = source.tokens(expression)
    for token, after in itertools.pairwise(token for token in found if token.kind != "space"):
        if after.text == "(" and (token.text in _BACK or token.text == MERGED):
            raise ValueError(f"undeclared reference to '{token.text}' (in container '')")
    return "".join(_written(found))


def _written(found: Sequence[Token]) -> list[str]:
    out: list[str] = []
    opened: list[_Call] = []
    for at, token in enumerate(found):
        out.append(token.text)
        if token.text in ("(", "[", "{"):
            name = _called(found, at) if token.text == "(" else -1
            opened.append(_Call(found[name].text if name >= 0 else "", max(name, 0), at + 1, []))
        elif token.text == "," and opened:
            opened[-1].commas.append(at)
        elif token.text in (")", "]", "}") and opened:
            _close(out, opened.pop())
    return out


def _called(found: Sequence[Token], at: int) -> int:
    """Where the name of the member stands that is called by this bracket, -1 for none."""
    before = [place for place in range(max(at - 8, 0), at) if found[place].kind != "space"]
    if len(before) < 3 or found[before[-1]].kind != "name" or found[before[-2]].text != ".":
        return -1
    name, owner = found[before[-1]].text, found[before[-3]].text
    owned = {"named": "format", "range": "lists"}.get(name)
    return before[-1] if owned is None or owner == owned else -1


def _close(out: list[str], call: _Call) -> None:
    """`out` ends with the bracket that closes the call."""
    name, count = call.name, len(call.commas) + 1
    if name in RENAMED:
        out[call.at] = RENAMED[name]
    elif name in _GIVES_OPTIONAL and count == 1:
        out[-1] += ".first()"
    elif name == "includes" and count == 1:
        out[call.begins - 1] += "["
        out[-1] = "]" + out[-1]
    elif name == "exists_one" and count == 3:
        out[call.at] = "existsOne"
    elif name == "existsOne" and count == 2:
        out[call.at] = "exists_one"
    elif name in ("transformMap", "transformMapEntry") and count in (3, 4):
        out[call.at] = "transformList"
        if name == "transformMap":
            key = "".join(out[call.begins : call.commas[0]]).strip()
            out[call.commas[-1]] += f"{{{key}:"
            out[-1] = "}" + out[-1]
        out[-1] += f".{MERGED}()"


def told(text: str) -> str:
    """With the names that whoever wrote the expression knows."""
    for new, old in _BACK.items():
        text = text.replace(new, old)
    return text
