"""`petset snapshot`: the volumes of a set's pets taken as one, listed, and put back.

`take SET` makes a VolumeSnapshot of each claim of each pet, all with one name on their labels; either all of them get
ready or none stays. `revert NAME` stops the set, makes its claims anew out of them, and starts it again; what was
written since is gone. (`petset restore FILE` is something else: a whole instance out of a backup.)

A revert that was interrupted goes on when it is run again: how many pets there were stands on the set meanwhile.
Follows: "Volume Snapshots" of the Kubernetes documentation; any cluster with a driver that takes them will do.
"""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from petset.base import tasks, well_known
from petset.cli import exit_codes
from petset.cli.asking import clusters, sets
from petset.cli.failures import CommandError
from petset.cli.given import applying, consent, flags
from petset.cli.showing import printing, progress
from petset.client import following
from petset.client.client import Client
from petset.kinds import pet_names, volume_snapshots
from petset.kinds.persistent_volume_claim import PERSISTENTVOLUMECLAIMS
from petset.kinds.pod import PODS
from petset.objects import errors, meta, tables
from petset.objects.meta import Object
from petset.objects.registry import Kind

COLUMNS = ("name", "set", "volumes", "ready", "size", "age")
TIMEOUT = "10m"
KEPT_OF_A_CLAIM = ("accessModes", "resources", "storageClassName", "volumeMode")

GONE_SECONDS_MAX = 60.0


def arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    take = actions.add_parser("take", help="take the volumes of all pets of a set")
    take.add_argument("name", metavar="SET")
    take.add_argument("--name", dest="called", metavar="NAME", help="what to call it (default: the set and the time)")
    take.add_argument("--class", dest="class_", metavar="CLASS", help="the VolumeSnapshotClass (default: the default)")
    ls = actions.add_parser("ls", help="list what was taken")
    ls.add_argument("name", nargs="?", metavar="SET", help="of one set only")
    printing.arguments(ls)
    revert = actions.add_parser("revert", help="put a set's volumes back as they were")
    revert.add_argument("name", metavar="NAME")
    revert.add_argument("--yes", action="store_true", help="do not ask")
    remove = actions.add_parser("rm", help="delete what was taken")
    remove.add_argument("name", metavar="NAME")
    for one in (take, ls, revert, remove):
        clusters.arguments(one)
    for one in (take, revert):
        one.add_argument(
            "--timeout",
            type=flags.seconds,
            default=TIMEOUT,
            metavar="DURATION",
            help=f"({TIMEOUT})",
        )


def run(args: argparse.Namespace) -> int:
    return asyncio.run(_run(args))


async def _run(args: argparse.Namespace) -> int:
    async with clusters.reached(args) as cluster:
        kind = await _kind(cluster.client)
        return await _ACTIONS[args.action](cluster.client, kind, cluster.namespace, args)


async def _kind(client: Client) -> Kind:
    try:
        any_one = {"apiVersion": volume_snapshots.API_VERSION, "kind": "VolumeSnapshot", "metadata": {"name": ""}}
        return await applying.kind_of(client, any_one)
    except applying.Refused:
        raise CommandError(
            "cannot work with snapshots: the cluster has no VolumeSnapshots; petset has them where its provisioner "
            "is on, other clusters once a driver brings them"
        ) from None


# Taking


async def _take(client: Client, kind: Kind, namespace: str, args: argparse.Namespace) -> int:
    [family] = (await sets.families(client, namespace, [args.name]))[:1]
    claims = [claim for name in claim_names(family.owner) for claim in family.claims if meta.name(claim) == name]
    if not claims:
        raise CommandError(f"cannot take {args.name}: none of its pets has a claim; there is nothing to keep")
    called = args.called or f"{args.name}-{_moment()}"
    if await _taken(client, kind, namespace, called):
        raise CommandError(f"cannot take {args.name}: a snapshot {called} is there already; give it another --name")
    wanted = [snapshot_of(claim, called, args.name, args.class_) for claim in claims]
    try:
        for one in wanted:
            await client.create(one, kind)
        with progress.counted(f"snapshot {called}", len(wanted), "volumes") as tell:
            await following.until(
                client, kind, namespace, _all_ready(len(wanted), tell), args.timeout, _labelled(called)
            )
    except (errors.ApiError, TimeoutError, asyncio.CancelledError) as error:
        why = await _why_not(client, kind, namespace, called)
        await _delete(client, kind, namespace, called)
        if isinstance(error, asyncio.CancelledError):
            raise
        told = error.message if isinstance(error, errors.ApiError) else why or "it took longer than --timeout"
        raise CommandError(f"cannot take {args.name}: {told}; nothing was kept") from None
    print(f"{called}: {len(wanted)} volumes of {args.name}; put them back with `petset snapshot revert {called}`")
    return 0


def _moment() -> str:
    return tasks.rfc3339(tasks.now()).replace("-", "").replace(":", "").replace("T", "-").rstrip("Z")


