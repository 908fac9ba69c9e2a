"""Which cluster a command is about, and a client of it: the instance's own, or any that a kubeconfig names.

`petset why` and the like ask the instance, unless --kubeconfig or --context name another cluster; as `kubectl petset`
they ask whatever kubectl would: KUBECONFIG (several files are read as one, the first that says something wins), else
~/.kube/config. A user who is got by running a program (exec) is got so.
Follows: "Organizing Cluster Access Using kubeconfig Files", client.authentication.k8s.io/v1.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import subprocess
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from petset.base import well_known
from petset.cli.asking import connection
from petset.cli.failures import CommandError
from petset.client.client import Client
from petset.client.reaching import dialing, kubeconfig
from petset.net.dialer import Dialer
from petset.objects import documents, encoding, meta
from petset.objects.meta import Object

SECTIONS = ("clusters", "users", "contexts")
FILES = ("certificate-authority", "client-certificate", "client-key", "tokenFile")  # Relative to the kubeconfig.
CREDENTIAL_SECONDS_MAX = 60.0


@dataclass(frozen=True, slots=True)
class Reached:
    client: Client
    namespace: str  # The one that is meant; "" for all.
    dialer: Dialer  # Beneath the client, for what needs a stream.
    context: str = ""  # Of the kubeconfig; "": the instance's own.


def arguments(parser: argparse.ArgumentParser, of_all: str = "") -> None:
    """Which cluster and namespace; with -A for a command that has things of all namespaces, `of_all` they are."""
    if of_all:
        parser.add_argument("-A", "--all-namespaces", action="store_true", help=f"{of_all} of all namespaces")
    else:
        parser.set_defaults(all_namespaces=False)
    parser.add_argument("-n", "--namespace", metavar="NAMESPACE", help="(default: the context's, else default)")
    parser.add_argument("--kubeconfig", metavar="FILE", help="ask the cluster that this kubeconfig names")
    parser.add_argument("--context", metavar="NAME", help="ask the cluster of this context of the kubeconfig")


@contextlib.asynccontextmanager
async def reached(args: argparse.Namespace) -> AsyncGenerator[Reached]:
    """The cluster that is meant. Raises CommandError."""
    if not (args.kubeconfig or args.context or args.instance is None):
        async with connection.connect(args.instance) as connected:
            yield Reached(connected.client, _meant(args, "default"), connected.dialer)
        return
    config = _merged(_files(args.kubeconfig))
    name = args.context or config["current-context"]
    try:
        target = kubeconfig.target_of(documents.dump(_with_credentials({**config, "current-context": name})), _read)
        way = dialing.way(target)
        dialer = Dialer(way.url, way.context, way.headers, address=way.address)
    except (OSError, ValueError) as error:
        raise CommandError(f"cannot use the kubeconfig: {error}; see --kubeconfig and --context") from None
    async with dialer:
        yield Reached(Client(dialer, "petset"), _meant(args, _namespace(config, name)), dialer, name)


def _meant(args: argparse.Namespace, usual: str) -> str:
    return "" if args.all_namespaces else args.namespace or usual


def columns(args: argparse.Namespace, usual: Sequence[str]) -> Sequence[str]:
    """Those of a table; of all namespaces it says which, too."""
    return ("namespace", *usual) if args.all_namespaces else usual


def _files(given: str | None) -> list[Path]:
    if given:
        return [Path(given)]
    named = [Path(part) for part in os.environ.get("KUBECONFIG", "").split(os.pathsep) if part]
    return named or [Path.home() / ".kube" / "config"]


def _merged(files: list[Path]) -> dict[str, Any]:
    """Several kubeconfigs as one. Raises CommandError."""
    merged: dict[str, Any] = {"apiVersion": "v1", "kind": "Config", "current-context": ""}
    found = False
    for path in files:
        try:
            config: Any = documents.load(path.read_bytes())
        except FileNotFoundError:
            continue
        except (OSError, ValueError) as error:
            raise CommandError(f"cannot read {path}: {str(error).splitlines()[0]}; mend it, or name another") from None
        if not meta.is_struct(config):
            raise CommandError(f"cannot read {path}: it is no kubeconfig; mend it, or name another")
        found = True
        merged["current-context"] = merged["current-context"] or config.get("current-context") or ""
        for section in SECTIONS:
            known = {entry.get("name") for entry in merged.get(section, [])}
            given = [entry for entry in meta.parts(config, section) if entry.get("name") not in known]
            merged[section] = [*merged.get(section, []), *(_absolute(entry, path.parent) for entry in given)]
    if not found:
        names = ", ".join(map(str, files))
        raise CommandError(f"cannot reach a cluster: there is no kubeconfig at {names}; name one with --kubeconfig")
    return merged


def _absolute(entry: Object, directory: Path) -> Object:
    """An entry whose files can be found from anywhere."""
    return {
        key: {
            field: str(directory / text) if field in FILES and isinstance(text, str) and text else text
            for field, text in value.items()
        }
        if meta.is_struct(value)
        else value
        for key, value in entry.items()
    }


def _namespace(config: Mapping[str, Any], context: str) -> str:
    for entry in meta.parts(config, "contexts"):
        if entry.get("name") == context:
            return meta.part(entry, "context").get("namespace") or "default"
    return "default"


def _read(path: str) -> bytes:
    return Path(path).read_bytes()


def _with_credentials(config: dict[str, Any]) -> dict[str, Any]:
    """With what the program says that the context's user is got by. Raises ValueError, OSError."""
    contexts = {entry.get("name"): meta.part(entry, "context") for entry in config.get("contexts", [])}
    name = contexts.get(config["current-context"], {}).get("user")
    users = [
        {**entry, "user": _user(meta.part(entry, "user"))} if entry.get("name") == name else entry
        for entry in config.get("users", [])
    ]
    return {**config, "users": users}


def _user(user: Object) -> Object:
    program = meta.part(user, "exec")
    if not program:
        return user
    command = [str(program.get("command")), *meta.texts(program, "args")]
    variables = {str(one.get("name")): str(one.get("value")) for one in meta.parts(program, "env")}
    version = str(program.get("apiVersion") or f"{well_known.CLIENT_AUTHENTICATION_GROUP}/v1")
    asked = {"apiVersion": version, "kind": "ExecCredential", "spec": {"interactive": False}}
    environment = {**os.environ, **variables, "KUBERNETES_EXEC_INFO": encoding.dumps(asked).decode()}
    try:
        done = subprocess.run(
            command, env=environment, capture_output=True, timeout=CREDENTIAL_SECONDS_MAX, check=False
        )
    except subprocess.TimeoutExpired:
        raise ValueError(f"{command[0]} gave no credentials within {CREDENTIAL_SECONDS_MAX:g} seconds") from None
    if done.returncode:
        why = done.stderr.decode(errors="replace").strip().splitlines() or [f"exit code {done.returncode}"]
        raise ValueError(f"{command[0]} gave no credentials: {why[-1]}")
    answer: Any = encoding.loads_answer(done.stdout)
    said: Object = answer if meta.is_struct(answer) else {}
    status = meta.part(said, "status")
    given = {
        "token": status.get("token"),
        "client-certificate-data": _base64(status.get("clientCertificateData")),
        "client-key-data": _base64(status.get("clientKeyData")),
    }
    found: Object = {**user, **given, "exec": None}
    return {key: value for key, value in found.items() if value}


def _base64(text: str | None) -> str:
    from base64 import b64encode

    return b64encode(text.encode()).decode() if text else ""
