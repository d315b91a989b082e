#!/usr/bin/env bash
# Every kernel compiled for aarch64 and run by an emulator, and at each level that this processor has: all must give
# the digests that the tests pin. One line per difference, and status 1, where one does not.
#
# Needs: launch/setup.sh done (qemu-user and a C library for aarch64 are installed if missing). Takes a minute.
#   launch/arm.sh [GOLDEN]      GOLDEN: the digests to expect, default Tests/KernelGolden/golden.txt
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

golden=${1:-Tests/KernelGolden/golden.txt}
[[ -r $golden ]] || fail 2 "cannot read $golden"
launch/setup.sh qemu-user libc6-dev-arm64-cross
emulator=$(command -v qemu-aarch64 || command -v qemu-aarch64-static) \
  || fail 2 "qemu-aarch64 is not on PATH: install your system's qemu for user programs"
clang=$(command -v clang || echo "$(dirname "$(readlink -f "$(command -v swift)")")/clang")
[[ -x $clang ]] || fail 2 "clang, part of the Swift toolchain, is neither on PATH nor beside swift"
root=/usr/aarch64-linux-gnu
[[ -r $root/lib/crt1.o ]] || fail 2 "no C library for aarch64 in $root (Debian: libc6-dev-arm64-cross)"

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
sources=(Sources/CKernels/*.c Tests/KernelGolden/*.c)
options=(-O3 -fno-math-errno -std=gnu17 -Wall -Wextra -Werror
  -ISources/CKernels/include -ITests/KernelGolden/include)
# The C library's own parts for starting, named here: a whole cross compiler would bring the same.
run "$clang" --target=aarch64-linux-gnu -fuse-ld=lld -nostdlib -no-pie -isystem "$root/include" \
  "${options[@]}" "$root"/lib/crt{1,i}.o "${sources[@]}" "-L$root/lib" -lc "$root/lib/crtn.o" \
  -o "$folder/arm"
run "$clang" "${options[@]}" "${sources[@]}" -o "$folder/here"

differences=0
# compare NAME FILE: says where the digests of FILE are not those of GOLDEN.
compare() {
  local line
  while IFS= read -r line; do
    say "$1: $line"
    differences=$((differences + 1))
  done < <(awk '
    { digest = $NF; name = $0; sub(/ [^ ]*$/, "", name) }
    NR == FNR { golden[name] = digest; next }
    { seen[name] = 1 }
    !(name in golden) { print name " is not in the golden file"; next }
    golden[name] != digest { print name " is " digest ", expected " golden[name] }
    END { for (name in golden) if (!(name in seen)) print name " is missing" }' "$golden" "$2")
}

levels=("aarch64")
run "$emulator" -L "$root" "$folder/arm" >"$folder/result" || fail 1 "the program for aarch64 failed"
compare aarch64 "$folder/result"
for level in portable avx2 avx512 avx512-bf16 amx; do
  status=0
  REFORMER_INSTRUCTIONS=$level "$folder/here" >"$folder/result" || status=$?
  # Status 3: not a level of this processor.
  ((status != 3)) || continue
  ((status == 0)) || fail 1 "the program at level $level failed"
  levels+=("$level")
  compare "$level" "$folder/result"
done
((differences == 0)) || fail 1 "$differences differences from $golden"
say "all digests of $golden at: ${levels[*]}"
