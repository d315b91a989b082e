#!/usr/bin/env bash
# Compares every kind of attention with independent code: a small model of each is trained for some steps on CORPUS, and a
# window's logits, loss and gradients with its weights are computed by torch, as whole matrices under masks that
# launch/compare_kinds.py writes from the papers' definitions (`linear` by performer-pytorch). Logits have to agree to 1e-4,
# gradients to 2e-3 of their norms.
#
# Needs: a release build, python3 (3.11 or later) with venv, and a package index for pip (2 GB with torch; kept in
# .build/transformers). Takes some minutes. No part of the tests. Its last output: docs/results/attention.md.
#   launch/compare-kinds.sh CORPUS [KIND…]
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

(($# >= 1)) || fail 2 "no corpus; launch/corpus.sh fetches one: launch/compare-kinds.sh CORPUS [KIND…]"
corpus=$1
shift
[[ -r $corpus && -f $corpus ]] || fail 2 "$corpus: no corpus to read; launch/corpus.sh fetches one"
[[ -x $program ]] || fail 2 "$program is missing; $get_program"

# What differs from the defaults, so that a window of 300 bytes has several of everything.
declare -A sizes=(
  [local]="attention.local.chunk=24"
  [lsh]="attention.lsh.chunk=16 attention.lsh.hashes=2 attention.lsh.buckets=[4,2] attention.lsh.window=20"
  [full]=""
  [sliding]="attention.sliding.window=20 attention.sliding.dilation=[1,3] attention.sliding.global=2 attention.sliding.global_every=50"
  [strided]="attention.strided.stride=24"
  [fixed]="attention.fixed.stride=24 attention.fixed.summary=3"
  [bigbird]="attention.bigbird.block=16 attention.bigbird.window=2 attention.bigbird.global=1 attention.bigbird.random=2"
  [linear]="attention.linear.features=48"
  [compressed]="attention.compressed.block=24 attention.compressed.rows=4"
  [memory]="attention.memory.rows=40"
  # The penalty is in gradients and in no loss.
  [span]="attention.span.maximum=250 attention.span.ramp=16 attention.span.penalty=0"
  [blocks]="attention.blocks.block=16 attention.blocks.window=2 attention.blocks.top=3"
)
kinds=("$@")
((${#kinds[@]})) || mapfile -t kinds < <(printf '%s\n' "${!sizes[@]}" | sort)
for kind in "${kinds[@]}"; do
  [[ -v sizes[$kind] ]] || fail 2 "$kind: no kind of attention that is compared here; there are: $(printf '%s\n' "${!sizes[@]}" | sort | xargs)"
done
need_torch

cat >"$work/kinds.toml" <<TOML
[run]
name = "kinds"
steps = 60
global_batch = 2
threads = 1
evaluate_every = 0
sample_bytes = 0
[data]
length = 300
block = 300
[model]
preset = "native"
width = 64
heads = 2
head_width = 32
feed_forward_width = 128
[model.ngrams]
orders = []
[optimizer]
kind = "adam"
learning_rate = 0.004
warmup_steps = 10
TOML
# Behind the corpus's head: a window, and four of them.
head -c 11200 "$corpus" >"$work/start"
[[ $(wc -c <"$work/start") -eq 11200 ]] || fail 2 "$corpus: too short; 11200 bytes are needed"
tail -c 1200 "$work/start" >"$work/text"
head -c 300 "$work/text" >"$work/window"
torch() { "$venv/bin/python" "$launch/compare_kinds.py" "$@"; }

# train NAME SETTING…: a model in $work/run.
train() {
  local name=$1 settings=(--set "data.corpus=$corpus") setting
  shift
  for setting in "$@"; do settings+=(--set "$setting"); done
  rm -rf "$work/run" "$work/case"
  quietly "$program" train --config "$work/kinds.toml" "${settings[@]}" --output "$work/run" \
    || fail 1 "$name: was not trained: $(tail -n 1 "$work/log")"
}

status=0
for kind in "${kinds[@]}"; do
  read -ra given <<<"${sizes[$kind]}"
  for positions in rotary infused; do
    [[ $positions == rotary || $kind == local || $kind == sliding || $kind == memory ]] || continue
    name="$kind, $positions"
    train "$name" "model.layers=[\"$kind\", \"local\"]" "model.positions=$positions" "${given[@]}"
    quietly torch reference "$work/run" "$work/window" "$work/case" \
      || fail 1 "$name: torch gave no reference: $(tail -n 1 "$work/log")"
    # Exit code 1 is a difference, which its report says.
    "$program" conformance "$work/case" --json >"$work/report" || [[ -s $work/report ]] || exit 1
    torch conformance "$name" "$work/report" || status=1
  done
  [[ $kind == memory ]] || continue
  # Four windows of a stream, each with what is carried over from those before, are one sequence to torch.
  train "memory, in a stream" 'model.layers=["memory", "memory"]' model.token_shift=false data.order=streams \
    run.global_batch=1 attention.memory.rows=200
  "$program" evaluate "$work/run" --corpus "$work/text" --json >"$work/report"
  torch stream "memory, in a stream" "$work/run" "$work/text" "$work/report" || status=1
done
exit "$status"
