"""Asks a cluster for what a decision wants to know, round by round, until it wants nothing more.

Any Kubernetes will do: only GETs are sent, and what is refused or not served is part of the picture. What is read at
once is bounded, and so are the rounds.
"""

from __future__ import annotations

from functools import partial

from petset.base import tasks
from petset.client.client import Client
from petset.objects import errors
from petset.objects.registry import Kind
from petset.why import why
from petset.why.finding import Finding
from petset.why.picture import Answer, Picture, Unread

ROUNDS_MAX = 20
ANSWERS_MAX = 400
AT_ONCE_MAX = 16


async def told(client: Client, kind: Kind, name: str, namespace: str = "") -> Finding:
    """Raises OSError when the cluster does not answer."""
    answers: dict[str, Answer] = {}
    for _ in range(ROUNDS_MAX):
        picture = Picture(answers)
        found = why.of(kind, name, namespace, picture)
        wanted = list(picture.wanted)[: ANSWERS_MAX - len(answers)]
        if not wanted:
            return found
        await tasks.side_by_side(wanted, partial(_read, client, answers), AT_ONCE_MAX, "why")
    return why.of(kind, name, namespace, Picture(answers))


async def _read(client: Client, answers: dict[str, Answer], target: str) -> None:
    try:
        answers[target] = await client.raw(target)
    except errors.ApiError as error:
        answers[target] = Unread(error.code, error.message)
