"""`petset up`: the cluster in the foreground, or with -d in the background.

In the background the same command runs again in a session of its own, logs into the state directory, and hands its
announcements, or the one line that says why it cannot start, back through a pipe: the caller prints them and returns
once the node is ready. Where the cluster runs already, that is all that was asked for.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import ipaddress
import os
import subprocess
import sys
from typing import Any

from petset.base import reasons, state
from petset.cli.failures import CommandError
from petset.cli.given import auditing, scheduling
from petset.cli.showing import progress

NODE_READY = "node"
STARTING = "start the cluster"
PORT_MAX = 65535
SILENCE_SECONDS_MIN, SILENCE_SECONDS_MAX = 12, 3600


def switch(text: str) -> bool:
    """true/false as Kubernetes flags spell it, and on/off."""
    if text.lower() in ("true", "1", "t", "on", "yes"):
        return True
    if text.lower() in ("false", "0", "f", "off", "no"):
        return False
    raise argparse.ArgumentTypeError(f"{text!r} is neither true nor false")


def processes(text: str) -> int:
    """As many as a container may have; -1 for any number."""
    number = int(text)
    if number < 1 and number != -1:
        raise argparse.ArgumentTypeError(f"{text} is neither -1 nor a number from 1 on")
    return number


def percent(text: str) -> int:
    """0 to 100."""
    number = int(text)
    if not 0 <= number <= 100:
        raise argparse.ArgumentTypeError(f"{text} is no percentage from 0 to 100")
    return number


def networks(text: str) -> str:
    """Networks of IPv4, joined by commas."""
    for one in text.split(","):
        try:
            ipaddress.IPv4Network(one)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{one!r} is no network of IPv4, like 127.0.0.0/8") from None
    return text


def directory(path: str) -> str:
    """One that is there, by its whole name."""
    if not os.path.isdir(path):
        raise argparse.ArgumentTypeError(f"{path} is no directory")
    return os.path.abspath(path)


def unsafe_sysctls(text: str) -> str:
    """Names of a pod's own sysctls, joined by commas; a `*` at the end stands for whatever comes there."""
    for one in text.split(","):
        if not one.startswith(("net.", "kernel.shm", "kernel.msg", "kernel.sem", "fs.mqueue.")):
            raise argparse.ArgumentTypeError(f"{one!r} is no sysctl that a pod has of its own, like net.core.somaxconn")
    return text


def thresholds(text: str) -> str:
    """As a kubelet reads them."""
    return _read("read_thresholds", text)


def threshold_periods(text: str) -> str:
    return _read("read_periods", text)


def reclaims(text: str) -> str:
    return _read("read_reclaims", text)


def transition_period(text: str) -> str:
    return _read("read_transition", text)


def _read(how: str, text: str) -> str:
    from petset.node import thresholds

    try:
        getattr(thresholds, how)(text)
    except thresholds.ThresholdError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return text


def pod_grace(text: str) -> int:
    """Seconds that an evicted pod gets at most."""
    number = int(text)
    if not 0 <= number <= 86400:
        raise argparse.ArgumentTypeError(f"{text} are no seconds from 0 to 86400")
    return number


