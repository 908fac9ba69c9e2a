#!/bin/bash
# Tells a Galera pet whom to join, before MariaDB starts. Peer-finder runs this in an init container: the peers' names
# come on standard input, one a line, this pet's own among them.
#
#   1. When a peer answers on the replication port, the pet joins all its peers.
#   2. When nobody answers, the first pet (ordinal 0) founds the cluster, or goes on with it after a reboot.
#   3. Any other pet waits for the first: it joins its peers, and the first by its name even if it is not up yet.
set -u

conf=${GALERA_CONF:-/etc/mysql/my-galera.cnf}
mark='# ---- written by on-start.sh'

host=$(hostname)
me=
others=()
while read -r peer; do
  [ -n "$peer" ] || continue
  if [ "${peer%%.*}" = "$host" ]; then me=$peer; else others+=("$peer"); fi
done
if [ -z "$me" ]; then
  echo "cannot add $host to the cluster: its name is not among its peers (${others[*]}); is it in the headless service?" >&2
  exit 1
fi

answers() { timeout 1 bash -c ": < /dev/tcp/$1/4567" 2> /dev/null; }

serving=
for peer in "${others[@]}"; do
  if answers "$peer"; then serving=$peer; break; fi
done

join=("${others[@]}")
if [ "${host##*-}" = 0 ]; then
  [ -n "$serving" ] || join=()
else
  first=${host%-*}-0.${me#*.}
  case " ${join[*]} " in *" $first "*) ;; *) join=("$first" "${join[@]}") ;; esac
fi

service=${me#*.}
draft=$conf.draft
sed "/^$mark/,\$d" "$conf" > "$draft"
{
  echo "$mark"
  echo "[mysqld]"
  echo "wsrep_cluster_name = ${service%%.*}"
  echo "wsrep_cluster_address = gcomm://$(IFS=,; echo "${join[*]}")"
  echo "wsrep_node_name = $host"
  echo "wsrep_node_address = $me"
} >> "$draft"
mv "$draft" "$conf"
echo "$me joins gcomm://${join[*]}"
