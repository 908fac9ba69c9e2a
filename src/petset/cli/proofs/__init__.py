"""What each example proves, step by step: a table of examples, and a module each that says and shows it."""

from __future__ import annotations

from petset.cli.proofs import (
    cassandra,
    cassandra_ring,
    mysql,
    mysql_replicated,
    nginx,
    redis,
    redis_sentinel,
    statefulset_basics,
    zookeeper,
    zookeeper_budget,
)
from petset.cli.proofs.stage import Example, Stage

__all__ = ["EXAMPLES", "Example", "Stage"]

EXAMPLES = {
    "cassandra": cassandra.EXAMPLE,
    "cassandra-ring": cassandra_ring.EXAMPLE,
    "mysql": mysql.EXAMPLE,
    "mysql-replicated": mysql_replicated.EXAMPLE,
    "nginx": nginx.EXAMPLE,
    "redis": redis.EXAMPLE,
    "redis-sentinel": redis_sentinel.EXAMPLE,
    "statefulset-basics": statefulset_basics.EXAMPLE,
    "zookeeper": zookeeper.EXAMPLE,
    "zookeeper-budget": zookeeper_budget.EXAMPLE,
}
