"""The request log: a line for each request in the instance's log, for who wants to see what is asked.

Off by default; what takes longer than SLOW_SECONDS is told always, but for watches and other streams, whose length
says nothing. A line is: method, target, user, code, milliseconds, bytes of the answer ("-" where it streams).
"""

from __future__ import annotations

import logging

from petset.wire import http

log = logging.getLogger("petset.requests")

SLOW_SECONDS = 1.0
TARGET_CHARACTERS_MAX = 1000
USER_CHARACTERS_MAX = 200


def tell(request: http.Request, code: int, seconds: float, size: int) -> None:
    size_text = str(size) if size >= 0 else "-"
    target, user = _plain(request.target, TARGET_CHARACTERS_MAX), _plain(_user(request), USER_CHARACTERS_MAX)
    log.info("%s %s %s %d %.0f ms %s bytes", request.method[:20], target, user, code, 1000 * seconds, size_text)


def tell_slow(request: http.Request, code: int, seconds: float) -> None:
    target, user = _plain(request.target, TARGET_CHARACTERS_MAX), _plain(_user(request), USER_CHARACTERS_MAX)
    log.info("slow: %s %s of %s took %.1f s (%d)", request.method[:20], target, user, seconds, code)


def _user(request: http.Request) -> str:
    return request.asking.name if request.asking is not None else "-"


def _plain(text: str, characters_max: int) -> str:
    """One word of a line, whatever a stranger has written."""
    text = text[:characters_max]
    return text if text.isprintable() and " " not in text else ascii(text)
