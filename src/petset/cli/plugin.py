"""`kubectl petset ...`: the commands that any cluster can be asked, as a plugin of kubectl.

kubectl runs a program called kubectl-petset on PATH; the cluster is the one that kubectl itself would ask.
Follows: "Extend kubectl with plugins" of the Kubernetes documentation.
"""

from __future__ import annotations

import sys

from petset.cli import main as commands


def main() -> int:
    return commands.main(of_kubectl=True)


if __name__ == "__main__":
    sys.exit(main())
