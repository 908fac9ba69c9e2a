"""YAML as JSON has it: text to trees and back, for manifests, bodies, kubeconfigs and recipes.

libyaml tells what it reads as events; the tree is put together from them in one loop, with a stack of its own, so that
no text can exhaust the interpreter's. What a text may become is limited: levels, values, and the values and
characters that aliases unfold to (they share one tree here, but not in the bytes that are written later). A merge key
and a tag are refused: nothing here makes anything but JSON's values. Raises ValueError, in one line.

Plain scalars mean what they mean to kubectl: YAML 1.2's core schema, and with it the older spellings that manifests
use: yes and on are true, 0644 is octal, 1_000 is a number; 1:30 is text. See docs/decisions/yaml.md.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import yaml

from petset.objects import encoding
from petset.objects.meta import Json

DOCUMENTS_MAX = 10_000
UNFOLDED_CHARACTERS_MAX = 4 * 1024 * 1024
REPEATED_KEYS_TOLD_MAX = 100
TAG_DIRECTIVES_MAX = 100  # libyaml compares each with all others.
NUMBER_CHARACTERS_MAX = 400

_yaml: Any = yaml  # Its stubs leave the types of what it reads open.
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_Dumper: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


def load(text: bytes | str) -> Any:
    """The one document in the text."""
    documents = load_all(text)
    if len(documents) > 1:
        raise ValueError("it has more than one document")
    return documents[0] if documents else None


def load_all(text: bytes | str) -> list[Any]:
    """Every document in the text that is not empty."""
    try:
        if isinstance(text, bytes):
            text = text.decode("utf-8-sig")
        if text.count("%TAG") > TAG_DIRECTIVES_MAX:
            raise ValueError(f"it has more than {TAG_DIRECTIVES_MAX} tag directives")
        return [tree for tree in _documents(_yaml.parse(text, _Loader)) if tree is not None]
    except (yaml.YAMLError, UnicodeError) as error:
        raise ValueError(" ".join(str(error).split())[:300]) from None


def repeated_keys(text: bytes | str) -> list[str]:
    """The keys that occur twice in one mapping, with their lines, in go-yaml's words; for a text that `load` took."""
    if isinstance(text, bytes):
        text = text.decode("utf-8-sig")
    found: list[str] = []
    for _ in _documents(_yaml.parse(text, _Loader), found):
        pass
    return found


class _Quoting(_Dumper):
    """Quotes every text that would be read as something else here or by kubectl, whose YAML is not PyYAML's."""


def _quoted(dumper: Any, text: str) -> Any:
    style = None if isinstance(_plain(text), str) else "'"
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Quoting.add_representer(str, _quoted)


def dump(tree: Any) -> bytes:
    return yaml.dump(tree, Dumper=_Quoting, sort_keys=False, allow_unicode=True).encode()


# -- putting together ---------------------------------------------------------------------------------------------


def _documents(events: Iterable[yaml.Event], repeated: list[str] | None = None) -> Iterator[Any]:
    """The tree of each document; in `repeated` which keys occur twice in one mapping."""
    count, document = 0, _Document()
    for event in events:
        if type(event) is yaml.ScalarEvent:
            if repeated is not None and document.has_key(event.value) and len(repeated) < REPEATED_KEYS_TOLD_MAX:
                repeated.append(f'line {event.start_mark.line + 1}: key "{event.value}" already set in map')
            document.value(_scalar(event), event.anchor, len(event.value))
        elif type(event) is yaml.MappingStartEvent:
            document.begin({}, event)
        elif type(event) is yaml.SequenceStartEvent:
            document.begin([], event)
        elif type(event) is yaml.MappingEndEvent or type(event) is yaml.SequenceEndEvent:
            document.end()
        elif type(event) is yaml.AliasEvent:
            document.alias(event.anchor)
        elif type(event) is yaml.DocumentStartEvent:
            document, count = _Document(), count + 1
            if count > DOCUMENTS_MAX:
                raise ValueError(f"it has more than {DOCUMENTS_MAX} documents")
        elif type(event) is yaml.DocumentEndEvent:
            yield document.root


_NONE_YET: Any = object()


class _Part:
    """A part of a document and what it measures: values and characters in all, levels below it."""

    __slots__ = ("anchor", "characters", "key", "levels", "tree", "values")

    def __init__(self, tree: Json, anchor: str | None, values: int, characters: int):
        self.tree, self.anchor = tree, anchor
        self.values, self.characters = values, characters  # While it is open: of the document before it.
        self.levels = 0
        self.key = _NONE_YET  # Of an open mapping: the key whose value is awaited.


