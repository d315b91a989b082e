#!/usr/bin/env bash
# Compares translation with a Transformer in torch: this program's model of CONFIG and a plain encoder-decoder of the same
# sizes (launch/compare_translation.py) are trained at the same time, a core each, on the same pairs, for MINUTES; each has
# its learning rate fall to its end then. Both then write the likeliest targets of the first 500 test pairs, which sacrebleu
# scores; the program's own BLEU and chrF of the same targets have to be sacrebleu's.
#
# FOLDER keeps what was trained; what is done is not repeated. Needs: a release build, two
# cores, the corpus of CONFIG, python3 (3.11 or later) with venv, and a package index for pip (2 GB with torch; kept in
# .build/transformers). No part of the tests. Its last output: docs/results/translation.md.
#   launch/compare-translation.sh CONFIG MINUTES SEED FOLDER
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

targets=500
# The best of 0.0005, 0.001 and 0.002 after 330 steps.
torch_rate=0.002

(($# == 4)) || fail 2 "four arguments: CONFIG MINUTES SEED FOLDER"
config=$1 minutes=$2 seed=$3 folder=$4
[[ -r $config && -f $config ]] || fail 2 "$config: no config to read"
[[ $minutes =~ ^[1-9][0-9]*$ ]] || fail 2 "$minutes: MINUTES is a number from 1"
[[ $seed =~ ^[0-9]+$ ]] || fail 2 "$seed: SEED is a number"
[[ $(config_value data task --config "$config") == '"pairs"' ]] \
  || fail 2 "$config: data.task is not \"pairs\", so there is nothing to translate"
corpus=$(config_value data corpus --config "$config" | tr -d '"')
[[ -r $corpus && -f $corpus ]] || fail 2 "$corpus: no corpus to read; launch/corpus.sh fetches one"
[[ -x $program ]] || fail 2 "$program is missing; $get_program"
need_torch
if ! "$venv/bin/python" -c "import sacrebleu" 2>/dev/null; then
  quietly "$venv/bin/pip" install -q "sacrebleu==2.5.1" \
    || fail 1 "pip could not install sacrebleu: $(tail -n 1 "$work/log")"
fi
torch() { run "$venv/bin/python" "$launch/compare_translation.py" "$@"; }
mkdir -p "$folder"

# bf16 where the processor has tiles for it: what is fastest for both.
precision=fp32 settings=(--set "run.seed=$seed" --set run.threads=1)
if grep -qw amx_bf16 /proc/cpuinfo; then
  precision=bf16
  settings+=(--set model.precision=bf16 --set run.matrix_products=amx)
fi
ours=$folder/ours-$seed theirs=$folder/torch-$seed
others=
if [[ ! -f $theirs.json ]]; then
  torch train "$config" "$precision" "$minutes" "$seed" "$torch_rate" "$targets" "$theirs" >"$theirs.log" &
  others=$!
  trap 'kill "$others" 2>/dev/null || true; rm -rf "$work"' EXIT
fi
if [[ ! -f $ours.json ]]; then
  rm -rf "$ours"
  run "$program" train --config "$config" "${settings[@]}" --minutes "$minutes" --output "$ours"
  run "$program" evaluate "$ours" --targets "$targets" --threads 1 --json >"$work/score"
  mv "$work/score" "$ours.json"
fi
torch sources "$config" "$targets" "$work/sources"
run "$program" translate "$ours" "$work/sources" --threads 1 >"$ours.txt"
if [[ -n $others ]]; then
  wait "$others" || fail 1 "torch failed; its log: $theirs.log"
fi
torch table "$config" "$ours" "$theirs"