def claim_names(owner: Object) -> list[str]:
    """Of all claims that a set's pets should have, pet by pet; pure."""
    return [claim for pet in pet_names.names(owner) for claim in pet_names.claim_names(owner, pet)]


def snapshot_of(claim: Object, called: str, set_name: str, class_: str | None) -> Object:
    labels = {well_known.SNAPSHOT_LABEL: called, well_known.SNAPSHOT_OF_LABEL: set_name}
    return {
        "apiVersion": volume_snapshots.API_VERSION,
        "kind": "VolumeSnapshot",
        "metadata": {"name": f"{called}-{meta.name(claim)}", "namespace": meta.namespace(claim), "labels": labels},
        "spec": {
            "source": {"persistentVolumeClaimName": meta.name(claim)},
            **({"volumeSnapshotClassName": class_} if class_ else {}),
        },
    }


def _all_ready(count: int, tell: progress.Count) -> Callable[[Sequence[Object]], bool]:
    def holds(found: Sequence[Object]) -> bool:
        ready = sum(meta.get(one, "status", "readyToUse") is True for one in found)
        tell(ready)
        return ready == count

    return holds


def _labelled(called: str) -> str:
    return f"{well_known.SNAPSHOT_LABEL}={called}"


async def _taken(client: Client, kind: Kind, namespace: str, called: str) -> list[Object]:
    found, _ = await client.list(kind, namespace, _labelled(called))
    return found


async def _why_not(client: Client, kind: Kind, namespace: str, called: str) -> str:
    found = await _taken(client, kind, namespace, called)
    told = [meta.get(one, "status", "error", "message", default="") for one in found]
    return next((text for text in told if text), "")


async def _delete(client: Client, kind: Kind, namespace: str, called: str) -> int:
    found = await _taken(client, kind, namespace, called)
    for one in found:
        await client.delete(kind, meta.name(one), namespace)
    return len(found)


# Listing and deleting


async def _list(client: Client, kind: Kind, namespace: str, args: argparse.Namespace) -> int:
    found, _ = await client.list(kind, namespace, well_known.SNAPSHOT_LABEL)
    told = [row for row in rows(found, tasks.now()) if args.name in (None, row["set"])]
    printing.rows(args.output, COLUMNS, told, none="there are no snapshots; `petset snapshot take SET` takes one")
    return 0


def rows(snapshots: Sequence[Object], now: float) -> list[printing.Row]:
    """A row for all volumes that were taken as one, the oldest first; pure."""
    by_name: dict[str, list[Object]] = {}
    for one in sorted(snapshots, key=meta.by_age):
        by_name.setdefault(meta.labels(one).get(well_known.SNAPSHOT_LABEL, ""), []).append(one)
    return [
        {
            "name": name,
            "set": meta.labels(some[0]).get(well_known.SNAPSHOT_OF_LABEL, ""),
            "volumes": len(some),
            "ready": all(meta.get(one, "status", "readyToUse") is True for one in some),
            "size": ", ".join(dict.fromkeys(str(meta.get(one, "status", "restoreSize", default="?")) for one in some)),
            "age": tables.age(some[0], now),
        }
        for name, some in by_name.items()
    ]


async def _remove(client: Client, kind: Kind, namespace: str, args: argparse.Namespace) -> int:
    count = await _delete(client, kind, namespace, args.name)
    if not count:
        raise CommandError(
            f"cannot delete {args.name}: there is no such snapshot in {namespace}; see `petset snapshot ls`"
        )
    try:
        await following.until(client, kind, namespace, lambda found: not found, GONE_SECONDS_MAX, _labelled(args.name))
    except TimeoutError:
        why = f"it is still there after {GONE_SECONDS_MAX:g} s, a claim may be being made of it"
        raise CommandError(f"cannot delete {args.name}: {why}; it goes once that is done") from None
    print(f"{args.name}: deleted, {count} volumes")
    return 0


# Putting back


async def _revert(client: Client, kind: Kind, namespace: str, args: argparse.Namespace) -> int:
    found = to_have(await _taken(client, kind, namespace, args.name))
    if not found:
        raise CommandError(f"cannot revert: there is no snapshot {args.name} in {namespace}; see `petset snapshot ls`")
    if not all(meta.get(one, "status", "readyToUse") is True for one in found):
        raise CommandError(f"cannot revert to {args.name}: not all of its volumes are ready; see `petset snapshot ls`")
    set_name = meta.labels(found[0]).get(well_known.SNAPSHOT_OF_LABEL, "")
    [family] = (await sets.families(client, namespace, [set_name]))[:1]
    lost = (
        f"This stops {set_name} and puts its volumes back as they were in {args.name}: what was written since is lost."
    )
    if not consent.given(args.yes, f"revert {set_name}", lost=lost):
        return exit_codes.NOT_SO
    wanted = reverted_claims(family.owner, family.claims, found)
    before = await _stopped(client, family.owner, args.timeout)
    try:
        await _made_anew(client, namespace, wanted, args.timeout)
    except TimeoutError:
        why = f"its claims are not bound after {args.timeout:g} s"
        again = f"`petset why {set_name}` tells why; run this again to go on"
        raise CommandError(f"cannot revert {set_name} to {args.name}: {why}, and it stands still; {again}") from None
    await _scaled(client, family.owner, before, None)
    print(f"{set_name}: {len(wanted)} volumes are as in {args.name}, and {before} pets come back")
    return 0


