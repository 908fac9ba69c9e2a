"""What a command cannot do: one line that says what, why, and what to do."""

from __future__ import annotations


class CommandError(Exception):
    """What a command cannot do, in one line for the user."""
