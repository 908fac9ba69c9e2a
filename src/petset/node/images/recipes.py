"""Recipes of images: a folder with a recipe.yaml and the files it adds, and stand-ins.yaml, which says for which public
names a recipe stands in.

`Recipes` reads the folder; `key` decides whether an image must be built again: the same recipe, files and parent have
the same key. building.py makes the image.
"""

from __future__ import annotations

import fnmatch
import functools
import hashlib
import os
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from petset.node.images import distributions
from petset.objects import package_data
from petset.objects.meta import Json

BUILD_FORMAT = 1  # Part of every key: raise it when the same recipe would give another image.
BASE = "scratch"


class RecipeError(Exception):
    """A recipe that is wrong or cannot be built now; the message is meant for people."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """One recipe.yaml. Fields that are None keep what the parent image says."""

    name: str
    folder: str
    parent: str  # "scratch" or another recipe
    packages: tuple[str, ...] = ()  # installed with what they depend on
    unpack: tuple[str, ...] = ()  # only their files, without dependencies and without their scripts
    tools: tuple[str, ...] = ()  # on the PATH of the run steps, not in the image
    maven: tuple[str, ...] = ()  # group:artifact:version; it and what it needs go to maven_into
    maven_into: str = "/usr/share/java"
    python: tuple[str, ...] = ()  # distributions that this petset runs on, or itself; copied to python_into
    python_into: str = "/usr/lib/python3/dist-packages"
    exclude: tuple[str, ...] = ()  # paths that no package may bring, here and in every image made from this one
    include: tuple[str, ...] = ()  # folders of files that several recipes add, relative to the recipes' folder
    run: tuple[str, ...] = ()  # shell steps inside the image, without network
    remove: tuple[str, ...] = ()  # globs
    entrypoint: tuple[str, ...] | None = None
    command: tuple[str, ...] | None = None
    env: tuple[str, ...] = ()
    working_dir: str | None = None
    user: str | None = None
    ports: tuple[str, ...] = ()
    stop_signal: str | None = None


def parse(name: str, folder: str, text: str) -> Recipe:
    """A recipe from the text of its recipe.yaml."""
    from petset.objects import documents  # Reading YAML is a MiB, and recipes are read for images that are asked for.

    where = f"cannot use recipe {name}"
    try:
        tree: Json = documents.load(text)
    except ValueError as error:
        raise RecipeError(f"{where}: recipe.yaml is not YAML: {error}; correct it") from None
    given = tree if isinstance(tree, dict) else {}
    parent = given.get("from")
    if not isinstance(parent, str):
        raise RecipeError(f'{where}: it has no "from"; name another recipe there, or "{BASE}"')
    lists = {field.name: str(field.type).startswith("tuple") for field in fields(Recipe)[3:]}
    values: dict[str, Any] = {}
    for said, value in given.items():
        key = said.replace("-", "_")
        if key == "from" or value is None:
            continue
        if key not in lists:
            raise RecipeError(f'{where}: unknown field "{key}"; the fields are {", ".join(sorted(lists))}')
        if isinstance(value, list) is not lists[key]:
            raise RecipeError(f'{where}: "{key}" must be {"a list" if lists[key] else "a text"}; correct it')
        values[key] = tuple(map(str, value)) if isinstance(value, list) else str(value)
    return Recipe(name, folder, parent, **values)


class Recipes:
    """The folder of recipes, and the names they stand in for."""

    def __init__(self, folder: str):
        self.folder = folder

    def names(self) -> list[str]:
        return sorted(
            entry
            for entry in os.listdir(self.folder)
            if os.path.exists(os.path.join(self.folder, entry, "recipe.yaml"))
        )

    def recipe(self, name: str) -> Recipe:
        folder = os.path.join(self.folder, name)
        try:
            with open(os.path.join(folder, "recipe.yaml"), encoding="utf-8") as file:
                return parse(name, folder, file.read())
        except OSError as error:
            raise RecipeError(
                f'cannot build image "{name}": no recipe of that name ({error.strerror}); '
                f"the recipes are {', '.join(self.names())}"
            ) from None

    @functools.cached_property
    def stand_ins(self) -> tuple[tuple[str, str], ...]:
        """(pattern of normalized references, recipe), in the order of the file."""
        from petset.objects import documents

        try:
            with open(os.path.join(self.folder, "stand-ins.yaml"), encoding="utf-8") as file:
                tree: Mapping[str, Sequence[str]] = documents.load(file.read()) or {}
        except FileNotFoundError:
            return ()
        return tuple((pattern, recipe) for recipe, patterns in tree.items() for pattern in patterns)

    def stand_in(self, reference: str) -> str | None:
        """The recipe that stands in for a normalized reference (registry/repository:tag)."""
        for pattern, recipe in self.stand_ins:
            if fnmatch.fnmatchcase(reference, pattern):
                return recipe
        return None

    def key(self, recipe: Recipe, parent_digest: str) -> str:
        """What decides whether an image must be built again: the recipe, its files, its parent."""
        digest = hashlib.sha256(f"{BUILD_FORMAT} {parent_digest}\0".encode())
        for folder in (recipe.folder, *included(recipe)):
            for path in files(folder):
                full = os.path.join(folder, path)
                mode = os.lstat(full).st_mode
                digest.update(f"{path}\0{int(bool(mode & stat.S_IXUSR))}\0".encode())
                if stat.S_ISLNK(mode):
                    digest.update(os.readlink(full).encode())
                else:
                    with open(full, "rb") as file:
                        digest.update(hashlib.sha256(file.read()).digest())
        if recipe.python:
            try:
                digest.update(distributions.digest(recipe.python))
            except distributions.Missing as error:
                raise RecipeError(f'cannot build image "{recipe.name}": {error}; install petset whole') from None
        return digest.hexdigest()


def default_folder() -> str:
    return str(package_data.place("images"))


def included(recipe: Recipe) -> list[str]:
    """The folders of files that the recipe shares with others. Raises RecipeError."""
    folders = [os.path.join(os.path.dirname(recipe.folder), name) for name in recipe.include]
    for name, folder in zip(recipe.include, folders, strict=True):
        if not os.path.isdir(folder):
            raise RecipeError(f'cannot build image "{recipe.name}": there is no folder {name} to include; correct it')
    return folders


def files(folder: str) -> list[str]:
    """Paths of all files and links below a folder, relative to it, sorted; but what Python compiled there when petset
    was installed.
    """
    found: list[str] = []
    for where, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if name != "__pycache__"]
        links = [name for name in folders if os.path.islink(os.path.join(where, name))]
        found += [os.path.relpath(os.path.join(where, name), folder) for name in (*names, *links)]
    return sorted(found)
