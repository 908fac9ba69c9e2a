"""What a client is told when a request cannot be served: a Kubernetes Status, whoever found out, listener or API."""

from __future__ import annotations

from petset.objects import encoding, errors
from petset.wire import http


def failure(error: errors.ApiError, headers: http.Headers = ()) -> http.Response:
    """The answer to a request that ended in this error, with these headers beside the error's own."""
    about = ("content-type", "application/json")
    return http.Response(error.code, (about, *error.headers, *headers), encoding.dumps(error.status()))


def refusal(why: http.Malformed) -> errors.ApiError:
    """What a client is told of something that is no request."""
    return errors.ApiError(why.code, why.reason, why.message)
