"""What can go wrong between a test and its cluster, each as a class of its own.

What the API refuses is an `errors.ApiError`, and of the class of its reason where tests ask for one: NotFound,
AlreadyExists, Conflict, Forbidden, Invalid. Everything else has one class a way of failing, with its message in the
house's form: "cannot <what>: <why>; <what to do>".
"""

from __future__ import annotations

from collections.abc import Sequence

from petset.objects import errors


class NotFound(errors.ApiError):
    """404: there is no such object, or no such kind."""


class AlreadyExists(errors.ApiError):
    """409 at a creation."""


class Conflict(errors.ApiError):
    """409: somebody else has changed the object, or owns the field."""


class Forbidden(errors.ApiError):
    """403: a right, a quota or a policy is against it."""


class Invalid(errors.ApiError):
    """422: the object is not as its kind has it; `details["causes"]` says where."""


PRECISE: dict[str, type[errors.ApiError]] = {
    "NotFound": NotFound,
    "AlreadyExists": AlreadyExists,
    "Conflict": Conflict,
    "Forbidden": Forbidden,
    "Invalid": Invalid,
}


def precise(error: errors.ApiError) -> errors.ApiError:
    """The same failure, as the class of its reason."""
    kind = PRECISE.get(error.reason)
    if kind is None or isinstance(error, kind):
        return error
    return kind(error.code, error.reason, error.message, error.details, error.headers)


def unknown_kind(word: str) -> NotFound:
    """What a word that no kind has is answered with."""
    return NotFound(
        404, "NotFound", f"cannot find the kind {word!r}: the server has none of that name; is its definition applied?"
    )


class ClusterError(Exception):
    """The cluster cannot start, or has ended, or cannot do what is asked of its sort."""


class WaitTimeout(TimeoutError):
    """What was waited for did not come; `last` is the object as it was seen last, None where there was none."""

    def __init__(self, message: str, last: dict[str, object] | None):
        super().__init__(message)
        self.last = last


class CommandFailed(Exception):
    """A command in a container, or kubectl, has ended with another exit code than 0."""

    def __init__(self, command: Sequence[str], exit_code: int, stdout: str, stderr: str):
        said = (stderr.strip() or stdout.strip())[-SAID_CHARACTERS_MAX:]
        super().__init__(f"cannot run {' '.join(command)}: exit code {exit_code}{said and f': {said}'}")
        self.exit_code, self.stdout, self.stderr = exit_code, stdout, stderr


SAID_CHARACTERS_MAX = 2000  # Of a command's output, in the message.
