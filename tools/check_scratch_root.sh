#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# check_scratch_root.sh [--reverse] [--quick] [--mirror URL] [--base DIR] [--cache DIR] [--keep DIR]: a newcomer's first hour.
# Makes a bare Debian 12, clones HEAD into it, and runs the README's commands there, as they stand and in its order, then
# ./dev build; with --reverse the other way round. A command that fails, or a test run without the Python package, is a
# failure; the last lines say how long each took.
#
#   --quick       compiles without optimisation, in joined units: for the order and the packages, not for times
#   --mirror URL  where debootstrap fetches from; its own default unless told otherwise; security updates come from
#                 URL-security
#   --base DIR    a bare root that is copied; made there where it does not exist yet
#   --cache DIR   a folder of ccache, for both orders to be checked in less than an hour (times are not a newcomer's then)
#   --keep DIR    the root, kept; else a temporary one that is removed
#
# Needs root, debootstrap and a network. Nothing outside the root is changed: mounts are in a namespace of their own.
set -euo pipefail

source_root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
reverse='' quick='' mirror='' base='' cache='' root=''
fail() {
  printf 'check_scratch_root: %s\n' "$*" >&2
  exit 1
}
while (($#)); do
  case $1 in
    --reverse) reverse=yes ;;
    --quick) quick=yes ;;
    --mirror) mirror=${2:?--mirror URL} && shift ;;
    --base) base=${2:?--base DIR} && shift ;;
    --cache) cache=${2:?--cache DIR} && shift ;;
    --keep) root=${2:?--keep DIR} && shift ;;
    *) fail "unknown argument $1" ;;
  esac
  shift
done
[[ $(id -u) -eq 0 ]] || fail "only root can make a root: please run it with sudo"
command -v debootstrap >/dev/null || fail "please install debootstrap"

# Mounts vanish with this namespace, and processes that a command left behind with it.
if [[ -z ${HORUS_SCRATCH_INSIDE:-} ]]; then
  if [[ -z $root ]]; then
    root=$(mktemp -d)
    trap 'rm -rf --one-file-system "$root"' EXIT
  fi
  arguments=(--keep "$root")
  [[ -n $mirror ]] && arguments+=(--mirror "$mirror")
  [[ -n $base ]] && arguments+=(--base "$base")
  [[ -n $cache ]] && arguments+=(--cache "$(realpath "$cache")")
  [[ -n $reverse ]] && arguments+=(--reverse)
  [[ -n $quick ]] && arguments+=(--quick)
  HORUS_SCRATCH_INSIDE=yes unshare --mount --propagation private --pid --fork --kill-child \
    "${BASH_SOURCE[0]}" "${arguments[@]}"
  exit
fi

make_base() {
  debootstrap --variant=minbase --include=ca-certificates bookworm "$1" ${mirror:+"$mirror"} >"$1.log" 2>&1 || fail "see $1.log"
  # Debian's installer adds the updates.
  local place
  place=$(sed -n 's/^deb \([^ ]*\) .*/\1/p' "$1/etc/apt/sources.list")
  printf 'deb %s main\n' "$place bookworm" "$place bookworm-updates" "$place-security bookworm-security" \
    >"$1/etc/apt/sources.list"
  rm -rf "$1"/var/lib/apt/lists/*
}
if [[ -n $base ]]; then
  [[ -d $base ]] || make_base "$base"
  mkdir -p "$root"
  cp -a "$base/." "$root"
else
  make_base "$root"
fi
cp /etc/resolv.conf "$root/etc/resolv.conf"
# Debian's installer writes it, and debootstrap does not.
printf '127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n' >"$root/etc/hosts"
for name in meson ninja clang++-19 g++ pkg-config; do
  if chroot "$root" sh -c "command -v $name" >/dev/null; then fail "$root is not bare: it has $name"; fi
done
git clone --quiet --no-hardlinks "$source_root" "$root/home/newcomer/horus"

mount -t proc proc "$root/proc"
mount --rbind /sys "$root/sys"
mount --rbind /dev "$root/dev"
mount -t tmpfs -o mode=1777 tmpfs "$root/dev/shm"
variables=(HOME=/root LANG=C.UTF-8 PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin)
if [[ -n $cache ]]; then
  mkdir -p "$root/ccache"
  mount --bind "$cache" "$root/ccache"
  chroot "$root" env "${variables[@]}" sh -c 'apt-get -qq update && apt-get -qq install -y --no-install-recommends ccache' >/dev/null
  variables+=(CCACHE_DIR=/ccache CCACHE_COMPILERCHECK=content)
fi

if [[ -n $quick ]]; then variables+=("HORUS_MESON_OPTIONS=-Doptimization=0 -Ddebug=false -Djumbo=true"); fi

# The README's first program, for its compile line.
awk '/^```cpp$/ { on = 1; next } /^```$/ { if (on) exit } on' "$source_root/README.md" >"$root/home/newcomer/horus/gps.cpp"
# `$ COMMAND  # what it does`
mapfile -t commands < <(sed -n 's/^\$ \(.*\)/\1/p' "$source_root/README.md" | sed 's/  *#.*//')
((${#commands[@]} >= 5)) || fail "the README has ${#commands[@]} commands: is it read wrongly?"
commands+=("./dev build")
if [[ -n $reverse ]]; then
  commands=("./dev python examples/python/asyncio_nodes.py" "./dev build" "./dev test" "./dev demo")
fi

times=()
for command in "${commands[@]}"; do
  printf '\n=== %s\n' "$command"
  started=$SECONDS status=0
  chroot "$root" env -i "${variables[@]}" TERM="${TERM:-dumb}" bash -c "cd /home/newcomer/horus && $command" </dev/null || status=$?
  took=$((SECONDS - started))
  times+=("$(printf '%2d min %2d s  %s' $((took / 60)) $((took % 60)) "$command")")
  ((status == 0)) || fail "$command: exit code $status"
  if [[ $command == "./dev test" ]]; then
    python_tests=$(grep -c '"name": "py/' "$root/home/newcomer/horus/build/meson-logs/testlog.json" || true)
    ((python_tests >= 20)) || fail "$command ran $python_tests tests of the Python package"
    times[-1]+=" ($python_tests tests of the Python package)"
  fi
done
printf '\n'
printf '%s\n' "${times[@]}"
