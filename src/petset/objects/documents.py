"""YAML as JSON has it: text to trees and back, for manifests, kubeconfigs and recipes.

Safe loading only, with the C loader where it exists: plain values, dates stay text, keys become text, and what
aliases unfold to has a limit, so that a short text cannot become a huge tree. Raises ValueError, in one line.
Follows: YAML 1.1 as PyYAML reads it, restricted to JSON's values.
"""

from __future__ import annotations

from typing import Any

import yaml

NODES_MAX = 200_000

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_Dumper: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


class _JsonLoader(_Loader):
    """A date is text."""


_JsonLoader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def load(text: bytes | str) -> Any:
    """The one document in the text."""
    documents = load_all(text)
    if len(documents) > 1:
        raise ValueError("it has more than one document")
    return documents[0] if documents else None


def load_all(text: bytes | str) -> list[Any]:
    """Every document in the text that is not empty."""
    try:
        left = [NODES_MAX]
        return [_plain(tree, left) for tree in yaml.load_all(text, _JsonLoader) if tree is not None]
    except (yaml.YAMLError, RecursionError, UnicodeDecodeError) as error:
        raise ValueError(" ".join(str(error).split())[:300]) from None


def dump(tree: Any) -> bytes:
    return yaml.dump(tree, Dumper=_Dumper, sort_keys=False, allow_unicode=True).encode()


def _plain(node: Any, left: list[int]) -> Any:
    left[0] -= 1
    if left[0] < 0:
        raise ValueError(f"it unfolds to more than {NODES_MAX} values")
    if isinstance(node, dict):
        return {_key(key): _plain(value, left) for key, value in node.items()}
    if isinstance(node, list):
        return [_plain(item, left) for item in node]
    if node is None or isinstance(node, (str, int, float, bool)):
        return node
    raise ValueError(f"a {type(node).__name__} has no place in JSON")


def _key(key: Any) -> str:
    if isinstance(key, bool):
        return "true" if key else "false"
    if isinstance(key, (str, int, float)):
        return str(key)
    raise ValueError("a key is not a text")