# The node's limits, by their names in a kubelet: (flag, of cluster.Limits, what reads it, metavar, help).
LIMITS = (
    ("--pod-pids-limit", "pod_pids_limit", processes, "N", "processes a container may have (default 1024; -1: any)"),
    (
        "--image-gc-high-threshold",
        "image_gc_high_threshold",
        percent,
        "PERCENT",
        "used part of the images' disk over which images that nobody uses are removed (default 85; 100: never)",
    ),
    (
        "--image-gc-low-threshold",
        "image_gc_low_threshold",
        percent,
        "PERCENT",
        "used part of the images' disk down to which they are removed (default 80)",
    ),
    (
        "--eviction-hard",
        "eviction_hard",
        thresholds,
        "SIGNAL<LIMIT,...",
        "evict pods at once below these, like memory.available<100Mi,nodefs.available<2Gi (default: the former, and "
        "very full disks); remembered, as are the five that follow; empty: as usual again",
    ),
    (
        "--eviction-soft",
        "eviction_soft",
        thresholds,
        "SIGNAL<LIMIT,...",
        "evict pods below these once their time in --eviction-soft-grace-period is over (default: none)",
    ),
    (
        "--eviction-soft-grace-period",
        "eviction_soft_grace_period",
        threshold_periods,
        "SIGNAL=TIME,...",
        "how long each soft threshold must be crossed, like memory.available=1m30s",
    ),
    (
        "--eviction-max-pod-grace-period",
        "eviction_max_pod_grace_period",
        pod_grace,
        "SECONDS",
        "the most that a pod gets to stop which a soft threshold evicts (default 0)",
    ),
    (
        "--eviction-minimum-reclaim",
        "eviction_minimum_reclaim",
        reclaims,
        "SIGNAL=AMOUNT,...",
        "how much more than a threshold there must be once pods are evicted for it, like nodefs.available=2Gi",
    ),
    (
        "--eviction-pressure-transition-period",
        "eviction_pressure_transition_period",
        transition_period,
        "TIME",
        "how long a node must not have been low before it says so no more (default 30s)",
    ),
    (
        "--manifests",
        "manifests",
        directory,
        "DIR",
        "run the pods of the manifests in this directory as static pods, and follow what changes there",
    ),
    (
        "--allowed-unsafe-sysctls",
        "allowed_unsafe_sysctls",
        unsafe_sysctls,
        "NAME,...",
        "sysctls that pods may set beside the safe ones (net.core.*, kernel.msgmax; default: none)",
    ),
    (
        "--node-port-addresses",
        "node_port_addresses",
        networks,
        "CIDR,...",
        "networks of those of this machine's addresses that have the ports of Services of type NodePort (default: all)",
    ),
)


FILES = (*auditing.AUDIT, scheduling.CONFIG)


def _limits_given(args: argparse.Namespace) -> dict[str, Any]:
    given = {name: getattr(args, name, None) for _, name, *_ in LIMITS}
    return {name: value for name, value in given.items() if value is not None}


def nodes(text: str) -> int:
    """How many nodes."""
    from petset.base.networks import NODES_MAX

    return _amount(text, 1, NODES_MAX)


def simulated_nodes(text: str) -> int:
    from petset.base.networks import SIMULATED_NODES_MAX

    return _amount(text, 0, SIMULATED_NODES_MAX)


def _amount(text: str, least: int, most: int) -> int:
    if text.isascii() and text.isdecimal() and least <= int(text) <= most:
        return int(text)
    raise argparse.ArgumentTypeError(f"{text!r} is no number of nodes from {least} to {most}")


def silence(text: str) -> float:
    """Seconds, with or without an s; longer than nodes take from one word to the next."""
    with contextlib.suppress(ValueError):
        if SILENCE_SECONDS_MIN <= (seconds := float(text.removesuffix("s"))) <= SILENCE_SECONDS_MAX:
            return seconds
    raise argparse.ArgumentTypeError(
        f"{text!r} are no seconds from {SILENCE_SECONDS_MIN} to {SILENCE_SECONDS_MAX}: nodes speak every 10"
    )


def runtime_config(text: str) -> tuple[str, ...]:
    """The group versions that a kube-apiserver's flag of this name turns off, among those that may be missing here."""
    from petset import up

    off: list[str] = []
    for one in filter(None, text.split(",")):
        name, _, value = one.partition("=")
        if name not in up.OPTIONAL_GROUP_VERSIONS:
            raise argparse.ArgumentTypeError(
                f"{name!r} cannot be turned on or off; {' and '.join(up.OPTIONAL_GROUP_VERSIONS)} can"
            )
        if not switch(value or "true"):
            off.append(name)
    return tuple(off)


