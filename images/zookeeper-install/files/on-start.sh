#!/bin/bash
# Makes a ZooKeeper pet a member of its ensemble, before its server starts. Peer-finder runs this in an init container:
# the peers' names come on standard input, one a line, this pet's own among them. The pet's volume is mounted here too.
#
#   1. A pet that has been a member keeps what its volume says: names do not change, so the old membership holds.
#   2. One whose name the ensemble knows, but whose volume is empty, takes the membership from a peer and is filled by it.
#   3. A new one starts as an observer, is added as a participant (reconfig), and stops; the main container goes on.
#   4. The first pet, when nobody answers, is an ensemble of one.
#
# A member without a quorum serves reads, and nothing else: so it is ready, the next pet is started, and in the end there
# is a quorum, which has everything that was ever acknowledged. All pets may be stopped and started one after another.
set -u

zoo=${ZOO_HOME:-/opt/zookeeper}
data=${ZOO_DATA:-/tmp/zookeeper}
dynamic=$data/zoo.cfg.dynamic
answer_seconds=60

host=$(hostname)
id=$((${host##*-} + 1))
me=
others=()
while read -r peer; do
  [ -n "$peer" ] || continue
  if [ "${peer%%.*}" = "$host" ]; then me=$peer; else others+=("$peer"); fi
done
if [ -z "$me" ]; then
  echo "cannot add $host to the ensemble: its name is not among its peers (${others[*]}); is it in the headless service?" >&2
  exit 1
fi
line="server.$id=$me:2888:3888:participant;2181"

# The whole configuration is on the volume: ZooKeeper writes the membership beside it at each change, for the next start.
configure() {
  cat > "$data/zoo.cfg" <<CONF
tickTime=2000
initLimit=10
syncLimit=5
dataDir=$data
dynamicConfigFile=$dynamic
standaloneEnabled=false
reconfigEnabled=true
skipACL=yes
quorumListenOnAllIPs=true
admin.enableServer=false
4lw.commands.whitelist=*
CONF
}

# The membership as a peer that serves knows it.
membership() {
  timeout 2 bash -c "exec 3<> /dev/tcp/$1/2181 && printf conf >&3 && cat <&3" 2> /dev/null |
    sed -n 's/^\(server\.[0-9]*=.*\)$/\1/p' | tr -d '\r'
}

# A member: the main container starts the server on this volume. Only local sessions can begin without a quorum.
done_as() {
  touch "$data/joined"
  grep -q '^localSessionsEnabled=' "$data/zoo.cfg" ||
    printf '\nlocalSessionsEnabled=true\nlocalSessionsUpgradingEnabled=true\n' >> "$data/zoo.cfg"
  echo "SERVER_JVMFLAGS=-Dreadonlymode.enabled=true" > "$zoo/conf/java.env"
  echo "$me $1"
  exit 0
}

mkdir -p "$data"
ln -sfn "$data/zoo.cfg" "$zoo/conf/zoo.cfg"
[ ! -f "$data/joined" ] || done_as "is a member already"

known= via=
until=$((SECONDS + answer_seconds))
while [ "${#others[@]}" -gt 0 ]; do
  for peer in "${others[@]}"; do
    known=$(membership "$peer")
    [ -z "$known" ] || { via=$peer; break 2; }
  done
  # The first pet need not wait for those that come after it: nobody serves before it does.
  [ "$id" -gt 1 ] && [ "$SECONDS" -lt "$until" ] || break
  sleep 0.2
done

if [ -z "$known" ] && [ "$id" -gt 1 ]; then
  echo "cannot add $me to the ensemble: none of ${others[*]} serves; it is tried again" >&2
  exit 1
fi

if [ -z "$known" ]; then
  echo "$line" > "$dynamic"
  configure
  echo "$id" > "$data/myid"
  done_as "is an ensemble of one"
fi

if grep -q "^server\.$id=" <<< "$known"; then
  echo "$known" > "$dynamic"
  configure
  echo "$id" > "$data/myid"
  done_as "takes the membership from $via"
fi

{ echo "$known"; echo "${line/participant/observer}"; } > "$dynamic"
configure
echo "$id" > "$data/myid"
joined() { ls -t "$dynamic".* 2> /dev/null | head -n 1 | xargs -r grep -q "^server\.$id=.*participant"; }

ZOO_LOG=$data/join.log "$zoo/bin/zkServer.sh" start
trap '"$zoo/bin/zkServer.sh" stop' EXIT
until=$((SECONDS + answer_seconds))
until [ -n "$(membership "$me")" ]; do
  if [ "$SECONDS" -ge "$until" ]; then
    echo "cannot add $me to the ensemble: its server does not come up beside $via:" >&2
    tail -n 5 "$data/join.log" >&2
    exit 1
  fi
  sleep 0.2
done
while ! joined; do
  "$zoo/bin/zkCli.sh" -server "$via:2181" reconfig -add "$line" > "$data/reconfig.log" 2>&1
  for _ in 1 2 3 4 5 6 7 8 9 10; do joined && break; sleep 0.1; done
  if [ "$SECONDS" -ge "$until" ]; then
    echo "cannot add $me to the ensemble: $via does not accept it: $(tail -n 2 "$data/reconfig.log")" >&2
    exit 1
  fi
done
done_as "joined the ensemble by $via"
