"""What a user is asked before something is lost: said with --yes, or typed where somebody is there to type it."""

from __future__ import annotations

import sys

from petset.cli.failures import CommandError


def given(said: bool, doing: str, *, lost: str) -> bool:
    """Whether it may be done; `said` with --yes. Of what is `lost` he is told. Raises CommandError without anybody."""
    if said:
        return True
    if not sys.stdin.isatty():
        raise CommandError(f"cannot {doing}: it asks first, and nobody is there to answer; say it with --yes")
    print(lost)
    if input("Type yes to go on: ").strip().lower() == "yes":
        return True
    print("nothing was changed")
    return False
