"""`petset serve`: PetSets beside a cluster that is somewhere else, which hands their API on to this process.

Flags that a kube-apiserver has are named as there.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from petset.base import pki
from petset.cli import up
from petset.cli.failures import CommandError
from petset.objects import durations

SECONDS_MAX = 3600.0
CLUSTER = "cluster"


def seconds(text: str) -> float:
    """As Kubernetes' flags have a duration, like 15s."""
    found = durations.seconds_of(text)
    if found is None or not 0 <= found <= SECONDS_MAX:
        raise argparse.ArgumentTypeError(f"{text!r} is no duration from 0s to {SECONDS_MAX:g}s")
    return found


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--kubeconfig",
        metavar="FILE",
        help="the cluster, and as whom it is asked (default: that of the pod it runs in)",
    )
    parser.add_argument(
        "--store",
        default=CLUSTER,
        metavar="cluster|DIR",
        help="who keeps the PetSets: the cluster, for any number of replicas (default), or a file in this directory",
    )
    parser.add_argument(
        "--bind-address", default="0.0.0.0", metavar="ADDRESS", help="where to listen (default 0.0.0.0: everywhere)"
    )
    parser.add_argument(
        "--secure-port", type=up.port, default=8443, metavar="PORT", help="the port (default 8443; 0: a free one)"
    )
    parser.add_argument(
        "--tls-cert-file",
        metavar="FILE",
        help="the certificate to show, followed as it is renewed (default: one of an authority of its own)",
    )
    parser.add_argument("--tls-private-key-file", metavar="FILE", help="its key")
    parser.add_argument(
        "--cert-dir", metavar="DIR", help="where that authority is (default: pki in the directory of --store)"
    )
    parser.add_argument(
        "--serving-secret",
        default="",
        metavar="NAME",
        help="make that authority and certificate together with all replicas: keep them in this Secret of the "
        "namespace, renew them, and tell the APIService whom to believe",
    )
    parser.add_argument(
        "--namespace",
        default="petset-system",
        metavar="NAME",
        help="its namespace: of its Service, Lease and what the cluster keeps for it (petset-system)",
    )
    parser.add_argument(
        "--service", default="petset", metavar="NAME", help="its Service, which its own certificate names (petset)"
    )
    parser.add_argument(
        "--leader-elect",
        type=up.switch,
        default=True,
        metavar="BOOL",
        help="have a Lease elect which of several replicas acts on PetSets (default true; false: this one)",
    )
    parser.add_argument(
        "--controllers",
        type=up.switch,
        default=True,
        metavar="BOOL",
        help="whether it acts on PetSets at all, or serves their API alone (default true)",
    )
    parser.add_argument("--replica-name", default="", metavar="NAME", help="its name, for people (default: the host's)")
    parser.add_argument(
        "--image-map",
        action="append",
        default=[],
        metavar="FROM=TO",
        help="what an image is called there, or all whose names begin so where both end with a slash; may be repeated",
    )
    parser.add_argument(
        "--image-registry",
        default="",
        metavar="REGISTRY",
        help="where `petset image push` has put the stand-ins of 2016's images; what --image-map says comes first",
    )
    parser.add_argument(
        "--shutdown-delay-duration",
        type=seconds,
        default=0.0,
        metavar="TIME",
        help="how long it still answers, while it is not ready any more, once it is told to stop (default 0s)",
    )
    parser.add_argument(
        "--log-requests",
        action="store_true",
        help="a line in the log for each request: who asked for what, code, milliseconds, bytes (slow ones always)",
    )


def run(args: argparse.Namespace) -> int:
    from petset import serve

    if bool(args.tls_cert_file) != bool(args.tls_private_key_file):
        raise CommandError(
            "cannot serve: --tls-cert-file and --tls-private-key-file go together; give both, or neither"
        )
    if args.serving_secret and args.tls_cert_file:
        raise CommandError("cannot serve: --serving-secret and --tls-cert-file are two certificates; give one of them")
    tls = pki.Issued(Path(args.tls_cert_file), Path(args.tls_private_key_file)) if args.tls_cert_file else None
    images = image_map(args)
    options = serve.Options(
        store=None if args.store == CLUSTER else Path(args.store),
        kubeconfig=Path(args.kubeconfig) if args.kubeconfig else None,
        address=args.bind_address,
        port=args.secure_port,
        tls=tls,
        service=args.service,
        namespace=args.namespace,
        keys=Path(args.cert_dir) if args.cert_dir else None,
        serving_secret=args.serving_secret,
        elects=args.leader_elect,
        acts=args.controllers,
        image_map=images,
        **({"replica": args.replica_name} if args.replica_name else {}),
        shutdown_delay_seconds=args.shutdown_delay_duration,
        log_requests=args.log_requests,
    )
    try:
        serve.run(options, lambda line: print(line, flush=True))
    except serve.ServeError as error:
        raise CommandError(str(error)) from None
    return 0


def image_map(args: argparse.Namespace) -> tuple[str, ...]:
    """What images are called in the cluster: FROM=TO each, the user's own first. Raises CommandError."""
    from petset.controllers.pets.translation import images_of
    from petset.node.images import pushing, recipes
    from petset.node.runtime import ImageError

    found: list[str] = list(args.image_map)
    try:
        if args.image_registry:
            found += pushing.image_map(args.image_registry, recipes.Recipes(recipes.default_folder()).stand_ins)
        images_of(found)
    except ImageError as error:
        raise CommandError(error.message) from None
    except ValueError as error:
        raise CommandError(str(error)) from None
    return tuple(found)
