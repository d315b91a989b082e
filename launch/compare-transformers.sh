#!/usr/bin/env bash
# Compares this program with Hugging Face's transformers 4.44.
#
# With a trained checkpoint: exports it, lets both compute logits, loss and gradients of a window of CORPUS with the
# same rotations, prints the differences, and imports the export again, to the same parameters_sha256. Then both train
# a new model of that shape for 200 steps from the same first values, on the same windows with the same rotations, and
# the losses of both are printed, beside how far first values that differ by 1e-6 move those of transformers.
# With --enwik8-shape: a model of google/reformer-enwik8's shape, as transformers draws it, is imported, planned, and
# trained for a step on a window of LENGTH bytes (4096), with the parameters of configs/enwik8-paper.toml.
#
# Needs: a release build, python3 with venv, and a package index for pip (2 GB with torch; kept in
# .build/transformers). Takes ten minutes for a small model, half of them as long as four times 200 steps of
# transformers; the other form 3 GB of memory and some minutes. No part of the tests. Its last output:
# docs/results/exchange.md.
#   launch/compare-transformers.sh CHECKPOINT CORPUS
#   launch/compare-transformers.sh --enwik8-shape CORPUS [LENGTH]
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

(($# == 2)) || [[ ${1:-} == --enwik8-shape && $# -eq 3 ]] \
  || fail 2 "two arguments: a checkpoint, trained with layers and sight that transformers has, or --enwik8-shape, and a corpus"
[[ -r $2 && -f $2 ]] || fail 2 "$2: no corpus to read; launch/corpus.sh fetches one"
[[ -x $program ]] || fail 2 "$program is missing; $get_program"
need_torch
transformers() { run "$venv/bin/python" "$launch/compare_transformers.py" "$@"; }

if [[ $1 == --enwik8-shape ]]; then
  settings=(--config configs/enwik8-paper.toml --set "data.corpus=$2" --set "data.length=${3:-4096}"
    --set run.global_batch=1 --set run.evaluate_every=0 --set run.evaluate_bytes=1024)
  transformers random-model "$work/model"
  run "$program" import "$work/model" --to "$work/imported" --byte-offset 2
  run "$program" plan "${settings[@]}"
  run "$program" train "${settings[@]}" --from "$work/imported" --steps 1 --output "$work/run"
  exit
fi
run "$program" export "$1" --to "$work/exported"
transformers reference "$work/exported" "$2" "$work/case"
run "$program" conformance "$work/case" --verbose
run "$program" import "$work/exported" --to "$work/imported"
transformers training "$work/exported" "$2" "$work/training"
run "$program" conformance "$work/training"