class _Document:
    def __init__(self) -> None:
        self.root: Any = None
        self._open: list[_Part] = []
        self._anchored: dict[str, _Part] = {}
        self._values = self._characters = 0

    def value(self, tree: Any, anchor: str | None, characters: int) -> None:
        if tree is _MERGE:
            if self._open and type(self._open[-1].tree) is dict and self._open[-1].key is _NONE_YET:
                raise ValueError("it has a merge key (<<), which is not read here: write the fields out")
            tree = "<<"
        self._add(tree, 1, characters, 0)
        if anchor is not None:
            self._anchored[anchor] = _Part(tree, anchor, 1, characters)

    def has_key(self, key: str) -> bool:
        """Whether the mapping that is open awaits a key, and has this one."""
        parent = self._open[-1] if self._open else None
        return parent is not None and parent.key is _NONE_YET and isinstance(parent.tree, dict) and key in parent.tree

    def begin(self, tree: Json, event: Any) -> None:
        _refuse_tag(event)
        self._add(tree, 1, 0, 0)
        if len(self._open) >= encoding.NESTING_LEVELS_MAX:
            raise ValueError(f"nested deeper than {encoding.NESTING_LEVELS_MAX} levels")
        self._open.append(_Part(tree, event.anchor, self._values - 1, self._characters))

    def end(self) -> None:
        part = self._open.pop()
        part.values, part.characters = self._values - part.values, self._characters - part.characters
        if self._open:
            self._open[-1].levels = max(self._open[-1].levels, part.levels + 1)
        if part.anchor is not None:
            self._anchored[part.anchor] = part

    def alias(self, name: str) -> None:
        part = self._anchored.get(name)
        if part is None:  # Also inside of what it names: that would never end.
            raise ValueError(f"the alias *{name[:100]} names nothing that was complete before it")
        levels = part.levels + 1 if isinstance(part.tree, (dict, list)) else 0
        self._add(part.tree, part.values, part.characters, levels)

    def _add(self, tree: Json, values: int, characters: int, levels: int) -> None:
        self._values += values
        self._characters += characters
        if self._values > encoding.VALUES_MAX:
            raise ValueError(f"it unfolds to more than {encoding.VALUES_MAX} values")
        if characters and self._characters > UNFOLDED_CHARACTERS_MAX:
            raise ValueError(f"it unfolds to more than {UNFOLDED_CHARACTERS_MAX} characters")
        if not self._open:
            self.root = tree
            return
        parent = self._open[-1]
        if levels:
            parent.levels = max(parent.levels, levels)
            if len(self._open) + levels > encoding.NESTING_LEVELS_MAX:
                raise ValueError(f"nested deeper than {encoding.NESTING_LEVELS_MAX} levels")
        if type(parent.tree) is list:
            parent.tree.append(tree)
        elif parent.key is _NONE_YET:
            parent.key = _key(tree)
        elif isinstance(parent.tree, dict):
            parent.tree[parent.key] = tree
            parent.key = _NONE_YET


def _key(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (str, int, float)):
        return str(value)
    raise ValueError("a key is not a text")


# -- scalars ------------------------------------------------------------------------------------------------------

_NO_NUMBER: Any = object()  # Infinity, and what is not a number.
_MERGE: Any = object()  # The plain scalar <<: as a key it would merge another mapping into its own.
_STRING_TAGS = ("!", "tag:yaml.org,2002:str")
_WORDS: Mapping[str, Any] = {
    **{
        spelling: value
        for value, words in ((None, "null"), (True, "y yes true on"), (False, "n no false off"))
        for word in words.split()
        for spelling in (word, word.capitalize(), word.upper())
    },
    **{"": None, "~": None, "<<": _MERGE},
    **dict.fromkeys((f"{sign}.{word}" for sign in ("", "+", "-") for word in ("inf", "Inf", "INF")), _NO_NUMBER),
    **dict.fromkeys((".nan", ".NaN", ".NAN"), _NO_NUMBER),
}
_INTEGER = re.compile(r"([-+]?)(?:0[xX]([0-9a-fA-F]+)|0[bB]([01]+)|0[oO]?([0-7]+)|(0|[1-9][0-9]*))\Z", re.ASCII)
_BASES = (16, 2, 8, 10)
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?\Z", re.ASCII)


def _scalar(event: Any) -> Any:
    text: str = event.value
    if event.tag is not None or not event.implicit[0]:
        _refuse_tag(event)
        return text
    value = _plain(text)
    if value is _NO_NUMBER:
        raise ValueError(f"{text} is no number in JSON")
    return value


def _plain(text: str) -> Any:
    """What a plain scalar means."""
    if len(text) > NUMBER_CHARACTERS_MAX:
        return text
    if text in _WORDS:
        return _WORDS[text]
    return _number(text) if text[0] in "+-.0123456789" else text


def _refuse_tag(event: Any) -> None:
    if event.tag is not None and event.tag not in _STRING_TAGS:
        raise ValueError(f"it has the tag {event.tag[:100]}, which has no place in JSON: write plain values")


def _number(text: str) -> Any:
    """The number a plain scalar is, or the text itself."""
    plain = text.replace("_", "") if text[0] != "." else text
    whole = _INTEGER.match(plain)
    if whole is not None:
        digits = next(index for index in range(2, 6) if whole[index] is not None)
        value = int(whole[1] + whole[digits], _BASES[digits - 2])
        return value if -(2**63) <= value < 2**64 else float(value)
    if _FLOAT.match(plain):
        value = float(plain)
        if math.isinf(value):
            return text
        return int(value) if value.is_integer() and abs(value) < 2**63 else value
    return text
