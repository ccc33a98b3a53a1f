#!/usr/bin/env bash
# A Ceph of one host for tests, on loopback: monitor, manager, OSD in memory, MDS, and a mount by ceph-fuse.
# Nothing is written outside its folder, and nothing is kept over a stop.
#
#   ceph.sh install              Debian packages (as root)
#   ceph.sh start DIR            mounts CephFS at DIR/mnt (as root); answers when it is usable
#   ceph.sh stop DIR             unmounts, ends what was started here, removes DIR
#   ceph.sh ceph DIR ...         the ceph command against it
#
# KARST_CEPH_PORT: the first of 40 ports (default 26700).
set -euo pipefail
PATH=/usr/sbin:/usr/bin:/sbin:/bin:$PATH # its tools want Debian's python3

action=${1:-}
[ $# -gt 0 ] && shift
port=${KARST_CEPH_PORT:-26700}
host=127.0.0.1

die() { echo "ceph.sh: $*" >&2; exit 1; }
wait_for() { # wait_for SECONDS WHAT COMMAND...
  local end=$((SECONDS + $1)) what=$2
  shift 2
  until "$@" >/dev/null 2>&1; do
    [ "$SECONDS" -lt "$end" ] || die "no $what in time; logs are in $dir/log"
    sleep 0.1
  done
}
tool() { local name=$1; shift; command "$name" -c "$dir/ceph.conf" "$@"; }

install_parts() {
  local missing= package
  for package in ceph-mon ceph-mgr ceph-osd ceph-mds ceph-fuse ceph-common attr acl; do
    dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing="$missing $package"
  done
  [ -z "$missing" ] && return
  export DEBIAN_FRONTEND=noninteractive
  apt-get update -qq
  # shellcheck disable=SC2086
  apt-get -o DPkg::Lock::Timeout=300 install -y -qq --no-install-recommends $missing
}

write_conf() {
  cat >"$dir/ceph.conf" <<CONF
[global]
fsid = $(cat /proc/sys/kernel/random/uuid)
mon host = [v2:$host:$port/0,v1:$host:$((port + 1))/0]
public addr = $host
cluster addr = $host
ms bind ipv6 = false
ms bind port min = $((port + 10))
ms bind port max = $((port + 39))
auth allow insecure global id reclaim = false
keyring = $dir/keyring
run dir = $dir/run
pid file = $dir/run/\$type.\$id.pid
admin socket =
log file = $dir/log/\$type.\$id.log
crash dir = $dir/crash
mon data = $dir/mon
mon allow pool size one = true
mon allow pool delete = true
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 8
osd pool default pgp num = 8
osd pool default pg autoscale mode = off
osd crush chooseleaf type = 0
osd data = $dir/osd
osd objectstore = memstore
osd class update on start = false
osd numa auto affinity = false
memstore device bytes = $((3 << 30))
memstore page set = false
mds data = $dir/mds
mgr data = $dir/mgr
mgr initial modules =
mgr stats period = 1
mgr tick period = 1
mds beacon interval = 1
mds tick interval = 1
# a client that was killed is waited for no longer than that, in seconds
mds reconnect timeout = 3
# recursive statistics come within a second or two, not six
mds scatter nudge interval = 1
# map changes at once, not once a second: most of the time that a start takes
paxos propose interval = 0.02
paxos min wait = 0.01
mon tick interval = 1
debug ms = 0
mon cluster log to file = false

[client]
client acl type = posix_acl
fuse default permissions = false
client mount timeout = 30
client caps release delay = 1
CONF
}

daemon() { # daemon NAME COMMAND...
  local name=$1
  shift
  "$@" >>"$dir/log/$name.out" 2>&1 </dev/null || { tail -n 5 "$dir/log/$name.out" >&2; die "$name did not start"; }
}

monitor_and_osd() {
  local keys=$dir/keyring uuid
  ceph-authtool --create-keyring "$keys" --gen-key -n mon. --cap mon 'allow *' >/dev/null
  ceph-authtool "$keys" --gen-key -n client.admin --cap mon 'allow *' --cap osd 'allow *' --cap mds 'allow *' --cap mgr 'allow *' >/dev/null
  ceph-authtool "$keys" --gen-key -n osd.0 --cap mon 'allow profile osd' --cap osd 'allow *' >/dev/null
  ceph-authtool "$keys" --gen-key -n mgr.a --cap mon 'allow profile mgr' --cap osd 'allow *' --cap mds 'allow *' >/dev/null
  ceph-authtool "$keys" --gen-key -n mds.a --cap mon 'allow profile mds' --cap osd 'allow *' --cap mds 'allow' >/dev/null
  monmaptool --create --clobber --fsid "$(sed -n 's/^fsid = //p' "$dir/ceph.conf")" \
    --addv a "[v2:$host:$port,v1:$host:$((port + 1))]" "$dir/monmap" >/dev/null
  tool ceph-mon -i a --mkfs --monmap "$dir/monmap" --keyring "$keys"
  daemon mon tool ceph-mon -i a
  wait_for 60 monitor tool ceph --connect-timeout 20 mon stat
  uuid=$(cat /proc/sys/kernel/random/uuid)
  tool ceph osd new "$uuid" 0 >/dev/null 2>&1
  tool ceph auth import -i "$keys" >/dev/null 2>&1
  daemon osd tool ceph-osd -i 0 --mkfs --osd-uuid "$uuid"
  daemon osd tool ceph-osd -i 0
  osd_up() { tool ceph osd stat | grep -q '1 up'; }
  wait_for 90 OSD osd_up
}

file_system() {
  local pool
  # without it the file system does not know how large it is
  daemon mgr tool ceph-mgr -i a
  for pool in meta data extra; do tool ceph osd pool create "cephfs.$pool" 8 >/dev/null 2>&1; done
  tool ceph fs new cephfs cephfs.meta cephfs.data >/dev/null 2>&1
  # a second data pool, for layouts
  tool ceph fs add_data_pool cephfs cephfs.extra >/dev/null 2>&1
  daemon mds tool ceph-mds -i a
  mds_active() { tool ceph mds stat | grep -q 'up:active'; }
  wait_for 90 MDS mds_active
}

mount_it() {
  [ -c /dev/fuse ] || die "no /dev/fuse"
  mkdir -p "$dir/mnt"
  daemon mount tool ceph-fuse -n client.admin "$dir/mnt"
  wait_for 60 mount grep -q " $dir/mnt fuse.ceph-fuse " /proc/self/mounts
  sized() { [ "$(stat -f -c %b "$dir/mnt")" -gt 0 ]; }
  wait_for 60 'size of the file system' sized
}

start() {
  [ ! -e "$dir" ] || die "$dir is there already"
  mkdir -p "$dir"/{run,log,crash,mon,osd,mgr,mds}
  touch "$dir/.karst-ceph"
  write_conf
  monitor_and_osd
  file_system
  mount_it
}

stop() {
  [ -e "$dir/.karst-ceph" ] || die "$dir is none of ours"
  local file pid
  if grep -q " $dir/mnt fuse" /proc/self/mounts; then umount "$dir/mnt" 2>/dev/null || umount -l "$dir/mnt"; fi
  for file in "$dir"/run/*.pid; do
    [ -s "$file" ] || continue
    pid=$(cat "$file")
    # only what was started with this configuration: a number may be another program's by now
    if tr '\0' ' ' 2>/dev/null <"/proc/$pid/cmdline" | grep -qF "$dir/ceph.conf"; then kill -9 "$pid" 2>/dev/null || true; fi
  done
  rm -rf "$dir"
}

case $action in
  install) install_parts ;;
  start | stop | ceph)
    [ $# -gt 0 ] || die "which folder?"
    dir=$(realpath -m "$1")
    shift
    case $action in
      start) start ;;
      stop) stop ;;
      *) tool "$action" "$@" ;;
    esac
    ;;
  *) sed -n '2,11p' "$0" >&2; exit 2 ;;
esac
