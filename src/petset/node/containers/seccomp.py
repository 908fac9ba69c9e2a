"""The seccomp filter of a container: the containers packages' profile turned into the OCI form.

The profile (containers-common's seccomp.json, also the form of Docker's) is more general than OCI's: each rule may ask
for an architecture, a capability of the container or a kernel version. `convert` is pure and keeps the rules that
hold here. RuntimeDefault is that profile; Localhost profiles may be written in either form; unset is unconfined, or
RuntimeDefault where the instance was started so.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from petset.objects.meta import Json, Object

UNCONFINED, RUNTIME_DEFAULT = "Unconfined", "RuntimeDefault"
PROFILE_PATHS = ("/usr/share/containers/seccomp.json", "/etc/containers/seccomp.json")

# By `uname -m`: the name in rules, and the native architecture in archMap.
ARCHITECTURES = {
    "x86_64": ("amd64", "SCMP_ARCH_X86_64"),
    "aarch64": ("arm64", "SCMP_ARCH_AARCH64"),
    "armv7l": ("arm", "SCMP_ARCH_ARM"),
    "ppc64le": ("ppc64le", "SCMP_ARCH_PPC64LE"),
    "s390x": ("s390x", "SCMP_ARCH_S390X"),
    "riscv64": ("riscv64", "SCMP_ARCH_RISCV64"),
    "i686": ("x86", "SCMP_ARCH_X86"),
}


def convert(profile: Object, machine: str, capabilities: Collection[str], kernel: tuple[int, int]) -> dict[str, Any]:
    """The `linux.seccomp` section of an OCI config."""
    architecture, native = ARCHITECTURES.get(machine, (machine, ""))
    result: dict[str, Any] = {"defaultAction": profile["defaultAction"]}
    if profile.get("defaultErrnoRet") is not None:
        result["defaultErrnoRet"] = profile["defaultErrnoRet"]
    if "architectures" in profile:
        result["architectures"] = list(profile["architectures"])
    elif mapped := [entry for entry in profile.get("archMap") or () if entry["architecture"] == native]:
        result["architectures"] = [native, *(mapped[0].get("subArchitectures") or ())]
    result["syscalls"] = [
        _rule(rule)
        for rule in profile.get("syscalls") or ()
        if _holds(rule.get("includes") or {}, architecture, capabilities, kernel, every=True)
        and not _holds(rule.get("excludes") or {}, architecture, capabilities, kernel, every=False)
    ]
    return result


def _rule(rule: Object) -> dict[str, Any]:
    names = rule.get("names") or ([rule["name"]] if rule.get("name") else [])
    converted: dict[str, Any] = {"names": list(names), "action": rule["action"]}
    if rule.get("errnoRet") is not None:
        converted["errnoRet"] = rule["errnoRet"]
    if rule.get("args"):
        converted["args"] = [
            {key: arg[key] for key in ("index", "value", "valueTwo", "op") if key in arg} for arg in rule["args"]
        ]
    return converted


def _holds(
    condition: Mapping[str, Any], architecture: str, capabilities: Collection[str], kernel: tuple[int, int], every: bool
) -> bool:
    """Includes hold when all that is said is true, excludes when any of it is."""
    said: list[bool] = []
    if arches := _list(condition.get("arches")):
        said.append(architecture in arches)
    if caps := _list(condition.get("caps")):
        said.append((all if every else any)(cap in capabilities for cap in caps))
    if least := condition.get("minKernel"):
        said.append(kernel >= _version(str(least)))
    return all(said) if every else any(said)


def _list(value: Json) -> Sequence[str]:
    return [str(one) for one in value] if isinstance(value, list) else ()


def _version(text: str) -> tuple[int, int]:
    major, _, minor = text.partition(".")
    return int(major), int(minor.split(".")[0] or 0)
