#!/bin/bash
# The first init container of a redis pet: puts redis on the volume that the main container shares, and the scripts of
# the second init container into the work directory.
#
#   install.sh --install-into=/opt --work-dir=/work-dir [--version=3.2.0]
set -eu

from=/usr/lib/redis-install
into=/opt
work=/work-dir
for argument in "$@"; do
  case $argument in
    -i=* | --install-into=*) into=${argument#*=} ;;
    -w=* | --work-dir=*) work=${argument#*=} ;;
    -v=* | --version=*) echo "asked for redis ${argument#*=}; here is $("$from/redis-server" --version)" ;;
    *) echo "cannot install redis: unknown argument $argument; see the comment in $0" >&2; exit 1 ;;
  esac
done

mkdir -p "$work" "$into/redis"
cp --remove-destination /on-start.sh /peer-finder "$work/"
cp --remove-destination "$from"/* "$into/redis/"
echo "redis is in $into/redis, the scripts are in $work"
