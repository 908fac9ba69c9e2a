"""`petset move SET --to CONTEXT`: hand a set over to another cluster, pet by pet, with what is on its volumes.

The highest ordinal goes first: the pet stops here, its place is taken so that nobody makes a second of it, what its
claims hold is copied and compared by digest, and it starts there. With --at-once all stop first, then all is copied,
then they start there in their order: for pets that copy from each other, of which the last one here would write what
the first one there does not know. The set here stays without pets and says where it is; its claims stay, too. Killed
at any moment, the same command goes on. `--from CONTEXT` is the way back.

As a StatefulSet (--as) it leaves plain objects of Kubernetes there. Exit code 0 when every pet is there.
"""

from __future__ import annotations

import argparse
import asyncio
import sys

from petset.base import tasks, well_known
from petset.cli.asking import clusters
from petset.cli.asking.clusters import Reached
from petset.cli.failures import CommandError
from petset.cli.given import flags
from petset.cli.moving import acting, deciding, foreseeing, making, record
from petset.cli.moving.record import Move
from petset.cli.showing import progress
from petset.controllers.pets import translation
from petset.kinds.config_map import CONFIGMAPS
from petset.kinds.namespace import NAMESPACES
from petset.kinds.secret import SECRETS
from petset.kinds.service_account import SERVICEACCOUNTS
from petset.kinds.storage_class import STORAGECLASSES
from petset.objects import errors, meta
from petset.objects.meta import Object
from petset.objects.registry import Kind

TIMEOUT = "10m"
INSTANCE = "this instance"
REFERRED_TO = (CONFIGMAPS, SECRETS, SERVICEACCOUNTS)


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar="SET", help="a PetSet or StatefulSet; or KIND/NAME")
    parser.add_argument("--to", metavar="CONTEXT", help="the cluster of this context takes it (default: this instance)")
    parser.add_argument("--from", dest="source", metavar="CONTEXT", help="it is there now (default: this instance)")
    parser.add_argument("--as", dest="kind", choices=tuple(record.KINDS), help="what it becomes (default: as it is)")
    parser.add_argument("-n", "--namespace", metavar="NAMESPACE", help="where it is (default: the context's)")
    parser.add_argument("--to-namespace", metavar="NAMESPACE", help="where it is to be (default: of the same name)")
    parser.add_argument("--kubeconfig", metavar="FILE", help="that has the contexts (default: as kubectl)")
    parser.add_argument(
        "--storage-class", metavar="CLASS", help="of the claims there (default: the same if there, else the default)"
    )
    parser.add_argument(
        "--image-map",
        action="append",
        default=[],
        metavar="FROM=TO",
        help="what images are called there; again for more",
    )
    parser.add_argument("--image", metavar="IMAGE", help="copies on both sides (default: the pets' own first image)")
    parser.add_argument("--at-once", action="store_true", help="all pets stop before the first one starts there")
    parser.add_argument("--dry-run", action="store_true", help="tell each step, and do none")
    parser.add_argument(
        "--timeout", type=flags.seconds, default=TIMEOUT, metavar="DURATION", help=f"for each pet ({TIMEOUT})"
    )


def run(args: argparse.Namespace) -> int:
    if args.to == args.source:
        raise CommandError(
            "cannot move it: both are the same cluster; name another with --to CONTEXT or --from CONTEXT"
        )
    return asyncio.run(_run(args))


async def _run(args: argparse.Namespace) -> int:
    async with clusters.reached(_asked(args, args.source)) as here, clusters.reached(_asked(args, args.to)) as there:
        kind, set_ = await _set(here, args.name)
        name = meta.name(set_)
        target = Reached(there.client, args.to_namespace or here.namespace, there.dialer, there.context)
        move = await _move(args, here, set_, target)
        if move is None:
            print(f"{name}: all its pets are in {meta.annotations(set_)[well_known.MOVED_TO_ANNOTATION]}")
            return 0
        await _check(move, set_, target)
        wishes = await _wishes(args, target, name)
        grounds = [
            acting.Ground(one.client, one.dialer, one.namespace, resource, name, args.image or "")
            for one, resource in ((here, kind), (target, move.resource))
        ]
        if args.dry_run:
            return await _foretell(move, wishes, grounds[0], grounds[1])
        with progress.shown() as tell_bytes:

            def tell(why: str) -> None:
                print(f"{name}: {why}", file=sys.stderr, flush=True)

            await acting.Mover(grounds[0], grounds[1], move, wishes, tell, tell_bytes, args.timeout).run()
    source = f"in {here.context}" if here.context else "here"
    print(f"{name}: all {move.replicas} pets are in {move.to}; its claims {source} are kept, delete them when you like")
    return 0


