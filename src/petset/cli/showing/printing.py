"""The one place that prints tables, and the same as JSON or YAML: what `-o table|json|yaml` means everywhere.

A row is a mapping from a column's name to a text, a number or a truth; the table shows its columns under headings in
capitals, JSON and YAML the rows as they are. Nothing is cut: who pipes a table gets all of it.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence

from petset.objects.meta import Json

FORMATS = ("table", "json", "yaml")
Row = Mapping[str, Json]


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-o", "--output", choices=FORMATS, default=FORMATS[0], help="(default: table)")


def rows(output: str, columns: Sequence[str], found: Sequence[Row], *, none: str = "") -> None:
    """Print the rows; `none` is said instead of a table without any."""
    if output != "table":
        tree(output, [dict(row) for row in found])
    elif found or not none:
        print("\n".join(table(columns, found)))
    else:
        print(none)


def line(output: str, columns: Sequence[str], row: Row) -> str:
    """One row of those that come one by one: a line of text or of JSON, or a document of YAML."""
    if output == "table":
        return "  ".join(shown(row.get(column)) for column in columns)
    if output == "json":
        return json.dumps(dict(row), ensure_ascii=False)
    from petset.objects import documents

    return f"---\n{documents.dump(dict(row)).decode()}".rstrip("\n")


def table(columns: Sequence[str], found: Sequence[Row]) -> list[str]:
    """The lines of a table, as wide as what is in it."""
    headings = [column.upper() for column in columns]
    return aligned([headings, *([shown(row.get(column)) for column in columns] for row in found)])


def aligned(cells: Sequence[Sequence[str]]) -> list[str]:
    """A line of text a row, its cells below each other."""
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return ["  ".join(map(str.ljust, row, widths)).rstrip() for row in cells]


def shown(value: Json) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "-" if value is None or value == "" else str(value)


def tree(output: str, value: Json) -> None:
    """Print anything as JSON or YAML."""
    if output == "json":
        print(json.dumps(value, indent=2, ensure_ascii=False))
        return
    from petset.objects import documents

    print(documents.dump(value).decode(), end="")
