"""$(NAME) in a container's environment and command line, and how large it becomes.

A reference is a few bytes and may become a megabyte, and each variable may refer to the one before it twice; so what
a text becomes is measured before it is made. The API measures with what the pod itself says (validation), the node with
everything. The limits are those that the kernel would hold an exec to anyway. Follows: "Define Dependent Environment
Variables" of the Kubernetes documentation.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

ENVIRONMENT_BYTES_MAX = 1024 * 1024  # Of a container: names, values, and two bytes each for what stands around them.
ARGUMENTS_BYTES_MAX = 1024 * 1024

_REFERENCE = re.compile(r"\$\$|\$\(([^()]*)\)")


class TooLarge(ValueError):
    """A text that would become larger than it may."""


def size(text: str) -> int:
    """In bytes."""
    return len(text) if text.isascii() else len(text.encode(errors="surrogateescape"))


def variable_size(name: str, value_bytes: int) -> int:
    return size(name) + value_bytes + 2


def expanded_size(text: str, size_of: Callable[[str], int | None]) -> int:
    """The bytes of the expanded text; `size_of` a name is None where the reference stays as it is written."""
    total = size(text)
    if "$" not in text:
        return total
    for match in _REFERENCE.finditer(text):
        name = match.group(1)
        if name is None:
            total -= 1  # $$ is one $.
        elif (found := size_of(name)) is not None:
            total += found - size(match.group(0))
    return total


def expand(text: str, known: Mapping[str, str], bytes_max: int) -> str:
    """$(NAME) becomes its value where NAME is known and stays otherwise; $$ becomes $. Raises TooLarge."""
    if "$" not in text:
        return text
    sizes = {name: size(known[name]) for name in _names(text) if name in known}
    if expanded_size(text, sizes.get) > bytes_max:
        raise TooLarge(f"it becomes larger than {bytes_max} bytes")

    def replaced(match: re.Match[str]) -> str:
        if match.group(0) == "$$":
            return "$"
        return known.get(match.group(1), match.group(0))

    return _REFERENCE.sub(replaced, text)


def _names(text: str) -> Mapping[str, None]:
    return dict.fromkeys(match.group(1) for match in _REFERENCE.finditer(text) if match.group(1) is not None)
