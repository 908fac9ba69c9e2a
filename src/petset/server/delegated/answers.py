"""What a cluster is asked for each request, and remembered for some seconds: who a token is, whether a user may.

`Answers.of` asks once for all who wait for the same, tries again while there is time, and says 503 where no answer
comes: nobody is let in, and nobody refused, for want of one. How many questions are open at once has a limit, answered
429.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

from petset.base import tasks, telemetry
from petset.objects import errors

ASK_SECONDS_MAX = 10.0  # As upstream's extension servers wait, which is one attempt after another here.
FRESH_SECONDS = 10.0  # As long as upstream's extension servers keep an answer, be it yes or no.
KEPT_MAX = 8192
AT_ONCE_MAX = 400
RETRY_FIRST_SECONDS, RETRY_SECONDS_MAX = 0.05, 1.0

Question = TypeVar("Question", bound=Hashable)
Answer = TypeVar("Answer")


class Answers(Generic[Question, Answer]):
    def __init__(
        self,
        doing: str,
        ask: Callable[[Question], Awaitable[Answer]],
        count: Callable[[str], telemetry.Count],
        key: Callable[[Question], Hashable] = lambda question: question,
        is_kept: Callable[[Question], bool] = lambda question: True,
    ):
        """`ask` raises OSError, or ApiError, where there is no answer; `doing` is what cannot be done then.

        `count` is where attempts with this outcome are counted, `key` what an answer is remembered by, if it `is_kept`.
        """
        self._doing, self._ask, self._count, self._key, self._is_kept = doing, ask, count, key, is_kept
        self._known: OrderedDict[Hashable, tuple[float, Answer]] = OrderedDict()  # Since when; the oldest first.
        self._coming: dict[Hashable, asyncio.Future[None]] = {}

    def known(self, question: Question) -> Answer | None:
        found = self._known.get(self._key(question))
        return found[1] if found is not None and tasks.monotonic() - found[0] < FRESH_SECONDS else None

    async def of(self, question: Question) -> Answer:
        """Raises ApiError 503, 429."""
        while (answer := self.known(question)) is None:
            coming = self._coming.get(self._key(question))
            if coming is None:
                return await self._got(question, self._key(question))
            await asyncio.wait([coming])  # Whoever asks may be gone before the answer comes: then it is asked anew.
            if not coming.cancelled() and (error := coming.exception()) is not None:
                raise error
        return answer

    async def _got(self, question: Question, key: Hashable) -> Answer:
        if len(self._coming) >= AT_ONCE_MAX:
            why = f"{AT_ONCE_MAX} questions to the cluster are open, which is the most"
            raise errors.too_many_requests(f"{self._doing}: {why}; try again", 1)
        coming = self._coming[key] = asyncio.get_running_loop().create_future()
        try:
            answer = await self._tried(question)
            if self._is_kept(question):
                self._known[key] = (tasks.monotonic(), answer)
                self._known.move_to_end(key)
            while len(self._known) > KEPT_MAX:
                self._known.popitem(last=False)
            coming.set_result(None)
            return answer
        except errors.ApiError as error:
            coming.set_exception(error)
            coming.exception()  # Nobody else need have waited for it.
            raise
        finally:
            coming.cancel()
            del self._coming[key]

    async def _tried(self, question: Question) -> Answer:
        backoff = tasks.Backoff(first=RETRY_FIRST_SECONDS, most=RETRY_SECONDS_MAX)
        why = ""
        try:
            async with asyncio.timeout(ASK_SECONDS_MAX):
                while True:
                    try:
                        answer = await self._ask(question)
                        self._count("201").value += 1
                        return answer
                    except errors.ApiError as error:
                        self._count(str(error.code)).value += 1
                        why = error.message
                        if not error.is_temporary:
                            break
                    except OSError as error:
                        self._count("<error>").value += 1
                        why = str(error)
                    await asyncio.sleep(backoff.next())
        except TimeoutError:
            why = why or f"no answer came within {ASK_SECONDS_MAX:g} s"
        raise errors.unavailable(f"{self._doing}: the cluster does not say: {why}; try again")
