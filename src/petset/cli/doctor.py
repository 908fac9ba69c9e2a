"""`petset doctor`: looks at this machine and says what is good, what is worth knowing, and what has to be mended.

Exit code 0 when containers can run as they should, 3 when something has to be mended. It changes nothing.
"""

from __future__ import annotations

import argparse
import dataclasses

from petset.cli import exit_codes
from petset.cli.machine import findings, looking
from petset.cli.showing import printing


def arguments(parser: argparse.ArgumentParser) -> None:
    printing.arguments(parser)


def run(args: argparse.Namespace) -> int:
    found = findings.findings(looking.look(args.instance))
    worst = findings.worst(found)
    if args.output != "table":
        printing.tree(args.output, {"state": worst, "findings": [dataclasses.asdict(one) for one in found]})
    else:
        for one in found:
            print(f"{one.state:<5}{one.area:<13}{one.found}")
            if one.to_do:
                print(f"{'':<18}-> {one.to_do}")
        print(SUMMARY[worst])
    return exit_codes.NOT_SO if worst == findings.FAIL else exit_codes.DONE


SUMMARY = {
    findings.OK: "all is well",
    findings.WARN: "petset can run here; look at what is marked warn",
    findings.FAIL: "something has to be mended: look at what is marked fail",
}
