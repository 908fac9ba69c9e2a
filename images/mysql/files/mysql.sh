#!/bin/bash
# Starts MariaDB the way the mysql images do: mysql.sh mysqld [OPTION...]. Anything else is run as it is.
#
# An empty volume gets the system tables first; data that is there already, a copy of another server's also, is taken as it
# is. Both are the user mysql's, which the server runs as. Where nobody is to write, super_read_only says, and root may not.
set -eu

[ "${1:-}" = mysqld ] || exec "$@"
shift

data=/var/lib/mysql
mkdir -p "$data" /run/mysqld
if [ ! -d "$data/mysql" ]; then
  [ -n "${MYSQL_ALLOW_EMPTY_PASSWORD:-}${MYSQL_ROOT_PASSWORD:-}" ] ||
    { echo "set MYSQL_ROOT_PASSWORD or MYSQL_ALLOW_EMPTY_PASSWORD" >&2; exit 1; }
  rm -rf "$data"/.new
  mariadb-install-db --no-defaults --datadir="$data/.new" --user=root --auth-root-authentication-method=normal \
    --skip-test-db > /dev/null
  password=${MYSQL_ROOT_PASSWORD:-}
  password=${password//\\/\\\\}
  # The bootstrap mode takes one statement a line.
  printf '%s\n' 'use mysql;' 'flush privileges;' "create user if not exists root@'%';" \
    "grant all on *.* to root@'%' with grant option;" "set password for root@'%' = password('${password//\'/\'\'}');" \
    "set password for root@localhost = password('${password//\'/\'\'}');" \
    "revoke read only admin on *.* from root@'%', root@localhost;" |
    mariadbd --no-defaults --datadir="$data/.new" --user=root --bootstrap --silent-startup
  # The folder mysql comes last: it says that all is there.
  find "$data/.new" -mindepth 1 -maxdepth 1 ! -name mysql -exec mv -t "$data" {} +
  mv "$data/.new/mysql" "$data/"
  rmdir "$data/.new"
fi
chown -R mysql:mysql "$data" /run/mysqld

# MySQL's name for what MariaDB tells by rights: read_only binds whoever has none to be an exception.
more=/run/petset-mysql.cnf
: > "$more"
for file in /etc/mysql/conf.d/*.cnf; do
  [ -e "$file" ] || continue
  sed -E 's/^[[:space:]]*super[-_]read[-_]only\>/read_only/' "$file" >> "$more"
  echo >> "$more"
done
exec mariadbd --defaults-file="$more" --user=mysql --datadir="$data" --socket=/run/mysqld/mysqld.sock \
  --pid-file=/run/mysqld/mysqld.pid --bind-address=0.0.0.0 --default-storage-engine=InnoDB --skip-name-resolve "$@"