def port(text: str) -> int:
    if text.isascii() and text.isdecimal() and int(text) <= PORT_MAX:
        return int(text)
    raise argparse.ArgumentTypeError(f"{text!r} is no port: a number from 1 to {PORT_MAX}")


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "-d", "--detach", action="store_true", help="run in the background; returns when the node is ready"
    )
    parser.add_argument(
        "--enable-hostpath-provisioner",
        type=switch,
        default=True,
        metavar="BOOL",
        help="provision volumes for claims from the state directory (default true)",
    )
    parser.add_argument(
        "--stand-ins",
        type=switch,
        default=True,
        metavar="on|off",
        help="use the locally built images that stand in for those of 2016 (default on)",
    )
    parser.add_argument(
        "--seccomp-default",
        nargs="?",
        type=switch,
        const=True,
        default=False,
        metavar="BOOL",
        help="containers that name no seccomp profile get RuntimeDefault instead of none",
    )
    parser.add_argument(
        "--simulate",
        action="store_true",
        help="run no containers: pods get ready at once in the API alone (needs no root)",
    )
    parser.add_argument(
        "--nodes",
        type=nodes,
        default=0,
        metavar="N",
        help="nodes with a network, cgroup and directory each (default: as many as it had, 1 at first)",
    )
    parser.add_argument(
        "--simulated-nodes",
        type=simulated_nodes,
        default=0,
        metavar="N",
        help="so many more nodes whose pods run nothing; beside real nodes only for pods that tolerate it",
    )
    parser.add_argument(
        "--node-monitor-grace-period",
        type=silence,
        default=0.0,
        metavar="SECONDS",
        help="how long a node may be silent until it is taken for dead (default 40s; 12s at least)",
    )
    parser.add_argument(
        "--accept-older",
        action="store_true",
        help="begin although the last writes are missing from the state file, which is kept beside the new one",
    )
    parser.add_argument(
        "--runtime-config",
        type=runtime_config,
        default=(),
        metavar="GROUP/VERSION=BOOL,...",
        help="apps/v1alpha1=false: no PetSets of this cluster's own, so that an APIService can name who serves them",
    )
    parser.add_argument(
        "--log-requests",
        action="store_true",
        help="a line in the log for each request: who asked for what, code, milliseconds, bytes (slow ones always)",
    )
    parser.add_argument(
        "--api-port", type=port, default=0, metavar="PORT", help="the API's port (default: chosen once)"
    )
    parser.add_argument(
        "--write-kubeconfig",
        action="store_true",
        help="add its context to your kubeconfig, as `petset kubeconfig --write` does",
    )
    for flag, name, reads, metavar, text in (*LIMITS, *FILES):
        parser.add_argument(flag, dest=name, type=reads, default=None, metavar=metavar, help=text)
    parser.add_argument("--announce-fd", type=int, default=None, help=argparse.SUPPRESS)
    parser.add_argument("--api-fd", type=int, default=-1, help=argparse.SUPPRESS)


def run(args: argparse.Namespace) -> int:
    if args.detach:
        return _detached(args)
    if os.geteuid() != 0 and not args.simulate:
        return _as_root_of_its_own(args)
    gc.disable()  # Until the node is ready: what a start makes is there to stay, modules most of all.
    from petset import cluster, up

    in_background = args.announce_fd is not None
    out = os.fdopen(args.announce_fd, "w") if in_background else sys.stdout

    def announce(line: str) -> None:
        with contextlib.suppress(BrokenPipeError):  # Whoever started us has its answer already.
            print(line, file=out, flush=True)

    options = up.Options(
        audit=auditing.settings(args),
        scheduler_profiles=scheduling.profiles(args),
        state=args.instance,
        hostpath_provisioner=args.enable_hostpath_provisioner,
        limits=cluster.Limits(args.stand_ins, args.seccomp_default, **_limits_given(args)),
        simulated=args.simulate,
        nodes=args.nodes,
        simulated_nodes=args.simulated_nodes,
        node_silence_seconds=args.node_monitor_grace_period,
        api_port=args.api_port,
        api_descriptor=args.api_fd,
        accept_older=args.accept_older,
        group_versions_off=args.runtime_config,
        log_requests=args.log_requests,
        in_background=in_background,
    )
    try:
        up.run(options, announce)
    except Exception as error:
        if not in_background:
            raise
        announce(reasons.reason(error, STARTING))
        return 1
    return 0


