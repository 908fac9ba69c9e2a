#!/bin/bash
# zkCli.sh [-server host:port] command...
# -r: a server that has no quorum, and serves reads without one (readonlymode.enabled), may answer as well.
bin=$(dirname "$(readlink -f "$0")")
ZOO_LOG_LEVEL=${ZOO_LOG_LEVEL:-off} ZOO_HEAP=${ZOO_HEAP:-64m} ZOO_TIER=1 \
  exec "$bin/java-zookeeper" org.apache.zookeeper.ZooKeeperMain -r "$@"
