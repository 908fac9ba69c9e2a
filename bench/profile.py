"""`make profile`: where the time goes. A pet's start, event by event; and what petset computes while many pods come.

The first part follows three ordered redis pets by a watch: between which two things that the API shows how much time
passes (milliseconds, the mean of all pets). The second samples the stacks of `petset up --simulate` (py-spy) while
PETSET_PROFILE_PODS pods of one set become Ready: shares of the time in which it computes, by function, and all stacks
in .profile/stacks.txt (folded, as flame graphs are made from).
"""

from __future__ import annotations

import asyncio
import collections
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

from bench import instance, pets, scale
from petset.cli.asking import connection
from petset.kinds.pod import PODS
from petset.objects import meta
from petset.objects.meta import Object

PODS_MANY = int(os.environ.get("PETSET_PROFILE_PODS", "500"))
STACKS = Path(__file__).resolve().parents[1] / ".profile" / "stacks.txt"
SHOWN_MAX = 30
SAMPLES_A_SECOND = 200

# What the API shows of a pod, in the order in which it comes.
EVENTS = (
    "exists",
    "has a node",
    "has an address (sandbox)",
    "init containers have ended",
    "its container runs",
    "is Ready",
)


def main() -> None:
    print("== a pet's start, ms (mean of three ordered redis pets)")
    _print_start()
    print(f"== what petset computes while {PODS_MANY} simulated pods become Ready and go")
    _print_shares()


def _print_start() -> None:
    objects = pets.redis_objects()
    template = next(obj for obj in objects if obj["kind"] == "PetSet")["spec"]["template"]
    asyncio.run(pets.redis_images(template))
    with instance.running() as one:
        seen = asyncio.run(_followed(one, objects))
    last = "the one before is Ready"
    for event in EVENTS:
        spent = [times[event] - times[last] for times in seen if last in times]
        print(f"  {last:28} to {event:28} {sum(spent) / max(1, len(spent)) * 1e3:7.1f}")
        last = event
    whole = max(times["is Ready"] for times in seen) - min(times["the one before is Ready"] for times in seen)
    print(f"  {'all three, from apply':60} {whole * 1e3:7.1f}")


async def _followed(one: instance.Instance, objects: list[Object]) -> list[dict[str, float]]:
    """When each event was first seen, a pet each."""
    seen: dict[str, dict[str, float]] = {}
    async with asyncio.timeout(pets.READY_SECONDS_MAX), connection.connect(one.state) as connected:
        client = connected.client
        last_ready = time.monotonic()
        for obj in objects:
            await client.create(meta.changed(obj, ("metadata", "namespace"), "default"))
        async for _, pod in client.watch(PODS, "default", since="0"):
            now = time.monotonic()
            times = seen.setdefault(meta.name(pod), {"the one before is Ready": last_ready})
            for event in _events(pod):
                if event not in times:
                    times[event] = last_ready = now
            if sum("is Ready" in each for each in seen.values()) == pets.PETS:
                return list(seen.values())
    raise RuntimeError("the watch ended before the pets were ready")


def _events(pod: Object) -> list[str]:
    statuses = meta.get(pod, "status", "containerStatuses", default=())
    held = {
        "exists": True,
        "has a node": bool(pod["spec"].get("nodeName")),
        "has an address (sandbox)": bool(meta.get(pod, "status", "podIP")),
        "init containers have ended": meta.is_condition_true(pod, "Initialized"),
        "its container runs": any("running" in (status.get("state") or {}) for status in statuses),
        "is Ready": meta.is_pod_ready(pod),
    }
    return [event for event in EVENTS if held[event]]


def _print_shares() -> None:
    STACKS.parent.mkdir(exist_ok=True)
    with instance.running(None, "--simulate") as one:
        sampler = subprocess.Popen(
            [
                *(Path(sys.executable).with_name("py-spy").as_posix(), "record", "--pid", str(one.process.pid)),
                *("--rate", str(SAMPLES_A_SECOND), "--duration", "3600", "--format", "raw", "--output", str(STACKS)),
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            found = asyncio.run(scale.measured(one, PODS_MANY, rest_seconds=0.0))
        finally:
            sampler.send_signal(signal.SIGINT)
            sampler.wait(timeout=60)
    print(f"  all Ready after {found.ready:.2f} s ({found.ready_cpu:.2f} CPU), all gone after {found.gone:.2f} s")
    own, cumulative = _shares(STACKS.read_text().splitlines())
    for title, shares in (("in it and what it calls", cumulative), ("in it alone", own)):
        print(f"  share  {title}")
        for name, share in shares[:SHOWN_MAX]:
            print(f"  {share:5.1%}  {name}")


def _shares(lines: list[str]) -> tuple[list[tuple[str, float]], list[tuple[str, float]]]:
    """(by function alone, with what it calls) of the samples in which petset's own code was at work."""
    own: collections.Counter[str] = collections.Counter()
    cumulative: collections.Counter[str] = collections.Counter()
    total = 0
    for line in lines:
        stack, _, count = line.rpartition(" ")
        frames = [re.sub(r":\d+\)$", ")", frame) for frame in stack.split(";")]
        if frames[-1].startswith(("_worker (", "select (", "wait (")):
            continue  # A thread that waits.
        total += int(count)
        own[frames[-1]] += int(count)
        cumulative.update(dict.fromkeys(frames, int(count)))

    def shares(counter: collections.Counter[str]) -> list[tuple[str, float]]:
        return [(name, count / max(1, total)) for name, count in counter.most_common()]

    return shares(own), shares(cumulative)


if __name__ == "__main__":
    main()