def _as_root_of_its_own(args: argparse.Namespace) -> int:
    """Who is not root goes on in namespaces where he is; what listens for the host is made before."""
    from petset import rootless, up

    def tell(line: str) -> None:
        if args.announce_fd is None:
            print(line, flush=True)
        else:
            os.write(args.announce_fd, f"{line}\n".encode())

    try:
        args.instance.create()
        listening = up.api_socket(args.instance, args.api_port)
        listening.set_inheritable(True)
        rootless.enter(args.instance, [*sys.argv[1:], f"--api-fd={listening.fileno()}"], tell)
    except Exception as error:
        if args.announce_fd is None:
            raise
        tell(reasons.reason(error, STARTING))
        return 1


def options(instance: state.State, *words: str) -> argparse.Namespace:
    """What `petset up WORDS` is given, for who starts a cluster for something else."""
    parser = argparse.ArgumentParser()
    arguments(parser)
    given = parser.parse_args(words)
    given.instance = instance
    return given


def start(args: argparse.Namespace) -> list[str]:
    """Start the cluster in the background; the announced lines. Raises CommandError with its reason when it fails."""
    instance = args.instance
    auditing.settings(args)  # What is wrong with it is said at once.
    scheduling.profiles(args)
    instance.create()
    reading, writing = os.pipe()
    command = [
        sys.executable,
        "-m",
        "petset",
        "--state",
        str(instance.directory),
        "up",
        f"--enable-hostpath-provisioner={'true' if args.enable_hostpath_provisioner else 'false'}",
        f"--stand-ins={'on' if args.stand_ins else 'off'}",
        f"--seccomp-default={'true' if args.seccomp_default else 'false'}",
        f"--api-port={args.api_port}",
        *(("--simulate",) if args.simulate else ()),
        *((f"--nodes={args.nodes}",) if args.nodes else ()),
        *((f"--node-monitor-grace-period={after}",) if (after := args.node_monitor_grace_period) else ()),
        *((f"--simulated-nodes={args.simulated_nodes}",) if args.simulated_nodes else ()),
        *(f"--{name.replace('_', '-')}={value}" for name, value in _limits_given(args).items()),
        *(f"{flag}={value}" for flag, name, *_ in FILES if (value := getattr(args, name, None)) is not None),
        *(("--accept-older",) if args.accept_older else ()),
        *(
            (f"--runtime-config={','.join(f'{one}=false' for one in args.runtime_config)}",)
            if args.runtime_config
            else ()
        ),
        *(("--log-requests",) if args.log_requests else ()),
        f"--announce-fd={writing}",
    ]
    with open(instance.log, "ab") as log:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            pass_fds=(writing,),
            start_new_session=True,
            cwd="/",
        )
    os.close(writing)
    lines: list[str] = []
    with os.fdopen(reading) as announcements, progress.working("starting the cluster") as tell:
        for announced in announcements:
            line = announced.rstrip("\n")
            tell(line)
            if line.startswith(reasons.SENTENCE):
                process.wait()
                raise CommandError(f"{line} (more: {instance.log})")
            lines.append(line)
            if line.startswith(NODE_READY):
                return lines
    code = process.wait()
    how = f"signal {-code} has ended it" if code < 0 else f"it has ended with exit code {code}"
    raise CommandError(f"cannot {STARTING}: {how} before its node was ready; see {instance.log}")


def _detached(args: argparse.Namespace) -> int:
    instance = args.instance
    if (process := instance.running_process()) is not None:
        from petset.cli.asking import connection

        connection.wait_until_ready(instance)
        print(f"petset runs already in {instance.directory} (process {process}), as it was started")
    else:
        for line in start(args):
            print(line)
    if args.write_kubeconfig:
        from petset.cli import kubeconfig

        print(kubeconfig.write(instance, None))
    return 0
