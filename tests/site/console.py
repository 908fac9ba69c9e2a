"""The commands of a page of docs/, and what they answer: blocks of the language `console`.

A line that begins with "$ " is a command; the lines after it, up to the next one, are its whole answer. In them `...`
stands for anything, also for several lines, and blanks are as good as one blank: columns vary in width. What is not the
same twice (addresses, volumes, ages, moments, revisions) a page shows as it was once.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

# What is not the same twice: (as it is told, what it is compared as). It begins as it did: a page may say `10...`.
VARYING = (
    (r"\b10(\.\d+){3}\b", "10.0.0.0"),
    (r"pvc-[0-9a-f]{8}(-[0-9a-f]{4,}){4}", "pvc-0"),
    (r"\b(\d+[smhd])+\b", "0s"),
    (r"\b\d+(\.\d+)? s\b", "0 s"),
    (r"[0-9a-f]{64}", "DIGEST"),
    (r"\b\d{4}-\d\d-\d\dT[\d:.]+Z", "MOMENT"),
    (r"\b(web)-[0-9a-f]{8,10}\b", "REVISION"),
    (r"node vm\S*|\bvm\b", "NODE"),
)
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
    pattern = r"\s*" + r".*?".join(_words(part) for part in _without_what_varies(expected).split("...")) + r"\s*"
    return re.fullmatch(pattern, _without_what_varies(said), re.DOTALL) is not None


def _without_what_varies(text: str) -> str:
    for pattern, instead in VARYING:
        text = re.sub(pattern, instead, text)
    return text


def _words(text: str) -> str:
    """The text with blanks that match blanks; where `...` follows a blank, it may also match none."""
    return re.sub(r"(?:\\\s|\s)+", r"\\s*", re.escape(text)) if text.strip() else r"\s*"
