"""Which files of Python distributions an image gets, and where their places are among an image's packages."""

from __future__ import annotations

import json
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from petset.node.images import distributions, recipes
from petset.objects import package_data


def recipe() -> recipes.Recipe:
    found = recipes.Recipes(recipes.default_folder()).recipe("petset")
    assert found.python
    return found


def test_petsets_own_recipe_has_what_serving_needs_and_nobody_compiled_or_tests() -> None:
    inside = [path for _, path in distributions.files(recipe().python)]
    assert {"petset/serve.py", "petset/__main__.py", "petset/objects/facts.json", "h2/connection.py"} <= set(inside)
    assert not [path for path in inside if "__pycache__" in path or "/tests/" in path or path.endswith(".pyc")]
    assert not [path for path in inside if path.startswith(("petset/images/", "petset/examples/", "../"))]
    assert len(inside) == len(set(inside))


SERVE = """
import sys, tempfile

def none(*_):
    raise FileNotFoundError("no usable temporary directory")

tempfile._get_default_tempdir = none
sys.path.insert(0, sys.argv.pop(1))
from petset.cli import main
sys.exit(main.main(sys.argv[1:]))
"""
CONFIG = {
    "apiVersion": "v1",
    "kind": "Config",
    "clusters": [{"name": "c", "cluster": {"server": "http://127.0.0.1:1"}}],  # Where nobody listens.
    "users": [{"name": "u", "user": {"token": "t"}}],
    "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
    "current-context": "c",
}


def test_what_is_copied_serves_as_nobody_who_may_write_to_one_directory_only(tmp_path: Path) -> None:
    """As deploy/ runs it: a module that is missing, or a file that is written elsewhere, would end it."""
    distributions.copy(["petset"], str(tmp_path / "packages"))
    (tmp_path / "kubeconfig").write_text(json.dumps(CONFIG))
    flags = ["serve", f"--kubeconfig={tmp_path / 'kubeconfig'}", f"--cert-dir={tmp_path / 'pki'}"]
    flags += ["--bind-address=127.0.0.1", "--secure-port=0", "--serving-secret=petset-serving"]
    environment = {"PETSET_OWNER": "65532", "PATH": "/usr/bin:/bin"}
    with (
        (tmp_path / "log").open("w") as log,
        subprocess.Popen(
            [sys.executable, "-I", "-c", SERVE, str(tmp_path / "packages"), *flags],
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            env=environment,
        ) as process,
    ):
        assert process.stdout is not None
        said = process.stdout.readline()
        process.terminate()
    assert said.startswith("api: https://127.0.0.1:"), (tmp_path / "log").read_text()
    assert process.returncode == 0, (tmp_path / "log").read_text()


def test_they_are_copied_for_everybody_to_read(tmp_path: Path) -> None:
    distributions.copy(["petset", "orjson"], str(tmp_path))
    own = Path(str(package_data.place("")))
    assert (tmp_path / "petset" / "serve.py").read_bytes() == (own / "serve.py").read_bytes()
    libraries = list((tmp_path / "orjson").glob("*.so"))
    assert libraries and all(stat.S_IMODE(path.stat().st_mode) == 0o755 for path in libraries)
    assert stat.S_IMODE((tmp_path / "petset" / "serve.py").stat().st_mode) == 0o644
    assert stat.S_IMODE((tmp_path / "petset").stat().st_mode) == 0o755


def test_an_image_is_built_again_when_one_of_them_has_changed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    of = recipes.Recipes(recipes.default_folder())
    before = of.key(recipe(), "parent")
    assert of.key(recipe(), "parent") == before
    changed = tmp_path / "module.py"
    changed.write_text("x = 1\n")
    monkeypatch.setattr(distributions, "files", lambda names: iter([(changed, "module.py")]))
    after = of.key(recipe(), "parent")
    changed.write_text("x = 2\n")
    assert len({before, after, of.key(recipe(), "parent")}) == 3


def test_one_that_is_not_installed_is_said() -> None:
    with pytest.raises(distributions.Missing, match="nobody-has-this is not installed here"):
        list(distributions.files(["nobody-has-this"]))
    made = recipes.Recipe("x", recipe().folder, "debian", python=("nobody-has-this",))
    with pytest.raises(recipes.RecipeError, match=r'cannot build image "x": .*; install petset whole'):
        recipes.Recipes(recipes.default_folder()).key(made, "parent")
