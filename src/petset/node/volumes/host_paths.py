"""Places of the node itself that a pod names: whether they are what it says, and made where it asks for that.

Without a type nothing is asked, and a place that is missing is made a directory, as a container runtime does for a
source that is not there.
Follows: "Volumes" of the Kubernetes documentation, the types of hostPath.
"""

from __future__ import annotations

import stat
from pathlib import Path

from petset.node import paths
from petset.node.environment import ConfigError
from petset.node.volumes import payloads
from petset.objects.meta import Object

_TYPE_CHECKS = {
    "Directory": (stat.S_ISDIR, "a directory"),
    "File": (stat.S_ISREG, "a file"),
    "Socket": (stat.S_ISSOCK, "a socket"),
    "CharDevice": (stat.S_ISCHR, "a character device"),
    "BlockDevice": (stat.S_ISBLK, "a block device"),
}


def prepared(source: Object) -> str:
    """The path of a hostPath, which is there. Raises ConfigError, OSError."""
    path, type_ = Path(source["path"]), source.get("type") or ""
    if len(path.parts) > payloads.PATH_PARTS_MAX:
        raise ConfigError(f"cannot use a hostPath of more than {payloads.PATH_PARTS_MAX} parts; shorten it")
    if not path.exists():
        if type_ in ("DirectoryOrCreate", ""):
            path.parent.mkdir(parents=True, exist_ok=True)
            paths.make_directory(path, 0o755)
        elif type_ == "FileOrCreate":
            paths.make_file(path, 0o644)
    wanted = {"DirectoryOrCreate": "Directory", "FileOrCreate": "File"}.get(type_, type_)
    if wanted:
        check, shown = _TYPE_CHECKS[wanted]
        try:
            is_fine = check(path.stat().st_mode)
        except OSError:
            is_fine = False
        if not is_fine:
            raise ConfigError(f"hostPath type check failed: {path} is not {shown}")
    return str(path)
