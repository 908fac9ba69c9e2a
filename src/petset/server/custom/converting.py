"""A definition's conversion webhook is asked: objects in one version, the same objects in another.

`Converter` is made with the kinds of a definition and goes with them. It asks about all that are not in the wanted
version in one call, whichever versions they are in; who has many objects hands them over in runs, as
server/conversion.py does. Reviews are written and read beside the loop where they are long. What goes wrong is told as
upstream tells it, as a Status of code 500 without a reason.
Follows: "Webhook conversion" of the Kubernetes documentation.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from petset.base import tasks
from petset.kinds.custom_resource_definition import REVIEW_VERSIONS
from petset.objects import errors, meta
from petset.objects.meta import Object
from petset.server import weight
from petset.server.custom import conversion_review
from petset.server.elsewhere import calling

WEBHOOK = "Webhook"
SECONDS_MAX = 30  # Of one call; a definition cannot say otherwise.
ANSWER_BYTES_MAX = 16 << 20  # Of objects that took WAITING_RUN_BYTES_MAX of server/conversion.py and may have grown.

Change = Callable[[Object], Object]


class Converter:
    def __init__(self, caller: calling.Caller, definition: Object):
        webhook = meta.part(definition, "spec", "conversion", "webhook")
        versions = meta.texts(webhook, "conversionReviewVersions")
        self._caller, self._client = caller, meta.part(webhook, "clientConfig")
        self._review_version = next(version for version in versions if version in REVIEW_VERSIONS)
        self._work = weight.Work(weight.Line(), meta.name(definition))

    async def __call__(self, objects: Sequence[Object], wanted: str, before: Change, after: Change) -> Sequence[Object]:
        """The objects in the wanted apiVersion, in their order. Raises ApiError 500.

        `before` is done to each where it comes from, `after` to each where it is wanted.
        """
        objects = await self._each(before, objects)
        sent = [obj for obj in objects if obj["apiVersion"] != wanted]
        made = iter(await self._asked(sent, wanted) if sent else ())
        return await self._each(after, [obj if obj["apiVersion"] == wanted else next(made) for obj in objects])

    async def _each(self, change: Change, objects: Sequence[Object]) -> list[Object]:
        if len(objects) == 1:
            return [change(objects[0])]
        return await self._work.in_turn(lambda: [change(obj) for obj in objects])

    async def _asked(self, sent: Sequence[Object], wanted: str) -> Sequence[Object]:
        uid, version, work = tasks.new_uid(), self._review_version, self._work
        try:
            body = await self._written(uid, sent, wanted)
            data = await self._caller.call(self, self._client, SECONDS_MAX, body, ANSWER_BYTES_MAX)
            return await work.beside(len(data), conversion_review.read, version, uid, sent, wanted, data)
        except calling.NoAnswer as error:
            raise _failure(sent[0], f"failed: {error}") from None
        except conversion_review.BadAnswer as error:
            raise _failure(sent[0], str(error)) from None

    async def _written(self, uid: str, sent: Sequence[Object], wanted: str) -> bytes:
        if len(sent) == 1:
            return conversion_review.body(self._review_version, uid, sent, wanted)
        return await self._work.in_turn(conversion_review.body, self._review_version, uid, sent, wanted)


def is_wanted(definition: Mapping[str, object]) -> bool:
    """Whether a definition has a webhook that converts."""
    return meta.get(definition, "spec", "conversion", "strategy") == WEBHOOK


def _failure(obj: Object, why: str) -> errors.ApiError:
    return errors.ApiError(500, "", f"conversion webhook for {obj['apiVersion']}, Kind={obj['kind']} {why}")
