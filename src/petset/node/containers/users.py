"""Which user and groups a container's process gets, from the pod's security context, the image and its /etc files.

`resolve` is pure: it takes the texts of the image's /etc/passwd and /etc/group. A user is `name`, `uid`, `name:group`
or `uid:gid`; names are looked up in the image. runAsUser and runAsGroup override the image; supplementalGroups and
fsGroup are added to the groups that the image's /etc/group lists the user in.
"""

from __future__ import annotations

from dataclasses import dataclass

from petset.objects import meta
from petset.objects.meta import Object

ID_MAX = 2**31 - 1


class UserError(Exception):
    """A user that cannot be had or must not be root; becomes CreateContainerConfigError."""


@dataclass(frozen=True, slots=True)
class User:
    uid: int
    gid: int
    groups: tuple[int, ...] = ()


def resolve(pod: Object, container: Object, image_user: str, passwd: str, group: str) -> User:
    """Raises UserError."""
    own, shared = meta.part(container, "securityContext"), meta.part(pod, "spec", "securityContext")

    def wanted(key: str) -> int | None:
        return own.get(key) if own.get(key) is not None else shared.get(key)

    user_text, _, group_text = image_user.partition(":")
    if wanted("runAsUser") is not None:
        user_text = str(wanted("runAsUser"))
        group_text = ""  # As upstream: the image's group goes with the image's user.
    uid, gid, name = _user(user_text or "0", passwd)
    if group_text:
        gid = _group(group_text, group)
    if wanted("runAsGroup") is not None:
        gid = int(wanted("runAsGroup") or 0)
    if wanted("runAsNonRoot") and uid == 0:
        why = "runAsUser is 0" if wanted("runAsUser") is not None else "the image will run as root"
        raise UserError(f"container has runAsNonRoot and {why}; name another user with runAsUser")
    groups = [gid]
    if shared.get("supplementalGroupsPolicy") != "Strict":
        groups += _memberships(name, group)
    if shared.get("fsGroup") is not None:
        groups.append(int(shared["fsGroup"]))
    groups += [int(extra) for extra in shared.get("supplementalGroups") or ()]
    return User(uid, gid, tuple(dict.fromkeys(groups)))


def _rows(text: str, columns: int) -> list[list[str]]:
    rows = (line.strip().split(":") for line in text.splitlines() if not line.startswith("#"))
    return [row for row in rows if len(row) >= columns]


def _user(text: str, passwd: str) -> tuple[int, int, str]:
    """uid, gid and name; a numeric user need not be in the image's /etc/passwd."""
    numeric = int(text) if text.isdigit() else None
    for row in _rows(passwd, 4):
        if (row[0] == text or row[2] == text) and row[2].isdigit() and row[3].isdigit():
            return int(row[2]), int(row[3]), row[0]
    if numeric is None:
        raise UserError(f'the image has no user "{text}" in its /etc/passwd; give a number with runAsUser')
    if numeric > ID_MAX:
        raise UserError(f"user {text} is too large; the most is {ID_MAX}")
    return numeric, 0, ""


def _group(text: str, group: str) -> int:
    for row in _rows(group, 3):
        if row[0] == text and row[2].isdigit():
            return int(row[2])
    if text.isdigit():
        return int(text)
    raise UserError(f'the image has no group "{text}" in its /etc/group; give a number with runAsGroup')


def _memberships(name: str, group: str) -> list[int]:
    return [int(row[2]) for row in _rows(group, 4) if name and row[2].isdigit() and name in row[3].split(",")]
