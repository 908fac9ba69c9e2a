"""Asks a cluster for what a decision wants to know, round by round, until it wants nothing more.

Any Kubernetes will do: only GETs are sent, and what is refused or not served is part of the picture. A list is read to
its end, page by page. What is read at once is bounded, and so are the rounds and all answers together.
"""

from __future__ import annotations

from functools import partial

from petset.base import tasks
from petset.client.client import Client
from petset.objects import errors
from petset.objects.registry import Kind
from petset.why import why
from petset.why.finding import Finding
from petset.why.picture import Picture, Unread

ROUNDS_MAX = 20
ANSWERS_MAX = 400
AT_ONCE_MAX = 16


async def told(client: Client, kind: Kind, name: str, namespace: str = "") -> Finding:
    """Raises OSError when the cluster does not answer."""
    picture = Picture()
    for _ in range(ROUNDS_MAX):
        found = why.of(kind, name, namespace, picture)
        wanted = list(picture.wanted)[: ANSWERS_MAX - len(picture.answers)]
        if not wanted:
            return found
        await tasks.side_by_side(wanted, partial(_read, client, picture), AT_ONCE_MAX, "why")
        picture.wanted.clear()
    return why.of(kind, name, namespace, picture)


async def _read(client: Client, picture: Picture, target: str) -> None:
    """And the pages that follow, where it is a list."""
    page: str | None = target
    while page is not None and len(picture.answers) < ANSWERS_MAX:
        try:
            picture.answers[page] = await client.raw(page)
        except errors.ApiError as error:
            picture.answers[page] = Unread(error.code, error.message)
        page = picture.page_after(page)
