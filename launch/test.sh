#!/usr/bin/env bash
# Everything a change must pass: format, a build without warnings, all tests.
#
# Needs: launch/setup.sh (run here first) and, on the first build, network for the Swift packages. Takes a
# few minutes, most of it the first build. Arguments go to `swift test`, for example --filter CorpusTests.
# REQUIRE_ALL=1 makes tests fail that this machine cannot run, instead of leaving them out (no mpirun, no network
# namespaces, no permission to mount). --full adds what takes longer or needs more: the Debian package on a clean
# Debian (root, a Debian mirror), a report in headless Chromium and TensorBoard, short torture and short fuzzing; about a quarter of an hour.
#   launch/test.sh [--full] [ARGUMENT...]
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

full=
if [[ ${1:-} == --full ]]; then
  full=yes
  shift
fi
# For the tests on two hosts, of setup.sh itself, and of reports.
launch/setup.sh iproute2 python3 gnupg curl bzip2
find_swift
run swift format lint --strict -r Sources Tests Plugins Package.swift
# Release only: one build serves the tests, the program they start and the runs.
run swift build -c release --build-tests
run swift test -c release --skip-build "$@"
if [[ -n $full ]]; then
  launch/setup.sh chromium python3-venv
  run launch/browse.sh
  run launch/tensorboard.sh
  run launch/try-package.sh
  export KILLS=${KILLS:-20} CUTS=${CUTS:-10} SIGNALS=${SIGNALS:-10} CORRUPTIONS=${CORRUPTIONS:-100}
  run launch/torture.sh
  run launch/fuzz.sh 50000
fi
