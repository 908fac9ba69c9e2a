"""The cases of a folder of tests/cases, each a document of a YAML file, as parameters of a test."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

CASES = Path(__file__).parent / "cases"


def cases(folder: str) -> list[Any]:
    """Each case, called by its file and its own name."""
    return [
        pytest.param(case, id=f"{path.stem}: {case['case']}")
        for path in sorted((CASES / folder).glob("*.yaml"))
        for case in yaml.safe_load_all(path.read_text())
    ]
