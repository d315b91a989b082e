#!/usr/bin/env bash
# Makes this machine ready to build and run: system packages and, where there is none, swift.org's Swift.
#
# Needs: Debian or Ubuntu, and root or sudo if a package is missing. Takes a minute the first time (with Swift, a
# gigabyte to download, some more); after that it only looks, and needs no network. Further package names are
# installed as well. Swift goes to /usr/local, or without root to ~/.local; SWIFT_PREFIX names another folder. It is
# taken only if swift.org's release key has signed it. A mirror is SWIFT_SITE, its keys SWIFT_KEYS, the fingerprint of
# the key to trust SWIFT_KEY.
#   launch/setup.sh [PACKAGE...]
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

# install_packages PACKAGE...: those that are not here yet.
install_packages() {
  local package status missing=()
  for package in "$@"; do
    # shellcheck disable=SC2016  # ${db:Status-Status} is dpkg-query's syntax, not the shell's.
    status=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null || true)
    [[ $status == installed ]] || missing+=("$package")
  done
  if ((${#missing[@]} == 0)); then return; fi
  can_be_root || fail 2 "missing packages; run as root:" \
    "apt-get update && apt-get install -y --no-install-recommends ${missing[*]}"
  say "installing ${missing[*]}"
  # A source that cannot be refreshed is no reason to stop if the packages can be had anyway.
  as_root apt-get update -qq || say "some package lists could not be refreshed"
  as_root env DEBIAN_FRONTEND=noninteractive \
    apt-get install -y -qq --no-install-recommends "${missing[@]}" \
    || fail 1 "could not install ${missing[*]}; apt-get's reason is above"
}

# ---- System packages

packages=(libopenmpi-dev openmpi-bin libopenblas-dev libssl-dev pkg-config "$@")

if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
  # Elsewhere the names differ; what counts is that pkg-config finds the libraries.
  if command -v mpirun >/dev/null && pkg-config --exists ompi-c openblas libcrypto 2>/dev/null; then
    say "not Debian, but Open MPI, OpenBLAS and OpenSSL are here"
  else
    fail 2 "not a Debian system: install the equivalents of ${packages[*]} yourself" \
      "(pkg-config must find ompi-c, openblas and libcrypto)"
  fi
else
  install_packages "${packages[@]}"
fi

# ---- Swift

get_swift="get Swift 6.2 or later from swift.org/install and put it on PATH"
toolchain=6.3.1
site=${SWIFT_SITE:-https://download.swift.org}
keys=${SWIFT_KEYS:-https://www.swift.org/keys/all-keys.asc}
# "Swift 6.x Release Signing Key".
key=${SWIFT_KEY:-52BB7E3DE28A71BE22EC05FFEF80A866B47A981F}

download() {
  show curl "$1"
  curl --fail --location --silent --show-error --retry 2 --connect-timeout 20 --output "$2" "$1" \
    || fail 1 "could not download $1 (the reason is above); Swift was not installed"
}

# Fetches, verifies and unpacks swift.org's toolchain for this distribution.
install_swift() {
  local platform folder archive release=swift-$toolchain-RELEASE link prefix needed ID='' VERSION_ID=''
  # shellcheck disable=SC1090
  source "${OS_RELEASE:-/etc/os-release}"
  case "$ID $VERSION_ID" in
    "debian 12") platform=debian12 needed=(libstdc++-12-dev) ;;
    "ubuntu 22.04") platform=ubuntu22.04 needed=(libstdc++-11-dev) ;;
    "ubuntu 24.04") platform=ubuntu24.04 needed=(libstdc++-13-dev) ;;
    *) fail 2 "swift is not on PATH, and there is no known toolchain for $ID $VERSION_ID; $get_swift" ;;
  esac
  case $(uname -m) in
    x86_64) ;;
    aarch64) platform+=-aarch64 ;;
    *) fail 2 "swift is not on PATH, and swift.org has no toolchain for $(uname -m); $get_swift" ;;
  esac
  install_packages ca-certificates curl gnupg binutils gcc git libc6-dev libcurl4-openssl-dev libedit-dev \
    libncurses-dev libpython3-dev libsqlite3-dev libxml2-dev tzdata zlib1g-dev "${needed[@]}"

  as_owner() { "$@"; }
  prefix=${SWIFT_PREFIX:-}
  if [[ -z $prefix ]]; then
    prefix=~/.local
    if can_be_root; then
      prefix=/usr/local
      as_owner() { as_root "$@"; }
    fi
  fi
  folder=$prefix/lib/swift-$toolchain
  work=$(mktemp -d)
  trap 'rm -rf "$work"' EXIT
  archive=$site/swift-$toolchain-release/${platform//./}/$release/$release-$platform.tar.gz
  say "Swift is not here; fetching $archive (about a gigabyte)"
  download "$keys" "$work/keys"
  download "$archive.sig" "$work/signature"
  download "$archive" "$work/archive"

  mkdir -m 700 "$work/gnupg"
  gpg --homedir "$work/gnupg" --batch --quiet --import "$work/keys" 2>"$work/said" || true
  # Whoever signed must be the one key we know, however many others came with it.
  gpg --homedir "$work/gnupg" --batch --status-fd 1 --verify "$work/signature" "$work/archive" \
    >"$work/status" 2>>"$work/said" || true
  gpgconf --homedir "$work/gnupg" --kill all 2>/dev/null || true
  if ! grep -q "^\[GNUPG:\] GOODSIG " "$work/status" \
    || ! grep -q "^\[GNUPG:\] VALIDSIG .* $key\$" "$work/status"; then
    cat "$work/said" >&2
    fail 1 "$archive is not signed by key $key; it was not installed"
  fi

  as_owner mkdir -p "$folder.partial" "$prefix/bin"
  as_owner tar -xzf "$work/archive" --no-same-owner --strip-components=1 -C "$folder.partial"
  as_owner rm -rf "$folder"
  as_owner mv "$folder.partial" "$folder"
  for link in swift swiftc; do as_owner ln -sfn "$folder/usr/bin/$link" "$prefix/bin/$link"; done
  rm -rf "$work"
  trap - EXIT
  say "Swift $toolchain is in $folder, verified"
  PATH=$PATH:$prefix/bin
  [[ :$users_path: == *":$prefix/bin:"* ]] || say "put it on your PATH: export PATH=\$PATH:$prefix/bin"
}

command -v swift >/dev/null || install_swift
version=$(swift --version 2>/dev/null | sed -nE 's/.*Swift version ([0-9]+)\.([0-9]+).*/\1 \2/p')
read -r major minor <<<"$version" || true
if [[ -z ${minor:-} ]]; then fail 2 "cannot tell the version of $(command -v swift); $get_swift"; fi
if ((major * 1000 + minor < 6002)); then fail 2 "Swift $major.$minor is too old; $get_swift"; fi
say "ready (Swift $major.$minor, $(mpirun --version | head -n 1))"
