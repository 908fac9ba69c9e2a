"""What is said of an object: a sentence, what mends it, and the findings that are its cause, down to the last one.

A finding is well, waits for something that is on its way, or is held. `lines` is how it is told to a person, the
same for the command line and for whoever shows it elsewhere; `as_object` is how the API's answer carries it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from petset.objects import meta
from petset.objects.meta import Object

State = Literal["well", "waits", "held"]
# What is said begins with one of them, or is a sentence of its own.
VERBS = ("is", "has", "does", "waits", "cannot", "asks", "goes", "makes", "lets", "guards", "takes")
TEXT_CHARACTERS_MAX = 600  # Of what others say, in a sentence of ours.
LINE_CHARACTERS_MAX = 200  # Of a line of a log.


@dataclass(frozen=True, slots=True)
class Finding:
    about: str  # "Pod default/web-0"
    says: str
    state: State = "held"
    mend: str = ""
    because: tuple[Finding, ...] = ()

    @property
    def is_well(self) -> bool:
        return self.state == "well"


def of(obj: Object, says: str, state: State = "held", mend: str = "", because: tuple[Finding, ...] = ()) -> Finding:
    return Finding(called(obj), says, state, mend, because)


def state_of(because: tuple[Finding, ...]) -> State:
    """Of what has causes: held when one of them is, else it waits as they do."""
    return "held" if any(one.state == "held" for one in because) else "waits"


def called(obj: Object) -> str:
    return f"{obj['kind']} {meta.key(obj)}"


def kubectl(verb: str, obj: Object, rest: str = "") -> str:
    """A command about an object, as it is typed."""
    space = f" -n {meta.namespace(obj)}" if meta.namespace(obj) else ""
    return f"`kubectl {verb} {obj['kind'].lower()} {meta.name(obj)}{space}{' ' if rest else ''}{rest}`"


def patched(obj: Object, path: tuple[str, ...], value: str) -> str:
    """The command that sets a field to a value, which is given as JSON."""
    opened = "".join(f'{{"{step}":' for step in path)
    return kubectl("patch", obj, f"--type=merge -p '{opened}{value}{'}' * len(path)}'")


def quoted(text: str | None) -> str:
    """What somebody else said, on one line and without the stop at its end."""
    line = " ".join((text or "").split())
    if len(line) > TEXT_CHARACTERS_MAX:
        line = line[:TEXT_CHARACTERS_MAX] + "..."
    return line.rstrip(".") or "no reason is given"


def written(lines: Sequence[str] | None) -> str:
    """How a sentence ends with the last lines of a log, which stand below it; "" without any."""
    below = "".join(f"\n| {line[:LINE_CHARACTERS_MAX]}" for line in lines or ())
    return f"; the last that it wrote:{below}" if below else ""


def counted(count: int, one: str) -> str:
    return f"{count} {one}" if count == 1 else f"{count} {one}s"


NAMES_LISTED_MAX = 5


def listed(names: Sequence[str], count: int = 0) -> str:
    """a, b and c; and how many more there are. `count`: of so many they are the first, where not all are given."""
    shown = names[:NAMES_LISTED_MAX]
    if more := (count or len(names)) - len(shown):
        return f"{', '.join(shown)} and {more} more"
    return " and ".join(filter(None, [", ".join(shown[:-1]), *shown[-1:]]))


def lines(finding: Finding) -> list[str]:
    """The sentences, each cause below what it causes, and at the end what mends it."""
    found = [_indented(depth, sentence(one)) for depth, one in _all(finding)]
    mends = list(dict.fromkeys(one.mend for _, one in _all(finding) if one.mend))
    return found + [f"To mend it: {mend}." for mend in mends]


def sentence(one: Finding) -> str:
    """Its subject and what is said of it; what others wrote stands below in lines of its own."""
    says, newline, quoted_lines = one.says.partition("\n")
    between = " " if says.partition(" ")[0] in VERBS else ": "
    return f"{one.about}{between}{says}{newline}{quoted_lines}" + ("" if newline else ".")


def _indented(depth: int, text: str) -> str:
    first, *rest = text.split("\n")
    return "\n".join(["  " * depth + first, *("  " * (depth + 2) + line for line in rest)])


def _all(finding: Finding, depth: int = 0) -> Iterator[tuple[int, Finding]]:
    yield depth, finding
    for cause in finding.because:
        yield from _all(cause, depth + 1)


def as_object(finding: Finding) -> dict[str, Any]:
    """For the API: the tree, and the lines that a person is shown."""
    return {"kind": "Why", "apiVersion": "petset/v1", **_tree(finding), "lines": lines(finding)}


def _tree(finding: Finding) -> dict[str, Any]:
    return {
        "about": finding.about,
        "state": finding.state,
        "says": finding.says,
        **({"mend": finding.mend} if finding.mend else {}),
        **({"because": [_tree(cause) for cause in finding.because]} if finding.because else {}),
    }
