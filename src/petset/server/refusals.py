"""Who was refused what, in the log: a line a refusal, the same one seldom, never so many that they fill the disk."""

from __future__ import annotations

import logging

from petset.base import tasks
from petset.objects import errors
from petset.wire import http

log = logging.getLogger("petset.refusals")

TOLD = (401, 403, 429)
AGAIN_SECONDS_MIN = 600.0
LINES_A_MINUTE_MAX = 30
REMEMBERED_MAX = 1000
LINE_CHARACTERS_MAX = 1000


class Refusals:
    """Remembers what it has told lately."""

    def __init__(self) -> None:
        self._told_at: dict[tuple[int, str, str], float] = {}
        self._minute, self._lines, self._untold = 0, 0, 0

    def note(self, request: http.Request, error: errors.ApiError) -> None:
        now = tasks.now()
        peer = "inside" if request.user else request.peer.address
        refusal = (error.code, peer, error.message[:LINE_CHARACTERS_MAX])
        if error.code not in TOLD or now - self._told_at.get(refusal, -AGAIN_SECONDS_MIN) < AGAIN_SECONDS_MIN:
            return
        if self._is_room_for_a_line(int(now // 60)):
            self._told_at[refusal] = now
            if len(self._told_at) > REMEMBERED_MAX:
                del self._told_at[next(iter(self._told_at))]
            path = request.target.partition("?")[0]
            line = f"{error.code} for {request.method} {path} from {peer}: {error.message}"
            log.info("%s", line if len(line) <= LINE_CHARACTERS_MAX else line[: LINE_CHARACTERS_MAX - 3] + "...")

    def _is_room_for_a_line(self, minute: int) -> bool:
        if minute != self._minute:
            if self._untold:
                log.info("%d more were refused", self._untold)
            self._minute, self._lines, self._untold = minute, 0, 0
        self._lines += 1
        self._untold += self._lines > LINES_A_MINUTE_MAX
        return self._lines <= LINES_A_MINUTE_MAX
