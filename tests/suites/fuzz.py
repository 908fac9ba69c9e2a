"""`python -m tests.suites.fuzz [GROUP...]`: requests made up from the OpenAPI documents that the server itself serves.

schemathesis makes good and bad ones for every operation of every group version (or of those named: `apis/apps/v1`),
within `--seconds` each. No answer may be a 5xx or take longer than ANSWER_SECONDS_MAX; in the end the server answers
and its log holds no traceback. `--seed` makes the same requests again; the seed is printed.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import random
import ssl
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

from petset.kinds import volume_snapshots
from tests.suites import go_suites
from tests.suites.sources import HERE, Cache, default_directory

ANSWER_SECONDS_MAX = 10
GOING_ON_SECONDS_MAX = 120  # Of one operation's last requests, after a document's time is over.


class Served:
    """The address and the identity that a kubeconfig has, as files that other programs read."""

    def __init__(self, kubeconfig: Path, directory: Path):
        config = json.loads(kubeconfig.read_text())
        cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
        self.address = cluster["server"]
        parts = {
            "authority": cluster["certificate-authority-data"],
            "certificate": user["client-certificate-data"],
            "key": user["client-key-data"],
        }
        self.files = {name: directory / f"{name}.pem" for name in parts}
        for name, path in self.files.items():
            path.write_bytes(base64.b64decode(parts[name]))

    def get(self, path: str, body: bytes | None = None) -> bytes:
        """With a body: what a POST of it is answered."""
        context = ssl.create_default_context(cafile=str(self.files["authority"]))
        context.load_cert_chain(self.files["certificate"], self.files["key"])
        request = urllib.request.Request(f"{self.address}/{path}", body, {"content-type": "application/json"})
        with urllib.request.urlopen(request, context=context, timeout=ANSWER_SECONDS_MAX) as answer:
            return answer.read()

    def groups(self) -> list[str]:
        return list(json.loads(self.get("openapi/v3"))["paths"])

    def make_snapshot_kinds(self) -> None:
        """As a controller does in a whole cluster; they are there a moment later."""
        for definition in volume_snapshots.definitions():
            self.get("apis/apiextensions.k8s.io/v1/customresourcedefinitions", json.dumps(definition).encode())
        deadline = time.monotonic() + ANSWER_SECONDS_MAX
        while not any("snapshot" in group for group in self.groups()):
            if time.monotonic() > deadline:
                raise SystemExit("cannot make requests up: the kinds of snapshots are not served")
            time.sleep(0.1)


def main() -> int:
    parser = argparse.ArgumentParser(prog="tests.suites.fuzz", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("groups", nargs="*", metavar="GROUP", help="such as api/v1 or apis/apps/v1 (default: all)")
    parser.add_argument("--seconds", type=int, default=60, help="for each group version (default 60)")
    parser.add_argument("--examples", type=int, default=5, help="of each operation at most, at a time (default 5)")
    parser.add_argument("--seed", type=int, default=random.randrange(2**31), help="what to begin with (default: any)")
    args = parser.parse_args()
    cache = Cache(default_directory())
    python = cache.environment()
    failed: list[str] = []
    with tempfile.TemporaryDirectory() as directory:
        with go_suites.api_alone(Path(directory, "server")) as kubeconfig:
            served = Served(kubeconfig, Path(directory))
            served.make_snapshot_kinds()
            groups = args.groups or sorted(served.groups())
            for group in groups:
                print(f"{group}: seed {args.seed}", flush=True)
                if not _fuzzed(python, served, group, args):
                    failed.append(group)
            if served.get("readyz") != b"ok":
                failed.append("readyz")
        log = Path(directory, "server", "log").read_text()
        if "Traceback" in log:
            print(log, file=sys.stderr)
            failed.append("the log")
    print(
        f"fuzz: {len(groups) - len(set(groups) & set(failed))} passed, {len(failed)} failed {' '.join(failed)}".rstrip()
    )
    return 1 if failed else 0


def _fuzzed(python: Path, served: Served, group: str, args: argparse.Namespace) -> bool:
    command = [
        *(str(python.with_name("schemathesis")), "run", f"{served.address}/openapi/v3/{group}", "-u", served.address),
        *("--tls-verify", str(served.files["authority"]), "--request-cert", str(served.files["certificate"])),
        *("--request-cert-key", str(served.files["key"]), "--request-timeout", str(ANSWER_SECONDS_MAX)),
        *("-c", "not_a_server_error", "--phases", "coverage,fuzzing", "--seed", str(args.seed), "--no-shrink"),
        *("-n", str(args.examples), "--max-time", str(args.seconds), "--suppress-health-check", "all"),
        *("--continue-on-failure", "--warnings", "off"),
    ]
    environment = {**os.environ, "SCHEMATHESIS_HOOKS": "fuzz_hooks", "PYTHONPATH": str(HERE / "config")}
    with tempfile.TemporaryFile() as out:
        seconds = args.seconds + GOING_ON_SECONDS_MAX
        where = served.files["authority"].parent  # It leaves a folder of its own behind.
        done = subprocess.run(command, cwd=where, env=environment, stdout=out, stderr=out, timeout=seconds, check=False)
        if done.returncode:
            out.seek(0)
            sys.stdout.write(out.read().decode(errors="replace"))
    return done.returncode == 0


if __name__ == "__main__":
    sys.exit(main())
