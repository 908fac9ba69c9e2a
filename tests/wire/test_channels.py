"""Messages of numbered channels, in every dialect."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from petset.wire import channels

DIALECTS = list(dict.fromkeys([*channels.SESSIONS.values(), *channels.LOGS.values()]))


@given(st.sampled_from(DIALECTS), st.integers(0, 4), st.binary())
def test_what_is_written_is_read(dialect, channel, data):
    message = channels.encode(dialect, channel, data)
    assert channels.decode(dialect, message) == (channel, data)
    assert not dialect.is_text or message.isascii()


@given(st.sampled_from(DIALECTS), st.binary())
def test_whatever_is_sent_is_a_message_or_none(dialect, message):
    decoded = channels.decode(dialect, message)
    assert decoded is None or isinstance(decoded[0], int)


@pytest.mark.parametrize("message", [b"", b"x", b"0?", b"0a", "é".encode()])
def test_what_is_not_base64_is_no_message(message):
    assert channels.decode(channels.SESSIONS["base64.channel.k8s.io"], message) is None
