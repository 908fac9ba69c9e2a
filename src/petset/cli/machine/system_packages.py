"""What of the system petset uses: which packages a machine lacks, and the commands that install them; pure.

The list itself is system-packages.txt, for people and scripts to read, too: a row has what the package is for, the
program in it, its name on each system, and a few words about it. A system is known by os-release(5): by its own name,
else by the first it says it is like.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from petset.objects import package_data

NONE = "-"
SYSTEMS: tuple[str, ...] = ("debian", "ubuntu", "fedora")  # The columns of the list.
RUNNING = ("run", "build")  # What a machine needs that runs petset.
ROOTLESS = (*RUNNING, "rootless")  # And is not root.
ALL = (*ROOTLESS, "jars")
# How packages are installed: commands that go before the names of packages, the last one with them.
INSTALL = {
    "debian": (("apt-get", "update"), ("apt-get", "install", "-y", "--no-install-recommends")),
    "ubuntu": (("apt-get", "update"), ("apt-get", "install", "-y", "--no-install-recommends")),
    "fedora": (("dnf", "install", "-y", "--setopt=install_weak_deps=False"),),
}


@dataclass(frozen=True, slots=True)
class Package:
    purpose: str  # run, build, ...
    program: str  # "": it has none of its own.
    names: Mapping[str, str]  # By system; "" where it has none.
    what_for: str

    def name(self, system: str) -> str:
        return self.names.get(system, "")


def listed() -> list[Package]:
    """All of the list, in its order."""
    return parsed(package_data.place("system-packages.txt").read_text(encoding="utf-8"))


def parsed(text: str) -> list[Package]:
    found: list[Package] = []
    for line in text.splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        purpose, program, *rest = ("" if word == NONE else word for word in line.split(None, 2 + len(SYSTEMS)))
        names: dict[str, str] = dict(zip(SYSTEMS, rest, strict=False))
        found.append(Package(purpose, program, names, "".join(rest[len(SYSTEMS) :]).strip()))
    return found


def system_of(release: Mapping[str, str]) -> str:
    """Which column a machine's os-release(5) leads to; "" of a system that nobody knows here."""
    said = (release.get("ID", ""), *release.get("ID_LIKE", "").split())
    return next((name for name in said if name in SYSTEMS), "")


def missing(
    packages: Iterable[Package], purposes: Sequence[str], system: str, is_installed: Callable[[str], bool]
) -> list[Package]:
    """Those for these purposes that the machine lacks, and that its system has."""
    wanted = [package for package in packages if package.purpose in purposes]
    return [package for package in wanted if (name := package.name(system)) and not is_installed(name)]


def unavailable(packages: Iterable[Package], purposes: Sequence[str], system: str) -> list[Package]:
    """Those that the system does not have."""
    return [package for package in packages if package.purpose in purposes and not package.name(system)]


def commands(system: str, names: Sequence[str]) -> list[tuple[str, ...]]:
    """What installs these packages."""
    *before, last = INSTALL[system]
    return [*before, (*last, *names)] if names else []
