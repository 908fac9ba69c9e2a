"""The data that comes with packages: the one place of the pure rooms that reads files, each once.

`facts` is a JSON file of this room, `schema_text` a module of the lightkube-models package, as text: nothing of it is
ever imported. What the package lacks stands in `types/`. `place` is where the recipes and the examples are: in a
checkout the package has links to them, in a wheel the folders themselves. What is read here is the same for every
process that has the same packages; nothing of an instance or of a request may ever be.
"""

from __future__ import annotations

import importlib.util
from functools import cache
from pathlib import Path
from typing import Any

from petset.objects import encoding


@cache
def facts(name: str) -> Any:
    """facts.json, protobuf.json, schema_values.json: as they are in this room."""
    return encoding.loads(Path(__file__).with_name(name).read_bytes())


@cache
def has_schema(module: str) -> bool:
    return _own(module).exists() or (_models() / f"{module}.py").exists()


@cache
def schema_version() -> str:
    """The version of the lightkube-models package."""
    import importlib.metadata  # For a document that somebody asks for; 2 MiB, for it reads what looks like mail.

    return importlib.metadata.version("lightkube-models")


@cache
def schema_text(module: str) -> str:
    """The source of a module of lightkube-models: core_v1, apps_v1, ...; or types of this room in its form."""
    own = _own(module)
    return (own if own.exists() else _models() / f"{module}.py").read_text(encoding="utf-8")


def _own(module: str) -> Path:
    return Path(__file__).with_name("types") / f"{module}.txt"


def place(name: str) -> Path:
    """Where something for people, containers and machines is that travels with the package: images, examples, lists."""
    return Path(__file__).parents[1] / name


def dashboard(name: str) -> bytes | None:
    """A file of the dashboard, None where there is none; read anew each time: browsers keep it."""
    try:
        return place("dashboard").joinpath("static", *name.split("/")).read_bytes()
    except FileNotFoundError:
        return None


def folders(package: str) -> list[str]:
    """Where the modules of a package are, without importing it; [] of one that is not installed."""
    spec = importlib.util.find_spec(package)
    return list((spec.submodule_search_locations if spec else None) or ())


@cache
def _models() -> Path:
    for place in folders("lightkube"):  # Itself it may or may not be installed beside its models.
        if (Path(place) / "models" / "core_v1.py").exists():
            return Path(place) / "models"
    raise RuntimeError("cannot read the schemas: the package lightkube-models is not installed; run make setup")
