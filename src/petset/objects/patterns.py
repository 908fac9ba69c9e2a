"""Regular expressions of strangers, in time linear in the text: RE2, which is what Kubernetes' own are.

google-re2 is imported here and nowhere else, when the first pattern is compiled. Its syntax is that of Go's regexp, so
a pattern means what it means upstream, and one that upstream refuses (backreferences, look-around) is refused here.
A pattern is bounded in its length and in the memory of its program.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

PATTERN_CHARACTERS_MAX = 10_000
PROGRAM_BYTES_MAX = 4 << 20
PATTERNS_KEPT_MAX = 256


@dataclass(frozen=True, slots=True)
class Pattern:
    _compiled: Any

    def matches(self, text: str) -> bool:
        """Whether the pattern occurs anywhere in the text."""
        return self._compiled.search(text) is not None

    def found(self, text: str, most: int) -> Iterator[str]:
        """The first matches in the text, one after another."""
        for number, match in enumerate(self._compiled.finditer(text)):
            if number >= most:
                return
            yield match.group(0)


@functools.lru_cache(PATTERNS_KEPT_MAX)
def compiled(pattern: str) -> Pattern:
    """Raises ValueError for what is no pattern, or too large a one."""
    import re2  # pyright: ignore[reportMissingTypeStubs]

    library: Any = re2
    if len(pattern) > PATTERN_CHARACTERS_MAX:
        raise ValueError(f"it is longer than {PATTERN_CHARACTERS_MAX} characters")
    options = library.Options()
    options.log_errors = False
    options.max_mem = PROGRAM_BYTES_MAX
    try:
        return Pattern(library.compile(pattern, options))
    except library.error as error:
        why = error.args[0] if error.args else error
        raise ValueError(f"error parsing regexp: {why.decode() if isinstance(why, bytes) else why}") from None
