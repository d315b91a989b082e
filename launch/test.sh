#!/usr/bin/env bash
# Everything a change must pass: format, a build without warnings, all tests.
#
# Needs: launch/setup.sh (run here first) and, on the first build, network for the Swift packages. Takes a
# few minutes, most of it the first build. Arguments go to `swift test`, for example --filter CorpusTests.
#   launch/test.sh [ARGUMENT...]
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

launch/setup.sh iproute2  # for the test on two hosts
run swift format lint --strict -r Sources Tests Package.swift
# Release only: one build serves the tests, the program they start and the runs.
run swift build -c release --build-tests
run swift test -c release --skip-build "$@"
