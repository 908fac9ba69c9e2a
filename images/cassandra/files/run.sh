#!/bin/bash
# Writes Cassandra's configuration from the environment and starts it, in the foreground.
#
#   POD_IP                 this pet's address; default: what its host name resolves to
#   CASSANDRA_SEEDS        names of the pets that others ask first, with commas; default: this pet alone
#   CASSANDRA_CLUSTER_NAME, CASSANDRA_DC, CASSANDRA_RACK, CASSANDRA_NUM_TOKENS, CASSANDRA_DATA, MAX_HEAP_SIZE, HEAP_NEWSIZE
#   CASSANDRA_COMMITLOG_SYNC
#                          periodic (default): writes are acknowledged at once, synced every 10 s; batch: synced first
#   CASSANDRA_RING_DELAY_MS, CASSANDRA_GOSSIP_SETTLE_MS
#                          how long a new member listens, and any member waits, before it takes part: short, as for a
#                          ring of a few members on one machine
set -eu

address=${POD_IP:-$(getent hosts "$(hostname)" | awk 'NR==1 {print $1}')}
seeds=${CASSANDRA_SEEDS:-$address}
data=${CASSANDRA_DATA:-/cassandra_data}
conf=$CASSANDRA_CONF

# The first seed founds the cluster; when its name cannot be resolved yet, it is this pet's own.
resolved=
for seed in ${seeds//,/ }; do
  found=$(getent hosts "$seed" | awk 'NR==1 {print $1}' || true)
  [ -z "$found" ] || resolved+=${resolved:+,}$found
done

sync=${CASSANDRA_COMMITLOG_SYNC:-periodic}
[ "$sync" != periodic ] || sync+=$'\ncommitlog_sync_period: 10000ms'

mkdir -p "$data"
cat > "$conf/cassandra.yaml" <<CONF
cluster_name: '${CASSANDRA_CLUSTER_NAME:-petset}'
num_tokens: ${CASSANDRA_NUM_TOKENS:-16}
partitioner: org.apache.cassandra.dht.Murmur3Partitioner
data_file_directories: [$data/data]
commitlog_directory: $data/commitlog
saved_caches_directory: $data/saved_caches
hints_directory: $data/hints
cdc_raw_directory: $data/cdc_raw
commitlog_sync: $sync
disk_failure_policy: stop
commit_failure_policy: stop
seed_provider:
  - class_name: org.apache.cassandra.locator.SimpleSeedProvider
    parameters:
      - seeds: "${resolved:-$address}"
listen_address: $address
broadcast_address: $address
rpc_address: 0.0.0.0
broadcast_rpc_address: $address
native_transport_port: 9042
storage_port: 7000
endpoint_snitch: GossipingPropertyFileSnitch
dynamic_snitch: true
memtable_heap_space: 64MiB
memtable_offheap_space: 64MiB
key_cache_size: 16MiB
file_cache_size: 64MiB
concurrent_reads: 8
concurrent_writes: 8
auto_snapshot: false
authenticator: AllowAllAuthenticator
authorizer: AllowAllAuthorizer
CONF
printf 'dc=%s\nrack=%s\n' "${CASSANDRA_DC:-dc1}" "${CASSANDRA_RACK:-rack1}" > "$conf/cassandra-rackdc.properties"

heap=${MAX_HEAP_SIZE:-512M}
mapfile -t options < <(grep -v '^#' "$conf/java.options")
# A pet gets another address when it comes back; its identity is its volume's.
exec java "${options[@]}" -Xms"$heap" -Xmx"$heap" -Xmn"${HEAP_NEWSIZE:-100M}" \
  -Dcassandra.config="file://$conf/cassandra.yaml" -Dcassandra.storagedir="$data" -Dcassandra-foreground=yes \
  -Dlogback.configurationFile="file://$conf/logback.xml" -Dcassandra.jmx.local.port=7199 \
  -Dcassandra.ring_delay_ms="${CASSANDRA_RING_DELAY_MS:-5000}" -Dcassandra.gossip_settle_min_wait_ms="${CASSANDRA_GOSSIP_SETTLE_MS:-1000}" \
  -cp "$conf:/usr/share/cassandra/lib/*" org.apache.cassandra.service.CassandraDaemon
