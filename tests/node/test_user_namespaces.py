"""Where pods may have users of their own, and what is said where they may not."""

from __future__ import annotations

from pathlib import Path

import pytest

from petset.node import linux, user_namespaces


@pytest.mark.parametrize(
    ("runtime", "is_root", "most", "said"),
    [
        ("/usr/bin/crun", True, "1000\n", ""),
        ("/usr/bin/runc", True, "1000\n", "under runc petset makes none; install crun"),
        ("", True, "1000\n", "under no OCI runtime petset makes none; install crun"),
        ("/usr/bin/crun", False, "1000\n", "petset runs without root, and only the machine's root may map"),
        ("/usr/bin/crun", True, "0\n", "the kernel makes no user namespaces; sysctl user.max_user_namespaces="),
        ("/usr/bin/crun", True, None, "the kernel makes no user namespaces; "),
    ],
)
def test_what_is_lacking_is_said_with_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, runtime: str, is_root: bool, most: str | None, said: str
) -> None:
    monkeypatch.setattr(linux, "is_first_user_namespace", lambda: is_root)
    monkeypatch.setattr(user_namespaces, "NAMESPACES_MAX", tmp_path / "max")
    if most is not None:
        (tmp_path / "max").write_text(most)
    found = user_namespaces.lacking(runtime)
    assert found.startswith(said) and bool(found) == bool(said)


def test_the_kind_of_a_file_system_is_that_of_the_mount() -> None:
    with open("/proc/self/status") as file:
        assert linux.file_system(file.fileno()) == "proc"
        assert linux.file_system(file.fileno(), "1 2 0:1 / / rw - tmpfs none rw\n") == ""
