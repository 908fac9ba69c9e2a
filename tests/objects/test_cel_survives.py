"""No expression ends the process: the runtime is C++, and what it does not survive must be refused before."""

from __future__ import annotations

import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
TRIED = 600  # Run by hand with more: `python -m tests.objects.expressions 20000 /tmp/last`.


def test_no_expression_ends_the_process_or_raises_what_nobody_expects(tmp_path: pathlib.Path) -> None:
    last = tmp_path / "last"
    command = [sys.executable, "-m", "tests.objects.expressions", str(TRIED), str(last)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False, cwd=ROOT)
    tried = last.read_text() if last.exists() else "none was begun"
    assert done.returncode == 0, f"{tried}\n{done.stderr[-4000:]}"
