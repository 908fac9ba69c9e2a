"""What the types and their fields say of themselves, read from the schema package's text when somebody asks.

The package's classes carry upstream's descriptions in their docstrings, wrapped, each parameter with its type:

    * **replicas** ``Optional[int]`` - The number of desired replicas. Defaults
      to 1.

Nothing of it is kept: a description is asked for once for each document that has it. No sentence of upstream's is here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from petset.objects import schema_nodes

_LINE_WIDTH = 78  # The package's lines are wrapped there: where the next word had fitted, a paragraph ends.
_DOCSTRING = re.compile(r'\n    r?"""(.*?)"""', re.S)
_FIELD = re.compile(r"\n {6}\* \*\*(\S+)\*\* ``[^`]*`` - ")


@dataclass(frozen=True, slots=True)
class Texts:
    """A type's description and those of its fields, by their JSON names; "" and missing where there is none."""

    type: str
    fields: Mapping[str, str]


def of(module: str, name: str) -> Texts:
    """The descriptions of a class of the package."""
    docstring = _DOCSTRING.search(schema_nodes.source(module, name))
    if docstring is None:
        return Texts("", {})
    about, _, parameters = docstring[1].partition("\n      **parameters**")
    _, *parts = _FIELD.split(parameters)
    described = zip(parts[::2], parts[1::2])
    texts = {_json_name(field): text for field, raw in described if (text := _unwrapped(raw))}
    return Texts(_unwrapped(about), texts)


def _json_name(field: str) -> str:
    """continue_, d_ref and x_kubernetes_list_type are as Python spells continue, $ref and x-kubernetes-list-type."""
    field = field.rstrip("_")
    if field in ("d_ref", "d_schema"):
        return "$" + field.removeprefix("d_")
    return field.replace("_", "-") if field.startswith("x_kubernetes") else field


def _unwrapped(raw: str) -> str:
    return "\n".join(_paragraphs(line.strip() for line in raw.strip().splitlines()))


def _paragraphs(lines: Iterable[str]) -> Iterable[str]:
    paragraph: list[str] = []
    for line in lines:
        if paragraph and (not line or len(paragraph[-1]) + 1 + len(line.partition(" ")[0]) <= _LINE_WIDTH):
            yield " ".join(paragraph)
            paragraph = []
        if line:
            paragraph.append(line)
    if paragraph:
        yield " ".join(paragraph)
