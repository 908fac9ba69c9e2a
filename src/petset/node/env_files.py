"""Files of environment variables that an init container has written into an emptyDir, for the containers after it.

`value` reads one variable out of a file's text: lines NAME='value', the value in single quotes and as it is, over
several lines if it likes; blank lines and comments between them. Pure; the file is read by who has the volume.
Follows: "Define Environment Variable Values Using An Init Container" of the Kubernetes documentation (KEP-3721).
"""

from __future__ import annotations

import re

FILE_BYTES_MAX = 64 << 10

_BLANK = re.compile(r"[ \t]*(#[^\n]*)?(\n|\Z)")
_NAME = re.compile(r"[ \t]*([^\s=']+)=")
_QUOTED = re.compile(r"'([^']*)'[ \t]*(#[^\n]*)?(\n|\Z)")
_NOTHING = re.compile(r"[ \t][^\n]*(\n|\Z)")  # NAME= 'value': the name alone.


class Malformed(Exception):
    """A file that is not of that form."""


def value(text: str, key: str) -> str | None:
    """The variable's value, of the first line that names it; None where none does. Raises Malformed."""
    at = 0
    while at < len(text):
        if blank := _BLANK.match(text, at):
            at = blank.end()
            continue
        name = _NAME.match(text, at)
        if name is None:
            raise Malformed(f"line {_line(text, at)} is not NAME='value'")
        if nothing := _NOTHING.match(text, name.end()):
            found, at = "", nothing.end()
        elif quoted := _QUOTED.match(text, name.end()):
            found, at = quoted.group(1), quoted.end()
        else:
            raise Malformed(f"the value at line {_line(text, at)} is not in single quotes, or more follows them")
        if name.group(1) == key:
            return found
    return None


def _line(text: str, at: int) -> int:
    return text.count("\n", 0, at) + 1
