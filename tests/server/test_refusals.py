"""What the log says of those who were refused: each once in a while, and never more than fits."""

from __future__ import annotations

import logging

from petset.base import tasks
from petset.objects import errors
from petset.server import refusals
from petset.wire import http


def request(address: str = "10.0.0.7") -> http.Request:
    return http.Request("GET", "/api/v1/secrets?limit=5", peer=http.Peer(address))


def forbidden(who: str) -> errors.ApiError:
    return errors.ApiError(403, "Forbidden", f'User "{who}" cannot list resource "secrets"')


def test_a_refusal_is_told_once_and_again_after_a_while(caplog) -> None:
    caplog.set_level(logging.INFO, "petset.refusals")
    now = [1e9]
    with tasks.environment(tasks.Environment(wall_clock=lambda: now[0])):
        told = refusals.Refusals()
        for seconds in (0, 1, 2, refusals.AGAIN_SECONDS_MIN):
            now[0] += seconds
            told.note(request(), forbidden("eve"))
        told.note(request(), errors.ApiError(404, "NotFound", "not here"))
    line = '403 for GET /api/v1/secrets from 10.0.0.7: User "eve" cannot list resource "secrets"'
    assert caplog.messages == [line, line]


def test_many_different_refusals_do_not_fill_the_log(caplog) -> None:
    caplog.set_level(logging.INFO, "petset.refusals")
    now = [1e9]
    with tasks.environment(tasks.Environment(wall_clock=lambda: now[0])):
        told = refusals.Refusals()
        for number in range(5000):
            told.note(request(), forbidden(f"u{number}"))
        now[0] += 60
        told.note(request(), forbidden("eve"))
    assert len(caplog.messages) == refusals.LINES_A_MINUTE_MAX + 2
    assert caplog.messages[-2] == f"{5000 - refusals.LINES_A_MINUTE_MAX} more were refused"


def test_a_name_of_twenty_thousand_letters_is_one_short_line(caplog) -> None:
    caplog.set_level(logging.INFO, "petset.refusals")
    refusals.Refusals().note(request(), forbidden("u" * 20_000))
    (line,) = caplog.messages
    assert len(line) == refusals.LINE_CHARACTERS_MAX and line.endswith("...")
