"""The commands of a page of docs/, and what they answer: blocks of the language `console`.

A line that begins with "$ " is a command; the lines after it, up to the next one, are its whole answer. In them `...`
stands for anything, also for several lines, and blanks are as good as one blank: columns vary in width.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

BLOCK = re.compile(r"^```console\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True, slots=True)
class Step:
    command: str
    answer: str


def steps(page: str) -> list[Step]:
    """The steps of a page in their order."""
    found: list[Step] = []
    for block in BLOCK.findall(page):
        for text in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, _, answer = text.partition("\n")
            found.append(Step(command, answer))
    return found


def is_answer(expected: str, said: str) -> bool:
    """Whether what was said is what the page promises."""
    pattern = r"\s*" + r".*?".join(_words(part) for part in expected.split("...")) + r"\s*"
    return re.fullmatch(pattern, said, re.DOTALL) is not None


def _words(text: str) -> str:
    """The text with blanks that match blanks; where `...` follows a blank, it may also match none."""
    return re.sub(r"(?:\\\s|\s)+", r"\\s*", re.escape(text)) if text.strip() else r"\s*"
