"""Runs the cells of a notebook, one after another, as a kernel does: what a cell ends with is what it shows.

A kernel of Jupyter would be thirty packages for this one file; no cell here needs more of it than this.
"""

from __future__ import annotations

import ast
import asyncio
import json
from pathlib import Path
from typing import Any


def run(notebook: Path) -> list[tuple[str, str]]:
    """What each code cell shows, as text and as HTML. Raises what a cell raises, with its source as a note."""
    said = json.loads(notebook.read_text())
    assert said["nbformat"] == 4, "it is of another format"
    names: dict[str, Any] = {"__name__": "__main__"}
    return asyncio.run(_run(said["cells"], names))


async def _run(cells: list[dict[str, Any]], names: dict[str, Any]) -> list[tuple[str, str]]:
    """In a loop that runs, as a kernel's cells are."""
    shown: list[tuple[str, str]] = []
    for cell in cells:
        if cell["cell_type"] == "code":
            source = "".join(cell["source"])
            try:
                found = _cell(source, names)
                shown.append((repr(found), found._repr_html_() if hasattr(found, "_repr_html_") else ""))
            except Exception as error:
                error.add_note(f"in the cell:\n{source}")
                raise
    return shown


def _cell(source: str, names: dict[str, Any]) -> Any:
    tree = ast.parse(source)
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, "<cell>", "exec"), names)
    return eval(compile(ast.Expression(last.value), "<cell>", "eval"), names) if last is not None else None
