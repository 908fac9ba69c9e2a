"""The exit codes of all commands, each spelled once: what a script may rely on (docs/exit-codes.md)."""

from __future__ import annotations

DONE = 0
CANNOT = 1
WRONG_USAGE = 2
NOT_SO = 3
REFUSED = 4
INTERRUPTED = 130
TERMINATED = 143

MEANING = {
    DONE: "It is done, or there was nothing to do.",
    CANNOT: "It cannot be done: one line on standard error says what, why, and what to do.",
    WRONG_USAGE: "The command was not understood; --help tells what there is.",
    NOT_SO: "Nothing failed, but what was asked for is not so: nothing runs (status), something is still to be "
    "installed (setup), something has to be mended (doctor), something does not get on (why), "
    "is not ready in time (run), or was not agreed to (where a command asks first).",
    REFUSED: "The server refused an object (run).",
    INTERRUPTED: "Ctrl-C ended it.",
    TERMINATED: "SIGTERM ended it, and what it had made was taken away where it was asked to (run).",
}
