"""The exit codes of all commands, each spelled once: what a script may rely on (docs/exit-codes.md)."""

from __future__ import annotations

DONE = 0
CANNOT = 1
WRONG_USAGE = 2
NOT_SO = 3
INTERRUPTED = 130

MEANING = {
    DONE: "It is done, or there was nothing to do.",
    CANNOT: "It cannot be done: one line on standard error says what, why, and what to do.",
    WRONG_USAGE: "The command was not understood; --help tells what there is.",
    NOT_SO: "Nothing failed, but what was asked for is not so: nothing runs (status), something is still to be "
    "installed (setup), something has to be mended (doctor).",
    INTERRUPTED: "Ctrl-C ended it.",
}
