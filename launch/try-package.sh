#!/usr/bin/env bash
# Tries the Debian package on a clean Debian 12, made by debootstrap in a folder: it installs without a Swift
# toolchain, trains configs/debug.toml alone and on two ranks to the same parameters, and leaves nothing when removed.
#
# Needs: root, and a Debian mirror within reach (this machine's, or MIRROR). Takes five minutes and 1 GB in /var/tmp,
# some more where the package has to be made first (launch/package.sh). Leaves nothing behind.
#   launch/try-package.sh [PACKAGE]
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

[[ $EUID -eq 0 ]] || fail 2 "only root may run debootstrap and chroot"
need_package debootstrap
package=${1:-}
if [[ -z $package ]]; then package=$("$launch/package.sh" | tail -n 1); fi
[[ -f $package ]] || fail 2 "no package at '$package'"
mirror=${MIRROR:-}
if [[ -z $mirror ]]; then
  # shellcheck disable=SC2016  # $(…) is apt-get's syntax here.
  mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Codename: bookworm' 2>/dev/null \
    | grep '/debian/*$' | head -n 1 || true)
fi

root=$(mktemp -d /var/tmp/debian.XXXXXX)
clean_up() {
  local place
  for place in proc dev/shm dev; do umount "$root/$place" 2>/dev/null || true; done
  # Never through a mount that stayed.
  rm -rf --one-file-system "$root"
}
trap clean_up EXIT
run debootstrap --variant=minbase bookworm "$root" ${mirror:+"$mirror"} >"$root.log" 2>&1 || {
  tail -n 3 "$root.log" >&2
  rm -f "$root.log"
  fail 1 "debootstrap failed (see above); MIRROR names another Debian mirror"
}
rm -f "$root.log"
mount -t proc proc "$root/proc"
mount --bind /dev "$root/dev"
mount -t tmpfs tmpfs "$root/dev/shm"
# Whatever this machine needs to reach the mirror.
cp /etc/resolv.conf "$root/etc/resolv.conf"
cp "$package" "$root/root/reformer-train.deb"
inside() {
  show chroot "$@"
  env -i HOME=/root PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive \
    ${http_proxy:+"http_proxy=$http_proxy"} chroot "$root" bash -ec "cd /root; $1"
}
inside "apt-get update -qq; apt-get install -y -qq --no-install-recommends ./reformer-train.deb >/dev/null"
# Each check is the last command of its own line: before others bash -e does not heed a negation.
inside "! command -v swift"
inside "! find / -xdev -name 'libswift*' | grep ."
inside "reformer-train --version; zcat /usr/share/man/man1/reformer-train.1.gz | grep -q '^.Nm reformer-train'"
inside "source /usr/share/bash-completion/completions/reformer-train; complete -p reformer-train"
inside "/usr/share/reformer-train/launch/corpus.sh foldoc"
inside "reformer-train --config /usr/share/reformer-train/configs/debug.toml"
inside "/usr/share/reformer-train/launch/local.sh 2 --config /usr/share/reformer-train/configs/debug.toml --output two"
# Not by name, so that a digest that is printed otherwise does not pass for equal.
inside "for run in checkpoints/debug two; do
  reformer-train inspect \$run --json | grep -oE '\"parameters_sha256\" *: *\"[0-9a-f]{64}\"'; done | uniq -c | grep -q ' 2 '"
inside "dpkg --purge reformer-train"
inside "! find / -xdev -path /proc -prune -o -path '*/usr/*reformer-train*' -print | grep ."
say "$package: installs on a clean Debian 12, trains alone and on two ranks to the same parameters, and is removed whole"
