#!/usr/bin/env bash
# Feeds every reader of files (tensor headers and files, manifests, states, configs, models of transformers) damaged
# inputs: the tests' fuzzing with more inputs, another seed, and no more than 1 GB of address space, so that an input
# that asks for more ends the run. A crash ends it too; the input that did it is then kept, and named.
#
# Needs: launch/setup.sh done. Builds the tests first. A million inputs per reader take about twenty minutes, most of
# them for models of transformers.
#   launch/fuzz.sh [INPUTS [SEED]]      INPUTS per reader, default 1000000; SEED default: the time
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

inputs=${1:-1000000} seed=${2:-$(date +%s)}
[[ $inputs =~ ^[1-9][0-9]*$ && $seed =~ ^[1-9][0-9]*$ ]] \
  || fail 2 "INPUTS and SEED are whole numbers from 1 on, not '$inputs' and '$seed'"
run swift build -c release --build-tests
trace=$(mktemp -d /dev/shm/fuzz.XXXXXX 2>/dev/null || mktemp -d)
trap 'rm -rf "$trace"' EXIT
ulimit -c 0
ulimit -v 1000000
# The tests' own files go to memory too: a disk would set the pace.
mkdir "$trace/tmp"
export FUZZ_INPUTS=$inputs FUZZ_SEED=$seed FUZZ_TRACE=$trace TMPDIR=$trace/tmp
# The tests' program itself: "swift test" would be under the limit too, and can stand still there.
if ! run .build/release/reformer-trainPackageTests.xctest --testing-library swift-testing --filter FuzzTests; then
  kept=.build/fuzz-$seed
  rm -rf "$kept" "$trace/tmp"
  cp -r "$trace" "$kept"
  fail 1 "seed $seed found something; the last input of each reader is in $kept"
fi
say "$inputs inputs per reader with seed $seed: no crash, no hang, no message of more than a line"