def to_have(snapshots: Sequence[Object]) -> list[Object]:
    """Those that a claim can begin with: nothing is made of one that is being deleted. Pure."""
    return [one for one in snapshots if not meta.is_deleting(one)]


def reverted_claims(owner: Object, claims: Sequence[Object], snapshots: Sequence[Object]) -> list[Object]:
    """The claims that begin with what was taken, otherwise as they are, or as their template has them. Pure."""
    there = {meta.name(claim): claim for claim in claims}
    found: list[Object] = []
    for one in snapshots:
        name = one["spec"]["source"]["persistentVolumeClaimName"]
        pattern = there.get(name) or pet_names.template_of(owner, name)
        if pattern is None:
            why = f"{meta.name(owner)} has no claim template any more that makes {name}"
            raise CommandError(f"cannot revert: {why}; it can once the set is made anew with that template")
        spec = {key: value for key, value in meta.part(pattern, "spec").items() if key in KEPT_OF_A_CLAIM}
        source = {"apiGroup": volume_snapshots.GROUP, "kind": "VolumeSnapshot", "name": meta.name(one)}
        annotations = {key: value for key, value in meta.annotations(pattern).items() if key in CLASS_ANNOTATIONS}
        labels = meta.labels(pattern) or meta.get(owner, "spec", "selector", "matchLabels", default={})
        metadata = {"name": name, "namespace": meta.namespace(owner), "labels": labels, "annotations": annotations}
        found.append(
            {
                "apiVersion": "v1",
                "kind": "PersistentVolumeClaim",
                "metadata": metadata,
                "spec": {**spec, "dataSource": source},
            }
        )
    return found


CLASS_ANNOTATIONS = (well_known.STORAGE_CLASS_ALPHA_ANNOTATION, well_known.STORAGE_CLASS_BETA_ANNOTATION)


async def _stopped(client: Client, owner: Object, seconds: float) -> int:
    """Stop a set's pets; how many there were, also when an earlier try has stopped them. Raises CommandError."""
    noted = meta.annotations(owner).get(well_known.REVERTING_ANNOTATION)
    before = int(noted) if noted and noted.isdecimal() else pet_names.replicas_wanted(owner)
    await _scaled(client, owner, 0, str(before))

    def are_gone(pods: Sequence[Object]) -> bool:
        return not any(meta.is_controlled_by(pod, owner) for pod in pods)

    try:
        await following.until(client, PODS, meta.namespace(owner), are_gone, seconds)
    except TimeoutError:
        await _scaled(client, owner, before, None)
        name = meta.name(owner)
        why = f"its pets did not stop within {seconds:g} s, and run on; `petset why {name}` tells why"
        raise CommandError(f"cannot revert {name}: {why}") from None
    return before


async def _scaled(client: Client, owner: Object, replicas: int, noted: str | None) -> None:
    kind = next(kind for kind in sets.KINDS if kind.kind == owner["kind"])
    change: Mapping[str, Any] = {
        "metadata": {"annotations": {well_known.REVERTING_ANNOTATION: noted}},
        "spec": {"replicas": replicas},
    }
    await client.patch(kind, meta.name(owner), meta.namespace(owner), change)


async def _made_anew(client: Client, namespace: str, wanted: Sequence[Object], seconds: float) -> None:
    """Raises TimeoutError."""
    names = [meta.name(one) for one in wanted]
    there, _ = await client.list(PERSISTENTVOLUMECLAIMS, namespace)
    old = {meta.name(one): meta.uid(one) for one in there if meta.name(one) in names}
    for name in old:
        await client.delete(PERSISTENTVOLUMECLAIMS, name, namespace)
    uids = list(old.values())
    await following.until(
        client,
        PERSISTENTVOLUMECLAIMS,
        namespace,
        lambda found: not any(meta.uid(one) in uids for one in found),
        seconds,
    )
    for one in wanted:
        await client.create(one)
    with progress.counted("putting back", len(wanted), "volumes") as tell:

        def are_bound(found: Sequence[Object]) -> bool:
            bound = sum(meta.name(one) in names and meta.get(one, "status", "phase") == "Bound" for one in found)
            tell(bound)
            return bound == len(names)

        await following.until(client, PERSISTENTVOLUMECLAIMS, namespace, are_bound, seconds)


_ACTIONS = {"take": _take, "ls": _list, "revert": _revert, "rm": _remove}
