#!/usr/bin/env bash
# The Reformer paper's tables and figures, at sizes that two cores can train, beside the published numbers: writes each
# PART into docs/results/evidence.md, with the command, the commit, the machine and the minutes it took.
#
# Needs: a release build, python3 and git. A part that was interrupted goes on where it stopped; what is done is not
# repeated. Runs are in checkpoints/evidence/PART; remove that folder to begin anew.
#   launch/evidence.sh [--ranks N] PART...    N: 2; the bits do not depend on it
#   PART: duplication (table 2), reversible (figure 3), rounds (figure 4), length (figure 5), depth, pixels, genomes.
#   reversible, rounds and depth need launch/corpus.sh enwiki-sample; rounds and pixels photos64; genomes bacteria
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

ranks=2
if [[ ${1:-} == --ranks ]]; then
  ranks=${2:-}
  [[ $ranks =~ ^[1-9][0-9]*$ ]] || fail 2 "--ranks takes a number from 1, not '$ranks'"
  shift 2
fi
parts="duplication reversible rounds length depth pixels genomes"
(($# > 0)) || fail 2 "name one part or several: $parts"
for part in "$@"; do
  [[ " $parts " == *" $part "* ]] || fail 2 "there is no part $part; there are: $parts"
done
[[ -x $program ]] || fail 2 "no program; $get_program"
command -v python3 >/dev/null || fail 2 "python3 is missing; as root: apt-get install python3"

# train FOLDER ARGUMENT...: trains a run to its end, unless it is there already.
train() {
  run "$launch/local.sh" "$ranks" train --output "$1" --resume auto "${@:2}"
}

# evaluate FOLDER NAME ARGUMENT...: the scores of a run as FOLDER/NAME.json, unless they are there already.
evaluate() {
  local scores=$1/$2.json
  if [[ ! -f $scores ]]; then
    run "$program" evaluate "$1" --json "${@:3}" >"$scores.partial"
    mv "$scores.partial" "$scores"
  fi
}

# Table 2: models that learn to repeat a word with some kind of attention, scored with each.
#
# One chunk that holds all positions is full attention, with the same parameters.
duplication() {
  local folder=checkpoints/evidence/duplication seed name
  local -A trained=(
    [full]="--set attention.lsh.chunk=1024"
    [lsh-4]="--set attention.lsh.hashes=4"
    [lsh-2]="--set attention.lsh.hashes=2"
    [lsh-1]="--set attention.lsh.hashes=1"
    [strict-4]="--set attention.lsh.hashes=4 --set attention.lsh.sight=bucket"
  )
  for seed in 1 2 3; do
    for name in full lsh-4 lsh-2 lsh-1 strict-4; do
      local place=$folder/$name-$seed
      # Several options each.
      # shellcheck disable=SC2086
      train "$place" --config configs/duplication.toml --set "run.seed=$seed" ${trained[$name]}
      evaluate "$place" full --bytes 262144 --set attention.lsh.chunk=1024 --set attention.lsh.sight=chunks
      evaluate "$place" lsh --bytes 262144 --set attention.lsh.chunk=64 --hashes 8,4,2,1
    done
    write_part duplication "$folder"
  done
}

# compare SPEC RESULT: runs a comparison, and keeps its table as RESULT.json.
compare() {
  run "$launch/local.sh" "$ranks" compare "$1" --json >"$2.partial"
  mv "$2.partial" "$2.json"
}

# figures RESULT COMMAND...: what a command prints, as RESULT.json, unless it is there already.
figures() {
  local place=$1.json
  if [[ -f $place ]]; then return; fi
  run "$program" "${@:2}" --json >"$place.partial"
  mv "$place.partial" "$place"
}

# Figure 3: reversible layers beside plain residual blocks, equal steps and seeds; and the memory of both by depth.
reversible() {
  local folder=checkpoints/evidence/reversible residual depth layers model
  mkdir -p "$folder"
  compare configs/compare/residual.toml "$folder/compare"
  for residual in reversible plain; do
    for depth in 3 6 12 24; do
      layers=$(printf 'lsh,%.0s' $(seq "$depth"))
      model=(--config configs/small.toml --set run.threads=1 --set "model.residual=$residual" --set "model.layers=[${layers%,}]")
      figures "$folder/$residual-$depth-plan" plan "${model[@]}"
      figures "$folder/$residual-$depth-benchmark" benchmark --steps 1 --threads 1 "${model[@]}"
    done
  done
  write_part reversible "$folder"
}

# Figure 4: hash rounds beside full attention, on text and on images.
rounds() {
  local folder=checkpoints/evidence/rounds data ranks=$ranks
  mkdir -p "$folder"
  for data in "" -pixels; do
    # A step of images is one window.
    if [[ -n $data ]]; then ranks=1; fi
    compare "configs/compare/rounds$data.toml" "$folder/rounds$data"
    write_part rounds "$folder"
  done
}

# Figure 5: seconds of a step of as many bytes by the length of its windows; twice, as a machine has moods.
length() {
  local folder=checkpoints/evidence/length turn length model
  mkdir -p "$folder"
  for turn in 1 2; do
    for length in 1024 4096 16384 65536 262144 1048576; do
      model=(--config configs/compare/length.toml --steps 1 --set "data.length=$length")
      figures "$folder/lsh-$length-$turn" benchmark "${model[@]}" --set "run.global_batch=$((1048576 / length))"
      if ((length <= 16384)); then
        figures "$folder/full-$length-$turn" benchmark "${model[@]}" --set "run.global_batch=$((65536 / length))" \
          --set "model.layers=[full, full]"
      fi
    done
    write_part length "$folder"
  done
}

# More layers: what they cost in memory, and what they bring.
depth() {
  local folder=checkpoints/evidence/depth
  mkdir -p "$folder"
  compare configs/compare/depth.toml "$folder/compare"
  write_part depth "$folder"
}

# Images: bits per dimension of photos that no run was trained on, and completions. A step is one window, so one rank has all
# cores, here and below.
pixels() {
  local run=checkpoints/evidence/pixels ranks=1
  command -v optipng >/dev/null || need_package optipng
  train "$run" --config configs/photos64.toml
  evaluate "$run" validation --split validation
  evaluate "$run" test --split test
  run "$program" complete "$run"
  write_part pixels "$run"
}

# Genomes: bits per base of a species that no run was trained on.
genomes() {
  local run=checkpoints/evidence/genomes ranks=1
  train "$run" --config configs/bacteria.toml
  evaluate "$run" test --split test --bytes 4194304
  write_part genomes "$run"
}

# write_part PART FOLDER: what there is so far, into the page.
write_part() { run python3 "$launch/evidence.py" "$1" "$2" docs/results/evidence.md; }

for part in "$@"; do
  say "$part"
  "$part"
done
