"""The laws of the tests (hypothesis), with other examples than every run of `make test` has.

    python -m tests.torture.laws SEED                # what `make test-fresh` does; without a seed any

tests/conftest.py has the profile: examples come from the seed, and only laws are run. The seed is told first, so that
whatever is found can be found again.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def files() -> list[str]:
    """The tests that have laws."""
    found = [
        path for path in sorted((ROOT / "tests").rglob("test_*.py")) if "from hypothesis import" in path.read_text()
    ]
    return [str(path.relative_to(ROOT)) for path in found]


def run(seed: int, quiet: bool = False) -> subprocess.CompletedProcess[str]:
    """Every law once, with the examples of this seed."""
    command = [sys.executable, "-m", "pytest", *files(), "--hypothesis-profile=fresh", f"--hypothesis-seed={seed}"]
    return subprocess.run(command, cwd=ROOT, capture_output=quiet, text=True)


def main() -> int:
    seed = int(sys.argv[1]) if sys.argv[1:] else int.from_bytes(os.urandom(4))
    again = f"the same again: make test-fresh SEED={seed}"
    print(f"seed {seed}; {again}", flush=True)
    code = run(seed).returncode
    if code:
        print(f"broken; {again}")
    return code


if __name__ == "__main__":
    sys.exit(main())
