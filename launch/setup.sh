#!/usr/bin/env bash
# Makes this machine ready to build and run: system packages and the Swift version.
#
# Needs: Debian or Ubuntu, and root or sudo if a package is missing. Takes a minute the first time; after
# that it only looks, and needs no network. Further package names are installed as well.
#   launch/setup.sh [PACKAGE...]
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

packages=(libopenmpi-dev openmpi-bin libopenblas-dev libdnnl-dev libssl-dev pkg-config "$@")

if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
  # Elsewhere the names differ; what counts is that pkg-config finds both libraries.
  if command -v mpirun >/dev/null && pkg-config --exists ompi-c openblas 2>/dev/null; then
    say "not Debian, but Open MPI and OpenBLAS are here (oneDNN, libdnnl, is needed too)"
  else
    fail 2 "not a Debian system: install the equivalents of ${packages[*]} yourself" \
      "(pkg-config must find ompi-c and openblas)"
  fi
else
  missing=()
  for package in "${packages[@]}"; do
    # shellcheck disable=SC2016  # ${db:Status-Status} is dpkg-query's syntax, not the shell's.
    status=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null || true)
    [[ $status == installed ]] || missing+=("$package")
  done
  if [[ ${#missing[@]} -gt 0 ]]; then
    command="apt-get update && apt-get install -y --no-install-recommends ${missing[*]}"
    can_be_root || fail 2 "missing packages; run as root: $command"
    say "installing ${missing[*]}"
    # A source that cannot be refreshed is no reason to stop if the packages can be had anyway.
    as_root apt-get update -qq || say "some package lists could not be refreshed"
    as_root env DEBIAN_FRONTEND=noninteractive \
      apt-get install -y -qq --no-install-recommends "${missing[@]}" \
      || fail 1 "could not install ${missing[*]}; apt-get's reason is above"
  fi
fi

get_swift="get Swift 6.2 or later from swift.org/install and put it on PATH"
command -v swift >/dev/null || fail 2 "swift is not on PATH; $get_swift"
version=$(swift --version 2>/dev/null | sed -nE 's/.*Swift version ([0-9]+)\.([0-9]+).*/\1 \2/p')
read -r major minor <<<"$version" || true
if [[ -z ${minor:-} ]]; then fail 2 "cannot tell the version of $(command -v swift); $get_swift"; fi
if ((major * 1000 + minor < 6002)); then fail 2 "Swift $major.$minor is too old; $get_swift"; fi
say "ready (Swift $major.$minor, $(mpirun --version | head -n 1))"
