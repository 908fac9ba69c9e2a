#!/bin/bash
# Gives a redis pet its role, before redis starts. Peer-finder runs this in an init container: the peers' names come on
# standard input, one a line, this pet's own among them.
#
# Who is the master:
#   1. a peer that answers role:master (of several, the one with the most replicas, then the lowest name);
#   2. else the one that the peers that answer follow; when that is this pet, it comes back as the master, with its data;
#   3. else, nobody being up, the pet with the lowest ordinal: all start at once after a reboot, and all must agree.
# What is decided is written below a mark in redis.conf, so this may run again.
set -u

conf=${REDIS_CONF:-/opt/redis/redis.conf}
cli=${REDIS_CLI:-/opt/redis/redis-cli}
port=${REDIS_PORT:-6379}
answer_seconds=2
first_pet_seconds=5
mark='# ---- written by on-start.sh'

# The whole first label is compared: rd-1 is no part of rd-10.
host=$(hostname)
me=
others=()
while read -r peer; do
  [ -n "$peer" ] || continue
  if [ "${peer%%.*}" = "$host" ]; then me=$peer; else others+=("$peer"); fi
done
if [ -z "$me" ]; then
  echo "cannot give $host a role in redis: its name is not among its peers (${others[*]}); is it in the headless service?" >&2
  exit 1
fi

# All are asked at once: one that hangs costs answer_seconds, not that for each.
answers=$(mktemp -d)
trap 'rm -rf "$answers"' EXIT
for peer in "${others[@]}"; do
  timeout "$answer_seconds" "$cli" -h "$peer" -p "$port" info replication > "$answers/$peer" 2> /dev/null &
done
wait

field() { sed -n "s/^$2:\([^[:cntrl:]]*\).*/\1/p" "$answers/$1"; }

master= most=-1 votes=
for peer in "${others[@]}"; do
  case $(field "$peer" role) in
    master)
      replicas=$(field "$peer" connected_slaves)
      if [ "${replicas:-0}" -gt "$most" ]; then master=$peer most=${replicas:-0}; fi
      ;;
    slave) votes+=$(field "$peer" master_host)$'\n' ;;
  esac
done

if [ -z "$master" ]; then
  master=$(printf '%s' "$votes" | sort | uniq -c | sort -k1,1nr -k2 | sed -n '1s/^ *[0-9]* //p')
fi

# Nobody is up. After a reboot pets start in any order, and a pet above the first may not see the others yet: the name
# of the first pet is known all the same. A set that counts from another ordinal pays the wait once.
if [ -z "$master" ]; then
  lowest=$(printf '%s\n' "$me" "${others[@]}" | sort -V | head -n 1)
  first=${host%-*}-0.${me#*.}
  if [ "$lowest" != "$first" ] && [ "${host##*-}" != 0 ]; then
    until=$((SECONDS + first_pet_seconds))
    while [ "$SECONDS" -lt "$until" ]; do
      if getent hosts "$first" > /dev/null; then lowest=$first; break; fi
      sleep 0.2
    done
  fi
  master=$lowest
fi

draft=$conf.draft
sed "/^$mark/,\$d" "$conf" > "$draft"
{
  echo "$mark"
  echo "bind $me 127.0.0.1"
  echo "replica-announce-ip $me"
  echo "dir /data"
  echo "appendonly yes"
  echo "appendfsync always"
  [ "$master" = "$me" ] || echo "slaveof $master $port"
} >> "$draft"
mv "$draft" "$conf"
if [ "$master" = "$me" ]; then echo "$me is the master"; else echo "$me follows $master"; fi
