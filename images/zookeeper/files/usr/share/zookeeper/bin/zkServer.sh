#!/bin/bash
# zkServer.sh start-foreground | start | stop | status | version
# The configuration is conf/zoo.cfg beside this script's folder, or ZOOCFG; conf/java.env may give SERVER_JVMFLAGS.
set -u
bin=$(dirname "$(readlink -f "$0")")
# The real path: ZooKeeper writes a changed membership beside its configuration, which may be on a pet's volume.
conf=$(readlink -f "${ZOOCFG:-$(dirname "$bin")/conf/zoo.cfg}")
main=org.apache.zookeeper.server.quorum.QuorumPeerMain
data=$(sed -n 's/^dataDir=//p' "$conf")
environment=$(dirname "$bin")/conf/java.env
[ ! -f "$environment" ] || . "$environment"
export ZOO_JAVA_OPTS="${ZOO_JAVA_OPTS:-} ${SERVER_JVMFLAGS:-}"
pid_file=$data/zookeeper_server.pid

case ${1:-} in
  start-foreground)
    mkdir -p "$data"
    exec "$bin/java-zookeeper" "$main" "$conf"
    ;;
  start)
    mkdir -p "$data"
    "$bin/java-zookeeper" "$main" "$conf" > "${ZOO_LOG:-/dev/null}" 2>&1 < /dev/null &
    echo $! > "$pid_file"
    ;;
  stop)
    if [ -f "$pid_file" ] && pid=$(cat "$pid_file") && kill "$pid" 2> /dev/null; then
      # As an orphan it may stay a zombie: not every first process of a container takes care of those.
      while grep -q '^State:[[:space:]]*[^Z[:space:]]' "/proc/$pid/status" 2> /dev/null; do sleep 0.1; done
    fi
    rm -f "$pid_file"
    ;;
  status)
    exec 3<> "/dev/tcp/localhost/$(sed -n 's/^clientPort=//p' "$conf" | grep . || echo 2181)" || exit 1
    printf srvr >&3
    grep Mode <&3 || exit 1
    ;;
  version) exec "$bin/java-zookeeper" org.apache.zookeeper.version.VersionInfoMain ;;
  *) echo "usage: zkServer.sh start-foreground | start | stop | status | version" >&2; exit 2 ;;
esac
