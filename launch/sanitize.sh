#!/usr/bin/env bash
# The tests of what shares memory between threads and of what reads and writes it by address, once under Thread
# Sanitizer and once under Address Sanitizer: a data race, a read past an end or of memory given back ends a run.
#
# Needs: launch/setup.sh done. Builds the tests twice more, optimised, in .build/sanitize-* (ten minutes each on two cores, and 2 GB); the tests
# then take some minutes. Tests that start whole programs are left out.
#   launch/sanitize.sh [thread|address]...      both without a name
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

find_swift
(($#)) || set -- thread address
for name; do
  [[ $name == thread || $name == address ]] || fail 2 "'$name' is no sanitizer here; legal: thread, address"
  options=(-c release --sanitize "$name" --scratch-path ".build/sanitize-$name")
  run swift build --build-tests "${options[@]}"
  # Tests that expect a child process to trap are noise to a sanitizer; LeakSanitizer knows nothing of Swift.
  export TSAN_OPTIONS="halt_on_error=1" ASAN_OPTIONS="detect_leaks=0"
  run swift test --skip-build "${options[@]}" \
    --filter 'ComputeTests|AttentionTests|ReformerTests|OptimizersTests|CommunicationTests' \
    --skip 'RankCheck|million|outOfRange|stretches'
  say "$name sanitizer: nothing found"
done
