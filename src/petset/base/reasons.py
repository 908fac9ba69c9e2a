"""What an exception says to a person, in one line: "cannot <what>: <why>; <what to do>".

Our own errors are such sentences already and are said as they are, whatever group they came in. An OSError gets its
place and, where one knows it, what to do. Anything else is a defect and is called one; only that is worth a traceback.
"""

from __future__ import annotations

import errno
import traceback
from pathlib import Path
from typing import TypeGuard

SENTENCE = "cannot "

WHAT_TO_DO = {
    errno.ENOSPC: "free some space on that disk",
    errno.EDQUOT: "free some space, or raise the quota",
    errno.EROFS: "make that disk writable, or name another directory with --state",
    errno.EACCES: "run it as the owner of that file, or as root",
    errno.EPERM: "run it as root",
    errno.EIO: "look at the disk: the kernel's log tells more",
    errno.EMFILE: "raise the limit of open files (ulimit -n)",
    errno.ENFILE: "raise the limit of open files of this machine",
    errno.ENOMEM: "free some memory",
}


def first(error: BaseException) -> BaseException:
    """The first exception in a group of groups."""
    while _is_group(error):
        error = error.exceptions[0]
    return error


def _is_group(error: BaseException) -> TypeGuard[BaseExceptionGroup[BaseException]]:
    return isinstance(error, BaseExceptionGroup)


def is_defect(error: BaseException) -> bool:
    """Whether nobody has foreseen it."""
    error = first(error)
    return not isinstance(error, OSError) and not str(error).startswith(SENTENCE)


def in_a_line(error: BaseException) -> str:
    """What it says; of a defect also its class, and where it was in petset."""
    cause = first(error)
    text = " ".join(str(cause).split())
    return f"{type(cause).__name__}: {text} ({_place(cause)})" if is_defect(cause) else text


def foreseen(error: OSError | ValueError) -> str:
    """What an error says that somebody has expected: no number, no class, and the file that it is about."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror}: {error.filename}" if error.filename else error.strerror
    return " ".join(str(error).split())


PACKAGE = Path(__file__).parents[1]


def _place(error: BaseException) -> str:
    """The file and line of the last of petset's own frames."""
    places = [(Path(frame.f_code.co_filename), line) for frame, line in traceback.walk_tb(error.__traceback__)]
    own = [f"{file.relative_to(PACKAGE.parent)}:{line}" for file, line in places if file.is_relative_to(PACKAGE)]
    return own[-1] if own else "outside petset"


def reason(error: BaseException, doing: str, place: str = "") -> str:
    """The line, for what was being done ("start the cluster"), and where when the error does not know."""
    error = first(error)
    text = " ".join(str(error).split())
    if text.startswith(SENTENCE):
        return text
    if isinstance(error, OSError):
        why = error.strerror or text or type(error).__name__
        named = error.filename2 or error.filename or place
        where = f": {named}" if named else ""
        to_do = f"; {WHAT_TO_DO[error.errno]}" if error.errno in WHAT_TO_DO else ""
        return f"cannot {doing}: {why}{where}{to_do}"
    return f"cannot {doing}: {type(error).__name__}: {text}; this is a defect of petset, please report it"
