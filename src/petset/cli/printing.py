"""The one place that prints tables, and the same as JSON or YAML: what `-o table|json|yaml` means everywhere.

A row is a mapping from a column's name to a text, a number or a truth; the table shows its columns under headings in
capitals, JSON and YAML the rows as they are. Nothing is cut: who pipes a table gets all of it.
"""

from __future__ import annotations

import argparse
import json

from petset.objects.meta import Json

FORMATS = ("table", "json", "yaml")


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-o", "--output", choices=FORMATS, default=FORMATS[0], help="(default: table)")


def tree(output: str, value: Json) -> None:
    """Print anything as JSON or YAML."""
    if output == "json":
        print(json.dumps(value, indent=2, ensure_ascii=False))
        return
    from petset.objects import documents

    print(documents.dump(value).decode(), end="")
