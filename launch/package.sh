#!/usr/bin/env bash
# Makes a Debian package: program, completions for bash, zsh and fish, manual page, configs and launch scripts. It
# installs on a Debian 12 of the same processor family without a Swift toolchain; apt brings the libraries.
#
# Needs: launch/setup.sh done; dpkg-dev and git are installed where they are missing. Takes two minutes, after a
# release build. launch/try-package.sh tries it. Prints the package's path, in FOLDER (default .build/package).
#   launch/package.sh [FOLDER]
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

folder=$(realpath -m "${1:-.build/package}")
need_package dpkg-dev git >&2
find_swift
run swift build -c release --product reformer-train >&2

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
root=$work/root
install -d "$root"/usr/{bin,share/man/man1,share/zsh/vendor-completions,share/fish/vendor_completions.d} \
  "$root"/usr/share/{bash-completion/completions,doc/reformer-train,reformer-train/{configs,launch}}

# Of one commit all packages are alike, to the byte.
SOURCE_DATE_EPOCH=$(git log -1 --format=%ct 2>/dev/null || date +%s)
export SOURCE_DATE_EPOCH
version=$("$program" --version | grep -oE '^[0-9]+(\.[0-9]+)*' | head -n 1)
if git rev-parse HEAD >/dev/null 2>&1; then
  version+=+git$(git rev-list --count HEAD).$(git rev-parse --short=8 HEAD)
fi
architecture=$(dpkg --print-architecture)

# ---- Files

strip -o "$root/usr/bin/reformer-train" "$program"
for shell in bash zsh fish; do
  "$program" --generate-completion-script "$shell" >"$work/$shell"
done
install -m 644 "$work/bash" "$root/usr/share/bash-completion/completions/reformer-train"
install -m 644 "$work/zsh" "$root/usr/share/zsh/vendor-completions/_reformer-train"
install -m 644 "$work/fish" "$root/usr/share/fish/vendor_completions.d/reformer-train.fish"
# The argument parser's own generator writes the manual page from the commands' help. Built in a folder of its own:
# as a plugin it would build the program anew, with other options.
run swift build --scratch-path .build/manual --product generate-manual >&2
.build/manual/debug/generate-manual "$program" --date "$(date -u -d "@$SOURCE_DATE_EPOCH" +%F)" \
  --output-directory - | gzip -9n >"$root/usr/share/man/man1/reformer-train.1.gz"
install -m 644 configs/*.toml "$root/usr/share/reformer-train/configs"
install -d "$root/usr/share/reformer-train/configs/compare"
install -m 644 configs/compare/*.toml "$root/usr/share/reformer-train/configs/compare"
install -m 755 launch/{corpus,local,hosts}.sh launch/slurm.sbatch "$root/usr/share/reformer-train/launch"
install -m 644 launch/{common.sh,README.md} "$root/usr/share/reformer-train/launch"
{
  echo "reformer-train, and in its program the Swift runtime and Foundation, swift-argument-parser and swift-log"
  echo "(swift.org, Apache License 2.0 with Runtime Library Exception) and ICU (unicode.org, Unicode License)."
  echo
  cat LICENSE
} >"$root/usr/share/doc/reformer-train/copyright"

# ---- What it needs, as Debian's own tool reads it from the program

mkdir "$work/debian"
printf 'Source: reformer-train\n\nPackage: reformer-train\nArchitecture: any\n' >"$work/debian/control"
libraries=$(cd "$work" && dpkg-shlibdeps -O root/usr/bin/reformer-train 2>"$work/said" \
  | sed -n 's/^shlibs:Depends=//p')
[[ -n $libraries ]] || fail 1 "dpkg-shlibdeps finds no libraries: $(tail -n 1 "$work/said")"

mkdir "$root/DEBIAN"
cat >"$root/DEBIAN/control" <<CONTROL
Package: reformer-train
Version: $version
Architecture: $architecture
Maintainer: The reformer-train authors <reformer-train@example.invalid>
Installed-Size: $(du -sk --apparent-size "$root/usr" | cut -f 1)
Depends: $libraries, openmpi-bin
Recommends: openssh-client, python3
Section: science
Priority: optional
Description: trainer of byte-level language models with very long context
 Trains reversible LSH Reformers on 4 Ki to 1 Mi bytes of context on processors alone, by itself or as ranks of
 mpirun, with the same bits at any number of ranks. Configs and launch scripts for one machine, several hosts and
 Slurm are in /usr/share/reformer-train.
CONTROL
find "$root" -type d -exec chmod 755 {} +
mkdir -p "$folder"
package=$folder/reformer-train_${version}_$architecture.deb
run dpkg-deb --root-owner-group --build "$root" "$package" >&2
echo "$package"
