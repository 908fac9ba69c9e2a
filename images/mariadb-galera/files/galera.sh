#!/bin/bash
# Starts MariaDB as a member of its Galera cluster: galera.sh --defaults-file=/etc/mysql/my-galera.cnf --user=root
#
# The volume is mounted over /var/lib, so the data folder may have to be made first. on-start.sh has written whom to join.
# What only the volume knows is decided here: the first pet of a set may found a cluster (gcomm:// without names) only
# when it has no data, or when nobody else serves; then its data is what the cluster goes on with.
set -eu

data=/var/lib/mysql
socket=/run/mysqld/mysqld.sock
mkdir -p "$data" /run/mysqld

if [ ! -d "$data/mysql" ]; then
  rm -rf "$data.new"
  mariadb-install-db --no-defaults --datadir="$data.new" --user=root --auth-root-authentication-method=normal \
    --skip-test-db > /dev/null
  # As in 2016: root has no password and may come from other pods. A manifest that needs more sets it.
  # The bootstrap mode takes one statement a line.
  printf '%s\n' 'use mysql;' 'flush privileges;' "create user if not exists root@'%';" \
    "grant all on *.* to root@'%' with grant option;" |
    mariadbd --no-defaults --datadir="$data.new" --user=root --bootstrap --silent-startup
  rmdir "$data" 2> /dev/null || true
  if [ -d "$data" ]; then cp -a "$data.new/." "$data/" && rm -rf "$data.new"; else mv "$data.new" "$data"; fi
fi

file=
for argument in "$@"; do
  case $argument in --defaults-file=*) file=${argument#*=} ;; esac
done
if [ -n "$file" ] && grep -qE '^wsrep_cluster_address *= *"?gcomm://"?$' "$file" && [ -f "$data/grastate.dat" ]; then
  sed -i 's/^safe_to_bootstrap: .*/safe_to_bootstrap: 1/' "$data/grastate.dat"
  rm -f "$data/gvwstate.dat"
fi
# The manifests of 2016 say --user=root; rsync, which fills a new member, gives up root's rights and could not write then.
chown -R mysql:mysql "$data" /run/mysqld
arguments=()
for argument in "$@"; do
  case $argument in --user=*) ;; *) arguments+=("$argument") ;; esac
done
exec mariadbd "${arguments[@]}" --user=mysql --datadir="$data" --socket="$socket" --pid-file=/run/mysqld/mysqld.pid
