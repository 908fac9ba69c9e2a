"""The pages of the reference that the code itself tells: commands, metrics, events, limits.

Nothing of it is written by hand: commands come from the parser that `--help` prints, metrics from their table, events
and limits from the sources, where a literal type and reason or a constant that ends with MAX stands. So a page cannot
say what the program does not do. Each function returns Markdown; `hooks.py` gives them to the site.
"""

from __future__ import annotations

import argparse
import ast
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

SOURCES = Path(__file__).resolve().parents[2] / "src" / "petset"
TYPES = ("Normal", "Warning")


def commands() -> str:
    """Every command with its flags, as its parser knows them."""
    from petset.cli import main

    said = ["# Commands", "", "What `petset COMMAND --help` prints, in one page.", ""]
    for name, *_ in main.COMMANDS:
        said += _command(_subparser(main.parser(name), name), f"petset {name}", 2)
    return "\n".join(said)


def _subparser(parser: argparse.ArgumentParser, name: str) -> argparse.ArgumentParser:
    return _choices(parser)[name]


def _choices(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    for action in parser._actions:  # argparse has no other way to ask.
        if isinstance(action, argparse._SubParsersAction):
            return dict(action.choices)
    return {}


def _command(parser: argparse.ArgumentParser, name: str, level: int) -> list[str]:
    usage = " ".join(parser.format_usage().split()).removeprefix("usage: ")
    said = [f"{'#' * level} {name}", "", _sentence(parser.description), "", "```text", usage, "```", ""]
    rows = [(_flags(action), _help(action)) for action in parser._actions if _is_shown(action)]
    if rows:
        said += _table(("argument", "what it is"), rows)
    for below, choice in _choices(parser).items():
        said += _command(choice, f"{name} {below}", min(level + 1, 4))
    return said


def _is_shown(action: argparse.Action) -> bool:
    hidden = action.help == argparse.SUPPRESS or isinstance(action, argparse._SubParsersAction)
    return not hidden and not isinstance(action, argparse._HelpAction)


def _flags(action: argparse.Action) -> str:
    value = (action.metavar or action.dest.upper()) if action.nargs != 0 else ""
    value = " ".join(value) if isinstance(value, tuple) else value
    if not action.option_strings:
        return f"`{value}`"
    return ", ".join(f"`{flag} {value}`" if value else f"`{flag}`" for flag in action.option_strings)


def _help(action: argparse.Action) -> str:
    return (action.help or "").replace("%(default)s", str(action.default)).replace("%%", "%")


def _sentence(text: str | None) -> str:
    return (text or "").strip()


def metrics() -> str:
    """Every metric of /metrics."""
    from petset.base.metrics import TABLE

    rows = [(f"`{one.name}`", one.kind, one.help, ", ".join(f"`{label}`" for label in one.labels)) for one in TABLE]
    return "\n".join(
        (
            "# Metrics",
            "",
            "What `kubectl get --raw /metrics` tells. Names are Kubernetes' own where it has one for the same thing;",
            "what only petset has begins with `petset_`. Durations are in seconds, sizes in bytes.",
            "",
            *_table(("metric", "kind", "what it counts", "labels"), rows),
        )
    )


@dataclass(frozen=True, slots=True)
class Event:
    type: str
    reason: str
    source: str  # The room that records it.


def events() -> str:
    """Every event that some part records under a name that stands in the sources."""
    places: dict[tuple[str, str], list[str]] = {}
    for event in _events():
        places.setdefault((event.reason, event.type), []).append(event.source)
    rows = [
        (f"`{reason}`", kind, ", ".join(f"`{place}`" for place in dict.fromkeys(found)))
        for (reason, kind), found in sorted(places.items())
    ]
    return "\n".join(
        (
            "# Events",
            "",
            "What `kubectl describe` and `kubectl get events` show, and which module of petset records it. Reasons are",
            "those of Kubernetes where it has one for the same thing. Repeats are counted in one event.",
            "",
            *_table(("reason", "type", "recorded by"), rows),
        )
    )


def _events() -> Iterator[Event]:
    """A type and a reason that stand side by side as literals: of an event's arguments, or of a row of a table."""
    for path, tree in _modules():
        for node in ast.walk(tree):
            values = node.args if isinstance(node, ast.Call) else node.elts if isinstance(node, ast.Tuple) else ()
            for first, second in itertools.pairwise(values):
                kind, reason = _literal(first), _literal(second)
                if kind in TYPES and reason.isidentifier() and reason not in TYPES:
                    yield Event(kind, reason, path)


def _literal(node: ast.AST) -> str:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""


def limits() -> str:
    """Every limit that has a name, with its value and what is said beside it."""
    said = [
        "# Limits",
        "",
        "Whatever may grow has a limit, whose name tells its unit, and an answer when it is reached: 410, 413, 422 or",
        "429, an event, or the oldest goes. These are all of them, by the module that keeps them.",
        "",
    ]
    for path, tree in _modules():
        lines = (SOURCES / path).read_text().splitlines()
        rows = [
            (f"`{name}`", f"`{value}`", lines[line - 1].partition("  # ")[2]) for name, value, line in _constants(tree)
        ]
        if rows:
            said += [f"## {path}", "", *_table(("limit", "value", ""), rows)]
    return "\n".join(said)


def _constants(tree: ast.Module) -> Iterator[tuple[str, str, int]]:
    for node in tree.body:
        if not isinstance(node, ast.Assign) or len(node.targets) != 1:
            continue
        target, value = node.targets[0], node.value
        if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple):
            pairs = list(zip(target.elts, value.elts))
        else:
            pairs = [(target, value)]
        for name, given in pairs:
            if isinstance(name, ast.Name) and name.id.endswith("_MAX") and not name.id.startswith("_"):
                yield name.id, ast.unparse(given), node.lineno


def _modules() -> Iterator[tuple[str, ast.Module]]:
    for path in sorted(SOURCES.rglob("*.py")):
        yield str(path.relative_to(SOURCES)), ast.parse(path.read_text())


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> list[str]:
    return [
        f"| {' | '.join(head)} |",
        f"|{'---|' * len(head)}",
        *(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |" for row in rows),
        "",
    ]


PAGES = {
    "reference/commands.md": commands,
    "reference/metrics.md": metrics,
    "reference/events.md": events,
    "reference/limits.md": limits,
}
