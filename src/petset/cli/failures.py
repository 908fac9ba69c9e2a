"""What a command cannot do: one line that says what, why, and what to do."""

from __future__ import annotations

from petset.base import reasons
from petset.objects import errors


class CommandError(Exception):
    """What a command cannot do, in one line for the user."""


# What to do about an answer of the API, by its code; the API's own sentence says why.
MENDS = {
    401: "name a context whose user the cluster knows, with --context or --kubeconfig",
    403: "ask as a user who may, or have somebody give you the right",
    429: "try again in a while",
    503: "try again in a while",
}


def foreseen(error: Exception, doing: str) -> Exception:
    """The error; what the API answered, as what cannot be done therefore."""
    answer = reasons.first(error)
    if not isinstance(answer, errors.ApiError):
        return error
    why = " ".join(answer.message.split()).rstrip(".") or f"the cluster answers {answer.code} ({answer.reason})"
    return CommandError(f"cannot {doing}: {why}; {MENDS.get(answer.code, 'the log of the cluster tells more')}")
