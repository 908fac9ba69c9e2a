"""What schemathesis is told of this API: a watch, or a log that is followed, ends after a second and not in an hour."""

from __future__ import annotations

import schemathesis


@schemathesis.hook
def before_call(context, case, kwargs):
    if case.query and ("watch" in case.query or "follow" in case.query):
        case.query = {**case.query, "timeoutSeconds": 1}
        case.query.pop("follow", None)
