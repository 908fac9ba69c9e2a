"""Memory that was freed goes back to the machine only when somebody says so.

The C library keeps what is freed between two things that stay, and the interpreter keeps cycles until it next looks
at everything. After much work both are worth a few milliseconds, in a thread; an idle process never comes here.
"""

from __future__ import annotations

import gc


def give_back() -> None:
    """Collect cycles and return free pages; with another C library than glibc, only the former."""
    import ctypes  # Not at the start: it takes longer to import than to use.

    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