def _asked(args: argparse.Namespace, context: str | None) -> argparse.Namespace:
    """What `clusters.reached` is asked for one of the two."""
    given = vars(args)
    instance = args.instance if context is None else None
    if context is None and instance is None:
        raise CommandError(
            "cannot move it: no instance is meant; name both clusters, with --from CONTEXT and --to CONTEXT"
        )
    kubeconfig = None if context is None else args.kubeconfig
    return argparse.Namespace(
        **{**given, "context": context, "kubeconfig": kubeconfig, "instance": instance, "all_namespaces": False}
    )


async def _set(here: Reached, words: str) -> tuple[Kind, Object]:
    """Raises CommandError, ApiError, OSError."""
    said, _, name = words.rpartition("/")
    kinds = [kind for kind in record.KINDS.values() if not said or said.lower() in (kind.plural, kind.singular, "sts")]
    found = [(kind, one) for kind in kinds if (one := await acting.found(here.client, kind, here.namespace, name))]
    if not found:
        raise CommandError(
            f"cannot move {words}: there is no such set in namespace {here.namespace}; name another with -n"
        )
    if len(found) > 1:
        raise CommandError(
            f"cannot move {words}: there is a PetSet and a StatefulSet of that name; say statefulset/{name}"
        )
    return found[0]


async def _move(args: argparse.Namespace, here: Reached, set_: Object, there: Reached) -> Move | None:
    """The move that is under way, or a new one; None: it is over. Raises CommandError."""
    name, to = meta.name(set_), f"{there.context or INSTANCE}, namespace {there.namespace}"
    try:
        begun = record.of(set_)
    except ValueError as error:
        raise CommandError(f"cannot move {name}: {error}; remove it, if no move is under way") from None
    if begun is not None:
        if begun.to != to or args.kind not in (None, begun.kind):
            raise CommandError(f"cannot move {name}: it is on its way to {begun.to} as a {begun.kind}; go on with that")
        return begun
    if meta.is_deleting(set_):
        raise CommandError(
            f"cannot move {name}: it is being deleted; wait until it is gone, and move what comes after it"
        )
    if record.is_tombstone(set_):
        where = meta.annotations(set_)[well_known.MOVED_TO_ANNOTATION]
        if where == to:
            return None
        raise CommandError(f"cannot move {name}: it was moved already, to {where}; look there")
    start, replicas = making.ordinals(set_)
    when_scaled = meta.get(set_, *making.RETENTION, default=making.RETAIN)
    kind = args.kind or await _kind_there(there, name) or set_["kind"]
    return Move(f"{tasks.rng().getrandbits(64):016x}", to, kind, replicas, start, when_scaled, args.at_once)


async def _kind_there(there: Reached, name: str) -> str | None:
    """Of the tombstone that the set has left there, where it is on its way back."""
    for word, kind in record.KINDS.items():
        one = await acting.found(there.client, kind, there.namespace, name)
        if one is not None and record.is_tombstone(one):
            return word
    return None


async def _check(move: Move, set_: Object, there: Reached) -> None:
    """What a person has to do first. Raises CommandError."""
    name, kind = meta.name(set_), move.resource
    try:
        await there.client.raw(f"/apis/{kind.group}/{kind.version}")
    except errors.ApiError as error:
        if error.code != 404:
            raise
        raise CommandError(
            f"cannot move {name}: {there.context or INSTANCE} has no {kind.kind}s; "
            "install petset there (docs: From one machine to a cluster), or move it --as StatefulSet"
        ) from None
    if await acting.found(there.client, NAMESPACES, "", there.namespace) is None:
        mend = f"kubectl --context {there.context} create namespace {there.namespace}"
        raise CommandError(f"cannot move {name}: there is no namespace {there.namespace} there; `{mend}` makes it")
    wanted = making.referred_to(set_)
    lacking = [
        f"{kind.singular}/{one}"
        for kind in REFERRED_TO
        for one in sorted(wanted[kind.kind])
        if await acting.found(there.client, kind, there.namespace, one) is None
    ]
    if lacking:
        what = ", ".join(lacking)
        raise CommandError(
            f"cannot move {name}: its pets need {what}, which namespace {there.namespace} there lacks; copy them"
        )


async def _wishes(args: argparse.Namespace, there: Reached, name: str) -> making.Wishes:
    classes, _ = await there.client.list(STORAGECLASSES)
    names = tuple(map(meta.name, classes))
    if args.storage_class and args.storage_class not in names:
        raise CommandError(f"cannot move {name}: there is no class {args.storage_class} there; see `kubectl get sc`")
    try:
        images = translation.images_of(args.image_map)
    except ValueError as error:
        raise CommandError(str(error)) from None
    return making.Wishes(there.namespace, tasks.new_uid(), args.storage_class, names, images)


async def _foretell(move: Move, wishes: making.Wishes, here: acting.Ground, there: acting.Ground) -> int:
    sides = await asyncio.gather(here.look(), there.look())
    try:
        steps = list(foreseeing.foreseen(move, wishes, *sides))
    except deciding.CANNOT as error:
        raise CommandError(f"cannot move {here.name}: {error}") from None
    for number, step in enumerate(steps, 1):
        print(f"{number:3}  {step.why}")
    return 0
