"""What a client is told when a request cannot be served: a Kubernetes Status, whoever found out, listener or API."""

from __future__ import annotations

import logging

from petset.objects import encoding, errors
from petset.wire import http

log = logging.getLogger("petset.listener")


def failure(error: errors.ApiError, headers: http.Headers = ()) -> http.Response:
    """The answer to a request that ended in this error, with these headers beside the error's own."""
    about = ("content-type", "application/json")
    return http.Response(error.code, (about, *error.headers, *headers), encoding.dumps(error.status()))


def refusal(why: http.Malformed) -> errors.ApiError:
    """What a client is told of something that is no request."""
    return errors.ApiError(why.code, why.reason, why.message)


def of(request: http.Request, error: Exception) -> http.Response:
    """The answer to a request whose handler failed."""
    if isinstance(error, errors.ApiError):
        return failure(error)
    log.error("cannot answer %s %s", request.method, request.path, exc_info=error)
    why = "cannot answer: an unexpected error, which petset has logged; see its log"
    return failure(errors.ApiError(500, "InternalError", why))


def too_slow(seconds: float) -> errors.ApiError:
    why = f"cannot read the request: it was not complete after {seconds:g} seconds; send it faster"
    return errors.ApiError(408, "Timeout", why)
