"""Which metrics there are: the table behind /metrics.

Names, labels and buckets are Kubernetes' own wherever it has a metric for the same thing ("Kubernetes Metrics
Reference"), so that dashboards and alerts made for it work here; what only petset has begins with petset_.
Durations are in seconds, sizes in bytes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Labels = tuple[str, ...]

REQUEST_SECONDS = (
    *(0.005, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 1.25, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0),
    *(10.0, 15.0, 20.0, 30.0, 45.0, 60.0),
)
RESPONSE_BYTES = (1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9)
WEBHOOK_SECONDS = (0.005, 0.025, 0.1, 0.5, 1.0, 2.5, 10.0, 25.0)
QUEUE_SECONDS = (1e-8, 1e-7, 1e-6, 1e-5, 1e-4, 1e-3, 0.01, 0.1, 1.0, 10.0, 100.0, 1000.0)
SCHEDULING_SECONDS = tuple(0.001 * 2**power for power in range(15))
FLOW_SECONDS = (0, 0.005, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 15.0, 30.0)
QUEUE_LENGTHS = (0, 10, 25, 50, 100, 250, 500, 1000)
LAG_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0)

REQUEST = ("verb", "dry_run", "group", "version", "resource", "subresource", "scope", "component")
FLOW = ("priority_level", "flow_schema")
STREAM = ("verb", "group", "version", "resource", "subresource", "scope", "component")


@dataclass(frozen=True, slots=True)
class Metric:
    name: str
    kind: Literal["counter", "gauge", "histogram"]
    help: str
    labels: Labels = ()
    bounds: tuple[float, ...] = ()  # Of a histogram's buckets.


def _counter(name: str, text: str, *labels: str) -> Metric:
    return Metric(name, "counter", text, labels)


def _gauge(name: str, text: str, *labels: str) -> Metric:
    return Metric(name, "gauge", text, labels)


def _histogram(name: str, text: str, bounds: tuple[float, ...], *labels: str) -> Metric:
    return Metric(name, "histogram", text, labels, bounds)


TABLE = (
    # Requests.
    _counter("apiserver_request_total", "Requests that ended.", *REQUEST, "code"),
    _histogram(
        "apiserver_request_duration_seconds", "From a request to the end of its answer.", REQUEST_SECONDS, *REQUEST
    ),
    _histogram("apiserver_response_sizes", "Of answers to reads.", RESPONSE_BYTES, *STREAM),
    _gauge("apiserver_current_inflight_requests", "Requests without an answer yet.", "request_kind"),
    _gauge("apiserver_longrunning_requests", "Watches, logs, execs and the like that are open.", *STREAM),
    _counter("apiserver_watch_events_total", "Events sent to watchers.", "group", "version", "resource"),
    # What an extension server asks of the cluster, an attempt each.
    _counter("apiserver_delegated_authn_request_total", "TokenReviews, by the code of the answer.", "code"),
    _counter("apiserver_delegated_authz_request_total", "SubjectAccessReviews, by the code of the answer.", "code"),
    # Priority and fairness.
    _gauge("apiserver_flowcontrol_nominal_limit_seats", "A level's share of the seats.", FLOW[0]),
    _gauge("apiserver_flowcontrol_lower_limit_seats", "What a level never lends.", FLOW[0]),
    _gauge("apiserver_flowcontrol_upper_limit_seats", "What a level has with all it may borrow.", FLOW[0]),
    _gauge("apiserver_flowcontrol_current_limit_seats", "What a level could have now.", FLOW[0]),
    _gauge("apiserver_flowcontrol_current_executing_requests", "Requests that have a seat.", *FLOW),
    _gauge("apiserver_flowcontrol_current_executing_seats", "Seats taken.", *FLOW),
    _gauge("apiserver_flowcontrol_current_inqueue_requests", "Requests that wait for a seat.", *FLOW),
    _gauge("apiserver_flowcontrol_current_inqueue_seats", "Seats waited for.", *FLOW),
    _counter("apiserver_flowcontrol_dispatched_requests_total", "Requests that were given a seat.", *FLOW),
    _counter("apiserver_flowcontrol_rejected_requests_total", "Requests refused.", *FLOW, "reason"),
    _histogram(
        "apiserver_flowcontrol_request_wait_duration_seconds",
        "How long requests wait for a seat.",
        FLOW_SECONDS,
        *(*FLOW, "execute"),
    ),
    _histogram(
        "apiserver_flowcontrol_request_execution_seconds",
        "How long requests have their seat; of watches until they have begun.",
        FLOW_SECONDS,
        *(*FLOW, "type"),
    ),
    _histogram(
        "apiserver_flowcontrol_request_queue_length_after_enqueue",
        "How long the queue was that a request began to wait in.",
        QUEUE_LENGTHS,
        *FLOW,
    ),
    # Who else is asked.
    _histogram(
        "apiserver_admission_webhook_admission_duration_seconds",
        "How long a webhook took.",
        WEBHOOK_SECONDS,
        *("name", "type", "operation", "rejected"),
    ),
    _counter("apiserver_audit_event_total", "Events of the audit log, written or not."),
    _counter("apiserver_audit_error_total", "Events that the audit log has lost.", "plugin"),
    # What is stored.
    _gauge("apiserver_storage_objects", "Objects stored, by kind.", "resource"),
    _gauge("apiserver_resource_objects", "Objects stored, by kind.", "group", "resource"),
    _gauge("apiserver_storage_size_bytes", "Of the file that they are stored in.", "storage_cluster_id"),
    # The process.
    _gauge("kubernetes_build_info", "Which version this is; always 1.", "major", "minor", "git_version"),
    _gauge("kubernetes_healthcheck", "Whether a check passes now: 1 or 0.", "name", "type"),
    # Controllers: a queue each.
    _counter("workqueue_adds_total", "Keys put into a controller's queue.", "name"),
    _gauge("workqueue_depth", "Keys that wait.", "name"),
    _histogram("workqueue_queue_duration_seconds", "How long keys wait.", QUEUE_SECONDS, "name"),
    _histogram("workqueue_work_duration_seconds", "How long the work on a key takes.", QUEUE_SECONDS, "name"),
    _counter("workqueue_retries_total", "Keys put back since they failed.", "name"),
    _gauge("workqueue_unfinished_work_seconds", "Of all work under way together.", "name"),
    _gauge("workqueue_longest_running_processor_seconds", "Of the work under way that began first.", "name"),
    _gauge("leader_election_master_status", "Whether this replica leads: 1 or 0.", "name"),
    # The scheduler.
    _counter("scheduler_schedule_attempts_total", "Attempts to place a pod.", "profile", "result"),
    _histogram(
        "scheduler_scheduling_attempt_duration_seconds",
        "From a round's begin to a pod's binding.",
        SCHEDULING_SECONDS,
        *("profile", "result"),
    ),
    _gauge("scheduler_pending_pods", "Pods without a node.", "queue"),
    # What only petset has.
    _histogram(
        "petset_loop_lag_seconds",
        "How long a callback waits for its turn, sampled while requests come.",
        LAG_SECONDS,
    ),
    _counter("petset_best_effort_failures_total", "Cleanups that failed, by what they did.", "doing"),
    _gauge("petset_store_revision", "The newest committed revision."),
    _gauge("petset_store_objects", "Objects stored."),
    _gauge("petset_store_watchers", "Open watches."),
    _gauge("petset_store_history_changes", "Changes that a watch can still begin from."),
    _counter("petset_store_commits_total", "Commits; writes by commits is the mean size of a group commit."),
    _counter("petset_store_writes_total", "Writes acknowledged."),
    _counter("petset_store_failed_writes_total", "Writes that the disk, or the cluster that keeps them, did not take."),
    # Of a store that a cluster keeps.
    _counter("petset_store_unknown_writes_total", "Writes of which nobody could tell whether they were made."),
    _counter("petset_store_watch_restarts_total", "How often the watch of the cluster was opened again."),
    _counter("petset_store_lists_total", "How often all was listed; each after the first expires every open watch."),
    _counter("petset_store_unreadable_objects_total", "Stored objects that hold no PetSet, each time they came."),
    _gauge("petset_store_silent_seconds", "Since the cluster last said anything; a bookmark comes every minute."),
)
