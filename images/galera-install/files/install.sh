#!/bin/bash
# The first init container of a Galera pet: puts the scripts of the second into the work directory, and the configuration
# on the volume that the main container has at /etc/mysql.
#
#   install.sh --work-dir=/work-dir
set -eu

work=/work-dir
into=/etc/mysql
for argument in "$@"; do
  case $argument in
    -w=* | --work-dir=*) work=${argument#*=} ;;
    -i=* | --install-into=*) into=${argument#*=} ;;
    *) echo "cannot install: unknown argument $argument; see the comment in $0" >&2; exit 1 ;;
  esac
done

mkdir -p "$work" "$into"
cp --remove-destination /on-start.sh /peer-finder "$work/"
cp --remove-destination /my-galera.cnf "$into/"
echo "the configuration is in $into, the scripts are in $work"
