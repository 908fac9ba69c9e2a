"""`python -m tests.suites.conformance [GROUP...]`: Kubernetes' own specs of conformance, unchanged, against a petset.

The suite and the programs of its images are compiled from upstream's module, a registry on loopback serves the images,
and each group (a SIG's specs) runs against a petset of its own, with two nodes of real containers. What fails is held
against expected.yaml. `--only TEXT` runs the specs with this in their names and holds nothing against anything. What
was built, and what the specs and petset said, is in the cache (`logs`). The exit code is 1 when anything was not as
expected.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from functools import partial
from pathlib import Path

from tests.suites import clusters, expected, go_suites
from tests.suites.conformance import mirror, programs, specs
from tests.suites.sources import Cache, default_directory

EXPECTED = Path(__file__).with_name("expected.yaml")
GROUP_SECONDS = 7200


def main() -> int:
    parser = argparse.ArgumentParser(prog="tests.suites.conformance", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("groups", nargs="*", metavar="GROUP", help=", ".join(specs.GROUPS))
    parser.add_argument("--only", default="", metavar="TEXT", help="the specs with this in their names")
    parser.add_argument("--seconds", type=int, default=GROUP_SECONDS, help="how long a group may take")
    parser.add_argument("--processes", type=int, default=specs.PROCESSES_MAX, help="of the compiler and of the specs")
    args = parser.parse_args()
    unknown = set(args.groups) - set(specs.GROUPS)
    if unknown:
        parser.error(f"no such group: {', '.join(sorted(unknown))}; the groups are {', '.join(specs.GROUPS)}")
    without_go = go_suites.missing()
    if without_go:
        raise SystemExit(f"cannot build the suite: {without_go}; install it")
    cache = Cache(default_directory())
    folder, logs = cache.directory / "conformance", cache.directory / "logs"
    logs.mkdir(exist_ok=True)
    print("conformance: building", flush=True)
    built = programs.build(folder / "bin", args.processes)
    known = {} if args.only else expected.read(EXPECTED)
    passed = wrong = 0
    for group in [group for group in specs.GROUPS if not args.groups or group in args.groups]:
        print(f"{group}: running", flush=True)
        log = logs / f"{group}.log"
        images = partial(mirror.filled, built=built, work=folder)
        with clusters.own(log.with_suffix(".petset.log"), images, "--nodes", "2") as kubeconfig:
            began = time.monotonic()
            result = specs.run(built, kubeconfig, group, log, args.seconds, args.only, args.processes)
            took = time.monotonic() - began
        verdict = expected.tell(group, result.outcomes, known.get(group, {}), took)
        if not args.only:
            for why, specs_left_out in Counter(result.skipped.values()).most_common():
                print(f"  skipped: {specs_left_out} ({why})")
        passed += list(result.outcomes.values()).count(expected.PASSED)
        wrong += len(verdict.unexpected) + len(verdict.mended) + len(verdict.unknown)
    print(f"conformance of {built.version}: {passed} passed, {wrong} not as expected")
    return 0 if args.only or not wrong else 1


if __name__ == "__main__":
    sys.exit(main())
