"""What a process that serves prepares: the place where it listens is its own at once."""

from __future__ import annotations

import errno

import pytest

from petset.base import process


def test_where_somebody_listens_nobody_else_does() -> None:
    with process.listening("127.0.0.1", 0) as first:
        port = first.getsockname()[1]
        with pytest.raises(OSError) as taken:
            process.listening("127.0.0.1", port)
    assert taken.value.errno == errno.EADDRINUSE
    process.listening("127.0.0.1", port).close()
