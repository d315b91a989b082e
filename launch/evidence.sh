#!/usr/bin/env bash
# The Reformer paper's tables and figures, at sizes that two cores can train, beside the published numbers: writes each
# PART into docs/results/evidence.md, with the command, the commit, the machine and the minutes it took.
#
# Needs: a release build, python3 and git. A part that was interrupted goes on where it stopped; what is done is not
# repeated. Runs are in checkpoints/evidence/PART; remove that folder to begin anew.
#   launch/evidence.sh [--ranks N] PART...    N: 2; the bits do not depend on it
#   PART: duplication (table 2), reversible (figure 3; needs launch/corpus.sh enwiki-sample)
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

ranks=2
if [[ ${1:-} == --ranks ]]; then
  ranks=${2:-}
  [[ $ranks =~ ^[1-9][0-9]*$ ]] || fail 2 "--ranks takes a number from 1, not '$ranks'"
  shift 2
fi
parts="duplication reversible"
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

# Figure 3: reversible layers beside plain residual blocks, equal steps and seeds; and the memory of both by depth.
reversible() {
  local folder=checkpoints/evidence/reversible residual depth layers changes
  mkdir -p "$folder"
  run "$launch/local.sh" "$ranks" compare configs/compare/residual.toml --json >"$folder/compare.partial"
  mv "$folder/compare.partial" "$folder/compare.json"
  for residual in reversible plain; do
    for depth in 3 6 12 24; do
      layers=$(printf 'lsh,%.0s' $(seq "$depth"))
      changes=(--set "model.residual=$residual" --set "model.layers=[${layers%,}]")
      for command in plan "benchmark --steps 1 --threads 1"; do
        local place=$folder/$residual-$depth-${command%% *}.json
        if [[ -f $place ]]; then continue; fi
        # A command and its options.
        # shellcheck disable=SC2086
        run "$program" $command --json --config configs/small.toml --set run.threads=1 "${changes[@]}" >"$place.partial"
        mv "$place.partial" "$place"
      done
    done
  done
  write_part reversible "$folder"
}

# write_part PART FOLDER: what there is so far, into the page.
write_part() { run python3 "$launch/evidence.py" "$1" "$2" docs/results/evidence.md; }

for part in "$@"; do
  say "$part"
  "$part"
done
