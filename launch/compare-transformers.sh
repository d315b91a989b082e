#!/usr/bin/env bash
# Compares this program with Hugging Face's transformers 4.44 on a trained checkpoint: exports it, lets both compute
# logits, loss and gradients of a window of CORPUS with the same rotations, prints the differences, and imports the
# export again, to the same parameters_sha256.
#
# Needs: launch/setup.sh done, a release build, python3 with venv, and a package index for pip (2 GB with torch; kept in
# .build/transformers). Takes a minute. No part of the tests. Its last output: docs/results/exchange.md.
#   launch/compare-transformers.sh CHECKPOINT CORPUS
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

(($# == 2)) || fail 2 "two arguments: a checkpoint, trained with layers and sight that transformers has, and a corpus"
[[ -x $program ]] || fail 2 "$program is missing; $get_program"
venv=.build/transformers
if [[ ! -x $venv/bin/python ]] || ! "$venv/bin/python" -c "import torch, transformers" 2>/dev/null; then
  run python3 -m venv "$venv"
  run "$venv/bin/pip" install -q --extra-index-url https://download.pytorch.org/whl/cpu \
    "torch==2.13.0+cpu" "transformers==4.44.2" "numpy<2" safetensors
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
run "$program" export "$1" --to "$work/exported"
run "$venv/bin/python" "$launch/compare_transformers.py" reference "$work/exported" "$2" "$work/case" 1
run "$program" conformance "$work/case" --verbose
run "$program" import "$work/exported" --to "$work/imported"
