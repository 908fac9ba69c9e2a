"""The flags of `petset up` that are about the audit log, by an API server's names, and what they come to.

What is wrong with them, with the policy, the file or the webhook's kubeconfig is said in one line before anything
begins.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING

from petset.cli.failures import CommandError

if TYPE_CHECKING:
    from petset.server.audit import log as audit_log
    from petset.server.audit import policy, webhook

FILE_BYTES_MAX = 1 << 20


def count(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is no number from 1 on")
    return number


def log_path(path: str) -> str:
    return path if path == "-" else os.path.abspath(path)


def mode(text: str) -> str:
    if text != "batch":
        raise argparse.ArgumentTypeError(f"{text!r} is not done here, nobody waits for the webhook: batch is")
    return text


def duration(text: str) -> str:
    from petset.objects import durations

    if not (durations.seconds_of(text) or 0) > 0:
        raise argparse.ArgumentTypeError(f"{text!r} is no duration, like 30s")
    return text


def rate(text: str) -> float:
    number = float(text)
    if not 0 < number < 1e6:
        raise argparse.ArgumentTypeError(f"{text} is no rate above 0")
    return number


def switch(text: str) -> str:
    if text not in ("true", "false"):
        raise argparse.ArgumentTypeError(f"{text!r} is neither true nor false")
    return text


_BATCH = "--audit-webhook-batch-"
# (flag, its name, what reads it, metavar, help)
AUDIT = (
    ("--audit-policy-file", "audit_policy_file", os.path.abspath, "FILE", "what of requests is told: a Policy"),
    (
        "--audit-log-path",
        "audit_log_path",
        log_path,
        "FILE",
        "the audit log: a line of JSON a request's stage; - is standard output",
    ),
    ("--audit-log-maxsize", "audit_log_maxsize", count, "MIB", "size at which another file is begun (default 100)"),
    ("--audit-log-maxbackup", "audit_log_maxbackup", count, "N", "older files that are kept (default 5)"),
    (
        "--audit-webhook-config-file",
        "audit_webhook_config_file",
        os.path.abspath,
        "FILE",
        "a kubeconfig of the server that the audit log is sent to",
    ),
    ("--audit-webhook-mode", "audit_webhook_mode", mode, "MODE", "batch, which is the default and all there is"),
    (
        "--audit-webhook-initial-backoff",
        "audit_webhook_initial_backoff",
        duration,
        "TIME",
        "before what was not taken is sent again (default 10s)",
    ),
    (f"{_BATCH}buffer-size", "audit_webhook_batch_buffer_size", count, "N", "events that may wait (default 10000)"),
    (f"{_BATCH}max-size", "audit_webhook_batch_max_size", count, "N", "events sent at once (default 400)"),
    (
        f"{_BATCH}max-wait",
        "audit_webhook_batch_max_wait",
        duration,
        "TIME",
        "how long events wait for more (default 30s)",
    ),
    (f"{_BATCH}throttle-enable", "audit_webhook_batch_throttle_enable", switch, "true|false", "(default true)"),
    (f"{_BATCH}throttle-qps", "audit_webhook_batch_throttle_qps", rate, "N", "times a second it is sent (default 10)"),
    (f"{_BATCH}throttle-burst", "audit_webhook_batch_throttle_burst", count, "N", "times at once (default 15)"),
)


def settings(args: argparse.Namespace) -> audit_log.Settings | None:
    """Raises CommandError when something is wrong with what the flags name."""
    file, path = getattr(args, "audit_policy_file", None), getattr(args, "audit_log_path", None)
    config = getattr(args, "audit_webhook_config_file", None)
    if file is None and path is None and config is None:
        return None
    if file is None or (path is None and config is None):
        raise CommandError(
            "cannot keep an audit log: a policy without a place for the log is none, nor is a place without a policy; "
            "give --audit-policy-file and one of --audit-log-path and --audit-webhook-config-file, or neither"
        )
    from petset.server.audit import log as audit_log

    read = _policy(file)
    if path is not None and path != audit_log.STANDARD_OUTPUT:
        try:
            os.close(os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600))
        except OSError as error:
            raise _wrong(str(error.filename), error) from None
    size_bytes = (args.audit_log_maxsize or 100) << 20
    sent = _webhook(config, args) if config is not None else None
    return audit_log.Settings(read, path or "", size_bytes, args.audit_log_maxbackup or 5, sent)


def _wrong(file: str, error: Exception) -> CommandError:
    why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return CommandError(f"cannot keep an audit log: {file}: {' '.join(why.split())}; mend it, or name another")


def _read(file: str) -> bytes:
    with open(file, "rb") as opened:
        return opened.read(FILE_BYTES_MAX)


def _policy(file: str) -> policy.Policy:
    from petset.server.audit import policy

    try:
        return policy.read(_read(file))
    except (OSError, ValueError) as error:
        raise _wrong(file, error) from None


def _webhook(config: str, args: argparse.Namespace) -> webhook.Settings:
    from petset.client.reaching import dialing, kubeconfig
    from petset.objects import durations
    from petset.server.audit import webhook

    usual = webhook.Settings("")

    def given(name: str) -> str:
        return getattr(args, f"audit_webhook_{name}") or ""

    try:
        target = kubeconfig.target_of(_read(config), lambda path: _read(str(Path(config).parent / path)))
        way = dialing.way(target)
    except (OSError, ValueError) as error:
        named = error.filename if isinstance(error, OSError) and error.filename else config
        raise _wrong(str(named), error) from None
    throttles = given("batch_throttle_enable") != "false"
    return webhook.Settings(
        way.url,
        way.context,
        way.headers,
        way.address,
        int(given("batch_buffer_size") or usual.buffer_events_max),
        int(given("batch_max_size") or usual.batch_events_max),
        durations.seconds_of(given("batch_max_wait")) or usual.batch_seconds_max,
        float(given("batch_throttle_qps") or usual.batches_a_second) if throttles else 0.0,
        int(given("batch_throttle_burst") or usual.burst_batches),
        durations.seconds_of(given("initial_backoff")) or usual.backoff_first_seconds,
    )
