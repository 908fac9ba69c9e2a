"""What is known of the suites' tests: expected.yaml, and what a run says against it.

`read()` gives {suite: {test: reason}} of the tests known not to pass. A run is as expected when each of them failed and
no other did: one that passes though it is listed is a mistake of the list.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml

FILE = Path(__file__).with_name("expected.yaml")
PASSED, FAILED, SKIPPED = "passed", "failed", "skipped"

Outcomes = Mapping[str, str]  # test -> PASSED, FAILED or SKIPPED


@dataclass(frozen=True, slots=True)
class Verdict:
    unexpected: tuple[str, ...]  # failed, and not listed
    mended: tuple[str, ...]  # listed, and passed
    unknown: tuple[str, ...]  # listed, and not run

    @property
    def as_expected(self) -> bool:
        return not (self.unexpected or self.mended or self.unknown)


def read(path: Path = FILE) -> dict[str, dict[str, str]]:
    """{suite: {test: why it does not pass}}. The file has {suite: {reason: [test, ...]}}."""
    tree = yaml.safe_load(path.read_text())
    return {
        suite: {test: reason for reason, tests in reasons.items() for test in tests} for suite, reasons in tree.items()
    }


def compare(outcomes: Outcomes, known: Mapping[str, str]) -> Verdict:
    return Verdict(
        unexpected=tuple(sorted(t for t, said in outcomes.items() if said == FAILED and t not in known)),
        mended=tuple(sorted(t for t in known if outcomes.get(t) == PASSED)),
        unknown=tuple(sorted(t for t in known if outcomes.get(t, SKIPPED) == SKIPPED)),
    )


def tell(name: str, outcomes: Outcomes, known: Mapping[str, str], seconds: float) -> Verdict:
    """Prints what came of a suite, and what of it was not as"""
    said, verdict = Counter(outcomes.values()), compare(outcomes, known)
    run = said[PASSED] + said[FAILED]
    print(f"{name}: {said[PASSED]} of {run} in {seconds:.0f} s, {said[SKIPPED]} skipped", flush=True)
    for what, tests in (
        ("failed and is not listed", verdict.unexpected),
        ("passed though it is listed as failing: take it off the list", verdict.mended),
        ("is listed and was not run", verdict.unknown),
    ):
        for test in tests:
            print(f"  {what}: {test}")
    return verdict
