"""`petset open`: a link to the dashboard that signs one browser in, opened there or printed."""

from __future__ import annotations

import argparse
import os
import sys

from petset.base.state import State
from petset.cli.asking import connection

DISPLAYS = ("DISPLAY", "WAYLAND_DISPLAY")


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--print", action="store_true", dest="only_print", help="print the link and open nothing")


def run(args: argparse.Namespace) -> int:
    instance: State = args.instance
    answer = connection.asked(instance, {"open": True}, "open the dashboard")
    link = f"{answer['address']}/dashboard/#open={answer['link']}"
    if args.only_print:
        print(link)
        return 0
    print(f"dashboard: {link}")
    print("The link signs in one browser, once, within two minutes.", file=sys.stderr)
    print(f"The browser may ask about the certificate: its authority is {instance.keys / 'ca.crt'}.", file=sys.stderr)
    if os.geteuid() == 0 or not any(map(os.environ.get, DISPLAYS)):
        return 0  # A browser of root's, or one without a screen, is not what anybody wants.
    import webbrowser

    if not webbrowser.open(link):
        print("petset: cannot open a browser: there is none; open the link in one of your own", file=sys.stderr)
        return 1
    return 0
