#!/usr/bin/env bash
# Trains variants of a config on equal bytes, or for equal minutes, with several seeds each, and prints a table of what
# they learnt, in bits per byte: while they saw each byte for the first time (prequential), on the validation split, on the test
# split. Mean and, in brackets, least and most over the seeds.
#
# VARIANTS is a file of lines NAME KEY=VALUE..., the keys that --set would change; '#' begins a comment. A run that is
# done is not repeated, and one that was interrupted goes on. Takes what the runs take, one after the other.
#   launch/learning.sh --config FILE --bytes NUMBER [--seeds "1 2 3"] [--ranks 1] [--output FOLDER] VARIANTS
#   launch/learning.sh --config FILE --minutes NUMBER ...
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

usage() {
  fail 2 "usage: launch/learning.sh --config FILE (--bytes NUMBER | --minutes NUMBER) [--seeds LIST] [--ranks NUMBER] [--output FOLDER] VARIANTS"
}

config='' bytes='' minutes='' seeds='1 2 3' ranks=1 output=checkpoints/learning variants=''
while (($# > 0)); do
  case $1 in
    --config | --bytes | --minutes | --seeds | --ranks | --output)
      (($# > 1)) || usage
      printf -v "${1#--}" '%s' "$2"
      shift
      ;;
    -*) usage ;;
    *) [[ -z $variants ]] || usage; variants=$1 ;;
  esac
  shift
done
[[ -n $config && -n $variants && -n $bytes$minutes ]] || usage
[[ -z $bytes || -z $minutes ]] || fail 2 "give --bytes or --minutes, not both"
[[ -z $bytes || $bytes =~ ^[1-9][0-9]{0,11}$ ]] || fail 2 "--bytes $bytes; legal values: 1 to 999999999999"
for file in "$config" "$variants"; do [[ -r $file ]] || fail 2 "$file cannot be read"; done
[[ -x $program ]] || fail 2 "no program; $get_program"

# Prints the last value of number KEY in the JSON lines of standard input: number_of KEY
number_of() {
  sed -n "s/.*\"$1\" *: *\(-\{0,1\}[0-9][-+0-9.eE]*\).*/\1/p" | tail -n 1
}

# Sets `length` to the options that make a run with ARGUMENT... as long as asked for.
set_length() {
  if [[ -n $minutes ]]; then
    length=(--minutes "$minutes")
    return
  fi
  # Stages are shares of the run, so its bytes grow with its steps.
  local planned
  planned=$("$program" plan --json "$@" --set run.steps=1000000 | number_of trained_bytes)
  local steps=$(((bytes * 1000000 + planned / 2) / planned))
  length=(--set "run.steps=$((steps > 0 ? steps : 1))")
}

# Trains variant NAME with seed SEED and KEY=VALUE..., and prints its figures as a line.
measure() {
  local name=$1 seed=$2 length=() settings=() setting
  local folder=$output/$name-$seed
  shift 2
  for setting in "$@" "run.seed=$seed" run.evaluate_every=0 run.checkpoint_every=0; do
    settings+=(--set "$setting")
  done
  if [[ ! -f $folder/test.json ]]; then
    set_length --config "$config" "${settings[@]}"
    "$launch/local.sh" "$ranks" train --config "$config" "${settings[@]}" "${length[@]}" \
      --output "$folder" --resume auto >&2
    "$launch/local.sh" "$ranks" evaluate "$folder" --split test --json >"$folder/test.json.partial"
    mv "$folder/test.json.partial" "$folder/test.json"
  fi
  local metrics=$folder/metrics.jsonl test
  # The score of all bytes stands before the lists of those of some.
  test=$(sed '/\[/,$d' "$folder/test.json" | number_of bits_per_byte)
  # Bytes per second over all steps, evaluations and checkpoints left out.
  awk -v name="$name" -v prequential="$(number_of prequential_bits_per_byte <"$metrics")" \
    -v validation="$(number_of validation_bits_per_byte <"$metrics")" \
    -v test="$test" '
    match($0, /"step_seconds":[-+0-9.eE]+/) { seconds += substr($0, RSTART + 15, RLENGTH - 15) }
    match($0, /"trained_bytes":[0-9]+/) { bytes = substr($0, RSTART + 16, RLENGTH - 16) }
    END { print name, prequential, validation, test, bytes, bytes / seconds }' "$metrics"
}

mkdir -p "$output"
figures=$output/figures.txt
: >"$figures"
while read -r name settings <&3; do
  [[ -n $name ]] || continue
  for seed in $seeds; do
    # Words of a line are settings.
    # shellcheck disable=SC2086
    measure "$name" "$seed" $settings >>"$figures"
  done
done 3< <(sed 's/#.*//' "$variants")

awk '
  function column(i) {
    return sprintf("%.4f (%.4f to %.4f)", sum[name, i] / runs[name], least[name, i], most[name, i])
  }
  !($1 in runs) { names[++count] = $1 }
  {
    runs[$1]++
    for (i = 2; i <= NF; i++) {
      sum[$1, i] += $i
      if (runs[$1] == 1 || $i < least[$1, i]) least[$1, i] = $i
      if (runs[$1] == 1 || $i > most[$1, i]) most[$1, i] = $i
    }
  }
  END {
    print "| variant | runs | prequential | validation | test | bytes | bytes/s |"
    print "| --- | --- | --- | --- | --- | --- | --- |"
    for (n = 1; n <= count; n++) {
      name = names[n]
      printf "| %s | %d | %s | %s | %s | %d | %d (%d to %d) |\n", name, runs[name], column(2), column(3),
        column(4), sum[name, 5] / runs[name], sum[name, 6] / runs[name], least[name, 6], most[name, 6]
    }
  }' "$figures"
