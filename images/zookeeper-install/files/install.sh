#!/bin/bash
# The first init container of a ZooKeeper pet: puts ZooKeeper on the volume that the main container shares, and the
# scripts of the second init container into the work directory.
#
#   install.sh --install-into=/opt --work-dir=/work-dir [--version=3.5.0-alpha]
set -eu

from=/usr/share/zookeeper
into=/opt
work=/work-dir
for argument in "$@"; do
  case $argument in
    -i=* | --install-into=*) into=${argument#*=} ;;
    -w=* | --work-dir=*) work=${argument#*=} ;;
    -v=* | --version=*) echo "asked for ZooKeeper ${argument#*=}; here is Debian's" ;;
    *) echo "cannot install ZooKeeper: unknown argument $argument; see the comment in $0" >&2; exit 1 ;;
  esac
done

mkdir -p "$work" "$into/zookeeper"
cp --remove-destination /on-start.sh /peer-finder "$work/"
cp -r --remove-destination "$from"/* "$into/zookeeper/"
echo "ZooKeeper is in $into/zookeeper, the scripts are in $work"
