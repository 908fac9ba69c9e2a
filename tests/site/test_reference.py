"""The pages that the code tells have all that there is, and the navigation has all pages."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest
import yaml

from petset.base import metrics
from petset.cli import main

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def reference():
    spec = importlib.util.spec_from_file_location("reference", ROOT / "scripts" / "site" / "reference.py")
    module = importlib.util.module_from_spec(spec)
    __import__("sys").modules["reference"] = module  # Its dataclasses ask for it.
    spec.loader.exec_module(module)
    return module


def test_every_command_is_there_with_its_flags(reference):
    page = reference.commands()
    for name, *_ in main.COMMANDS:
        assert f"\n## petset {name}\n" in page
    for flag in ("`--nodes N`", "`--enable-hostpath-provisioner", "### petset image build", "### petset node stop"):
        assert flag in page, flag


def test_every_metric_is_there(reference):
    page = reference.metrics()
    assert len(metrics.TABLE) == len(re.findall(r"^\| `", page, re.MULTILINE))
    assert all(f"`{one.name}`" in page for one in metrics.TABLE)


@pytest.mark.parametrize("reason", ["FailedScheduling", "ProvisioningFailed", "Unhealthy", "BackOff", "FailedMount"])
def test_events_are_there(reference, reason):
    assert f"\n| `{reason}` |" in reference.events()


@pytest.mark.parametrize("limit", ["DATA_BYTES_MAX", "EVENTS_BURST_MAX", "SEARCH_CHARACTERS_MAX"])
def test_limits_are_there_with_values(reference, limit):
    assert re.search(rf"^\| `{limit}` \| `[^`]+` \|", reference.limits(), re.MULTILINE)


def test_every_page_of_docs_is_in_the_navigation():
    """But for the decisions, which the site lists by itself."""
    nav = yaml.safe_load((ROOT / "mkdocs.yml").read_text())["nav"]
    listed = set(re.findall(r"[\w/-]+\.md", str(nav)))
    pages = {str(path.relative_to(ROOT / "docs")) for path in (ROOT / "docs").rglob("*.md")}
    assert {page for page in pages if not page.startswith("decisions/")} <= listed
