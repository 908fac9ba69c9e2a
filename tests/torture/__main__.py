"""`make torture`: petset is tortured for as long as one likes; a table of figures, and exit code 1 when anything broke.

    make torture KILLS=1000 SECONDS=600 SEED=7

Each loop has its own count. SECONDS goes on with more of each, other seeds every time, until they are over. What broke
is told with what reproduces it, and histories that broke a law are kept.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from tests.torture import checker, churn, fuzz, heavy, instance, kills, laws, requests, swaps
from tests.torture.history import History
from tests.worlds.schedules import explore

TOLD_MAX = 20
Row = tuple[str, str, str]  # The loop, how much of it, what it came to.


@dataclass
class Report:
    rows: list[Row] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    def add(self, loop: str, amount: str, figures: str, wrong: list[str]) -> None:
        self.rows.append((loop, amount, f"{figures}; {len(wrong)} wrong"))
        self.wrong += [f"{loop}: {each}" for each in wrong]
        print(f"{loop:10} {amount:24} {figures}; {len(wrong)} wrong", flush=True)

    def told(self) -> str:
        widths = [max(len(row[column]) for row in self.rows) for column in range(2)]
        lines = [f"{loop:{widths[0]}}  {amount:{widths[1]}}  {figures}" for loop, amount, figures in self.rows]
        return "\n".join([*lines, "", *(self.wrong[:TOLD_MAX] or ["nothing is lost, nothing is wrong"])])


def told(args: argparse.Namespace) -> Callable[[str], None]:
    """Where lines go that say how far it has come."""
    return (lambda line: None) if args.quiet else (lambda line: print(line, flush=True))


def keep_log(made: instance.Instance, path: Path, wrong: list[str]) -> None:
    if wrong:
        made.keep_log(path)
        wrong.append(f"all that petset said is in {path}")


def kill_loop(report: Report, args: argparse.Namespace, seed: int) -> None:
    with instance.made() as made:
        figures = asyncio.run(kills.run(made, args.kills, seed, args.keep, told(args)))
        done = figures.outcomes
        others = ", ".join(f"{count} {what.replace('_', ' ')}" for what, count in figures.mishaps.most_common())
        said = (
            f"{others}; {done['done']} operations acknowledged, {done['unknown']} never answered, "
            f"{sum(done.values()) - done['done'] - done['unknown']} refused; {figures.streams} watches told "
            f"{figures.events} events; longest start {made.longest_start_seconds:.1f} s"
        )
        if not made.has_own_disk:
            said += "; no disk of its own to fill (not root)"
    killed = sum(figures.mishaps[what] for what in ("killed", "killed_while_starting", "killed on a full disk"))
    report.add("kill", f"{killed + figures.mishaps['killed_while_starting']} kill -9", said, figures.wrong)


def fuzz_loop(report: Report, args: argparse.Namespace, seed: int) -> None:
    with instance.made() as made:
        figures = asyncio.run(fuzz.run(made, args.fuzz, seed, told(args)))
        keep_log(made, args.keep / f"fuzz-{seed}.log", figures.wrong)
    classes = ", ".join(
        f"{sum(count for code, count in figures.codes.items() if code // 100 == family)} {family}xx"
        for family in (2, 4, 5)
    )
    said = f"{classes}; at most {figures.longest_lag_seconds * 1000:.0f} ms of work before /livez was answered"
    if figures.wrong:
        said += "; slowest " + ", ".join(f"{name} {seconds:.1f} s" for seconds, name in figures.slowest)
    report.add("fuzz", f"{figures.requests} requests", said, figures.wrong)


def heavy_loop(report: Report, args: argparse.Namespace, seed: int) -> None:
    with instance.made() as made:
        figures = asyncio.run(heavy.run(made, args.heavy))
        keep_log(made, args.keep / f"heavy-{seed}.log", figures.wrong)
    if not args.quiet:
        for name, took, waited in figures.rows:
            print(f"  {name:40} {took * 1000:6.0f} ms; another client waited at most {waited * 1000:4.0f} ms")
    name, _, waited = figures.worst
    told = f"{figures.asked} other requests, of which one waited for {waited * 1000:.0f} ms ({name})"
    report.add("heavy", f"{figures.requests} requests", told, figures.wrong)


def path_loop(report: Report, args: argparse.Namespace, seed: int) -> None:
    with tempfile.TemporaryDirectory(prefix="petset-torture-", dir="/tmp") as directory:
        figures = swaps.run(Path(directory), args.paths, seed)
    said = ", ".join(f"{count} {outcome}" for outcome, count in figures.outcomes.most_common())
    report.add("paths", f"{figures.attempts} attempts", said, figures.wrong)


def churn_loop(report: Report, args: argparse.Namespace, seed: int) -> None:
    with instance.made() as made:
        figures = asyncio.run(churn.run(made, args.churn))
        keep_log(made, args.keep / f"churn-{seed}.log", figures.wrong)
    said = f"{figures.bytes_first >> 20} MiB after the first wave, {figures.bytes_last >> 20} after the last"
    report.add("churn", f"{figures.objects} objects", said, figures.wrong)


def law_loop(report: Report, args: argparse.Namespace, seed: int) -> None:
    wrong: list[str] = []
    for own in (seed * 1000 + number for number in range(args.laws)):
        done = laws.run(own, quiet=True)
        if done.returncode:
            wrong.append(f"make test-fresh SEED={own}: {done.stdout[-20_000:]}")
    report.add("laws", f"{args.laws} times each", f"seeds {seed * 1000} to {seed * 1000 + args.laws - 1}", wrong)


def schedule_loop(report: Report, args: argparse.Namespace, seed: int) -> None:
    figures = explore.run(args.schedules, seed, args.processes)
    said = f"{figures.different} different; {figures.seconds / max(1, figures.schedules) * 1000:.2f} ms each"
    report.add("schedules", f"{figures.schedules} schedules", said, figures.wrong)


LOOPS = {
    "kills": kill_loop,
    "fuzz": fuzz_loop,
    "heavy": heavy_loop,
    "paths": path_loop,
    "churn": churn_loop,
    "laws": law_loop,
    "schedules": schedule_loop,
}


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make torture", description="Torture petset and tell what it came to.")
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--fuzz", type=int, default=10_000)
    parser.add_argument("--heavy", type=int, default=1, help="times the table of the heaviest requests")
    parser.add_argument("--paths", type=int, default=20_000)
    parser.add_argument("--churn", type=int, default=2_000)
    parser.add_argument(
        "--laws", type=int, default=1, help="times the laws of the tests, with other examples each time"
    )
    parser.add_argument("--schedules", type=int, default=20_000)
    parser.add_argument("--processes", type=int, default=1, help="for the schedules")
    parser.add_argument("--seconds", type=float, default=0.0, help="go on with further seeds until they are over")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep", type=Path, default=Path(".petset-torture"), help="where broken histories are kept")
    parser.add_argument("--quiet", action="store_true", help="no line a round")
    parser.add_argument("--judge", type=Path, metavar="FILE", help="check a kept history again")
    parser.add_argument("--request", metavar="SEED", help="show one of the fuzzer's requests")
    return parser.parse_args()


def main() -> int:
    args = parsed()
    if args.judge:
        found = checker.check(History.load(args.judge))
        print("\n".join(f"{law}: {what}" for law, what in found))
        return 1 if found else 0
    if args.request:
        request = requests.request(args.request)
        print(request.method, request.target, *request.headers, request.body.decode(errors="replace"), sep="\n")
        return 0
    instance.enter_a_mount_namespace()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # What was started is ended, whoever ends us.
    report, began, seed = Report(), time.monotonic(), args.seed
    with contextlib.suppress(KeyboardInterrupt):
        while seed == args.seed or (time.monotonic() - began < args.seconds and not report.wrong):
            for name, loop in LOOPS.items():
                if getattr(args, name) > 0:
                    loop(report, args, seed)
            seed += 1
    print(f"\n{report.told()}")
    return 1 if report.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
