#!/usr/bin/env bash
# Does to runs of a tiny model what weeks on preemptible nodes do, and checks that nothing is lost:
#   kills       SIGKILL of a random rank, or of mpirun, at random moments; each time resumed with 1, 2 or 4 ranks
#   signals     SIGTERM, SIGINT and SIGUSR1 at random moments: status 0 within 10 s, with a checkpoint
#   corruption  single bytes changed, files cut short or removed: inspect --verify and resume both say so
#   power       the disk is cut off at random moments, what it was not told to flush lost or not, mounted again, resumed
#   disk        full disk, read-only folder, missing permission
#   folders     two runs in one folder; resume with another model
#
# Needs: launch/setup.sh done; root for the parts `disk` and `power`, which are skipped otherwise. Builds the release
# program first if there is none. All parts take about 20 minutes on two cores; KILLS, CUTS, SIGNALS and CORRUPTIONS
# set how much is done (200, 100, 50, 1000), SEED which random moments (1).
#   launch/torture.sh [PART...]
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

kills=${KILLS:-200} cuts=${CUTS:-100} signals=${SIGNALS:-50} corruptions=${CORRUPTIONS:-1000}
RANDOM=${SEED:-1}
parts=("$@")
if ((${#parts[@]} == 0)); then parts=(folders corruption disk power signals kills); fi

program=$PWD/.build/release/reformer-train
[[ -x $program ]] || run swift build -c release --product reformer-train
mpirun=(mpirun --oversubscribe --bind-to none)
if [[ $EUID -eq 0 ]]; then mpirun+=(--allow-run-as-root); fi
export OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1
ulimit -c 0

work=$(mktemp -d)
mounted=()  # the last one mounted first
running=
cleanup() {
  if [[ -n $running ]]; then kill -KILL "$running" 2>/dev/null || true; fi
  unmount
  rm -rf "$work"
}
trap cleanup EXIT

# Unmounts all that is mounted, once nobody uses it any more: ranks outlive mpirun by seconds.
unmount() {
  local place tries
  for place in "${mounted[@]}"; do
    for ((tries = 0; tries < 100; tries++)); do
      if umount "$place" 2>/dev/null; then continue 2; fi
      sleep 0.1
    done
    umount "$place" || true
  done
  mounted=()
}

# ------------------------------------------------------------------ the tiny run

for ((i = 0; i < 3000; i++)); do
  words=(chunk bucket round stream query value byte sort)
  printf '%s ' "${words[RANDOM % 8]}"
done >"$work/corpus"

cat >"$work/tiny.toml" <<TOML
[run]
name = "tiny"
steps = 3000
global_batch = 4
threads = 1
checkpoint_every = 7
evaluate_every = 50
evaluate_bytes = 400
keep_every = 500
[data]
corpus = "$work/corpus"
length = 90
[model]
width = 32
layers = ["local", "lsh", "full"]
heads = 2
head_width = 16
feed_forward_width = 48
axial_shape = [8, 12]
axial_widths = [8, 24]
dropout = 0.1
[attention.local]
chunk = 16
[attention.lsh]
chunk = 16
[optimizer]
learning_rate = 0.003
warmup_steps = 3
TOML

# train RANKS FOLDER ARGUMENT...: in the foreground; RANKS 0 is without mpirun.
train() {
  local launcher=()
  if (($1 > 0)); then launcher=("${mpirun[@]}" -np "$1"); fi
  "${launcher[@]}" "$program" train --config "$work/tiny.toml" --output "$2" "${@:3}" \
    >"$work/log" 2>&1
}

# start RANKS FOLDER ARGUMENT...: in the background, as process $running.
start() {
  local launcher=()
  : >"$work/log"
  if (($1 > 0)); then launcher=("${mpirun[@]}" -np "$1"); fi
  "${launcher[@]}" "$program" train --config "$work/tiny.toml" --output "$2" "${@:3}" \
    >"$work/log" 2>&1 &
  running=$!
}

# Waits for $running and leaves its status in $status.
finish() {
  status=0
  wait "$running" 2>/dev/null || status=$?
  running=
}

digest() { "$program" inspect "$1" --json | grep -o '"parameters_sha256" : "[0-9a-f]*"'; }
step_of() { "$program" inspect "$1" --json | sed -n 's/.*"step" : \([0-9]*\).*/\1/p'; }
wrong() {
  fail 1 "$* (its last output: $(tail -n 3 "$work/log" | tr '\n' '|'))"
}

# pause MOST: sleeps up to MOST milliseconds.
pause() {
  local most=$1
  local ms=$(((RANDOM * 32768 + RANDOM) % most))
  sleep "$((ms / 1000)).$(printf %03d $((ms % 1000)))"
}

# What the run gives when nobody disturbs it.
undisturbed() {
  [[ -z ${expected:-} ]] || return 0
  train 0 "$work/undisturbed" || wrong "the undisturbed run failed"
  expected=$(digest "$work/undisturbed")
}

# Every step folder must verify, and nothing of dead writers may be left after an orderly end.
expect_whole() {
  "$program" inspect "$1" --verify >"$work/verify" 2>&1 \
    || fail 1 "$1: a checkpoint is broken: $(grep error: "$work/verify")"
}
expect_tidy() {
  local left
  left=$(find "$1" -name '*.partial' -o -name '*.removing' -o -name '*.replaced')
  [[ -z $left ]] || fail 1 "leftovers: $left"
}

# ------------------------------------------------------------------ parts

torture_kills() {
  undisturbed
  local folder=$work/kills done_kills=0 runs=0 newest=0 writing=0 ranks status
  local ranks_of=(1 2 4)
  while ((done_kills < kills)); do
    ranks=${ranks_of[RANDOM % 3]}
    start "$ranks" "$folder" --resume auto
    pause 2500
    if kill -0 "$running" 2>/dev/null; then
      # A rank that is gone already is as good as a late kill.
      local victims
      mapfile -t victims < <(pgrep -P "$running" || true)
      victims+=("$running")
      if compgen -G "$folder/*.partial" >/dev/null; then writing=$((writing + 1)); fi
      kill -KILL "${victims[RANDOM % ${#victims[@]}]}" 2>/dev/null || true
      finish
      done_kills=$((done_kills + 1))
    else
      finish
      ((status == 0)) || wrong "a resumed run on $ranks ranks failed with status $status"
    fi
    if compgen -G "$folder/step-*[0-9]" >/dev/null; then
      expect_whole "$folder"
      local now
      now=$(step_of "$folder")
      ((now >= newest)) || fail 1 "step $newest was complete, now the newest is $now"
      newest=$now
    elif ((newest > 0)); then
      fail 1 "step $newest was complete, now there is none"
    fi
    if ((newest == 3000)); then
      runs=$((runs + 1))
      # The kill may have come after the last checkpoint and before the tidy end.
      train 1 "$folder" --resume auto || wrong "a finished run does not resume"
      [[ $(digest "$folder") == "$expected" ]] || fail 1 "other parameters than undisturbed"
      expect_tidy "$folder"
      rm -rf "$folder"
      newest=0
    fi
  done
  train 2 "$folder" --resume auto || wrong "the last resume failed"
  [[ $(digest "$folder") == "$expected" ]] || fail 1 "other parameters than undisturbed"
  expect_tidy "$folder"
  say "kills: $done_kills ($writing while a checkpoint was being written), $((runs + 1)) runs to their end," \
    "all with the undisturbed run's parameters"
}

torture_signals() {
  undisturbed
  local folder=$work/signals sent=0 slowest=0 names=(TERM INT USR1) name status began took last
  while ((sent < signals)); do
    # Alone the process is signalled; under mpirun one of two ranks, or mpirun itself, which passes on USR1.
    local way=$((RANDOM % 3)) target
    name=${names[RANDOM % 3]}
    start $((way == 0 ? 0 : 2)) "$folder" --resume auto
    until grep -q 'run folder' "$work/log" || ! kill -0 "$running" 2>/dev/null; do sleep 0.02; done
    pause 1500
    target=$running
    if ((way == 1)); then
      local ranks
      mapfile -t ranks < <(pgrep -P "$running" || true)
      # Without ranks the run has just ended.
      if ((${#ranks[@]} > 0)); then target=${ranks[RANDOM % ${#ranks[@]}]}; fi
    elif ((way == 2)); then
      name=USR1
    fi
    began=$(date +%s%N)
    if kill -"$name" "$target" 2>/dev/null; then sent=$((sent + 1)); fi
    finish
    took=$((($(date +%s%N) - began) / 1000000))
    ((status == 0)) || wrong "SIG$name: status $status"
    ((took < 10000)) || wrong "SIG$name: the run took $took ms to end"
    if ((took > slowest)); then slowest=$took; fi
    last=$(sed -n 's/^step \([0-9]*\)\/.*/\1/p' "$work/log" | tail -n 1)
    [[ -z $last ]] || (($(step_of "$folder") >= last)) || fail 1 "step $last was done, but is lost"
    expect_tidy "$folder"
    if grep -q "done: checkpoint of step 3000 " "$work/log"; then
      [[ $(digest "$folder") == "$expected" ]] || fail 1 "other parameters than undisturbed"
      rm -rf "$folder"
    fi
  done
  train 1 "$folder" --resume auto || wrong "the last resume failed"
  [[ $(digest "$folder") == "$expected" ]] || fail 1 "other parameters than undisturbed"
  say "signals: $sent, status 0 every time, the slowest end took $slowest ms; parameters as undisturbed"
}

torture_corruption() {
  local folder=$work/corruption step
  train 2 "$folder" --steps 14 || wrong "the run to be damaged failed"
  step=$folder/step-00000014
  local files=("$step"/*) file size place old new name tried=0 cut=0 resumed=0
  expect_seen() {
    local status=0
    "$program" inspect "$step" --verify >"$work/log" 2>&1 || status=$?
    ((status == 2)) || wrong "inspect --verify: status $status for $1"
    grep -q "$(basename "$file")" "$work/log" || wrong "inspect --verify does not name the file of $1"
    # Resume is slower to start, and reads by the same function: every tenth.
    ((tried % 10 == 0)) || return 0
    resumed=$((resumed + 1))
    status=0
    train 0 "$work/other" --resume "$step" || status=$?
    ((status == 2)) || wrong "resume: status $status for $1"
    [[ ! -e $work/other ]] || fail 1 "a refused run left a folder"
  }
  while ((tried < corruptions)); do
    file=${files[RANDOM % ${#files[@]}]}
    size=$(stat -c %s "$file")
    place=$(((RANDOM * 32768 + RANDOM) % size))
    old=$(od -An -tu1 -j "$place" -N 1 "$file")
    new=$(((old + 1 + RANDOM % 255) % 256))
    # shellcheck disable=SC2059  # The format is the byte.
    printf "\\x$(printf %02x "$new")" | dd of="$file" bs=1 seek="$place" conv=notrunc status=none
    tried=$((tried + 1))
    expect_seen "byte $place of $file: $((old)) became $new"
    # shellcheck disable=SC2059
    printf "\\x$(printf %02x "$((old))")" | dd of="$file" bs=1 seek="$place" conv=notrunc status=none
  done
  for file in "${files[@]}"; do
    size=$(stat -c %s "$file")
    cp "$file" "$work/whole"
    for place in 0 1 8 $((size / 2)) $((size - 1)) $((RANDOM % size)) $((RANDOM % size)); do
      truncate -s "$place" "$file"
      tried=$((tried + 1)) cut=$((cut + 1))
      expect_seen "$file cut to $place bytes"
      cp "$work/whole" "$file"
    done
    rm "$file"
    tried=$((tried + 1)) cut=$((cut + 1))
    expect_seen "$file removed"
    cp "$work/whole" "$file"
  done
  expect_whole "$folder"
  # With the newest damaged, resume takes the one before, and says why.
  name=$step/state.json
  truncate -s 5 "$name"
  train 2 "$folder" --resume auto --steps 15 || wrong "resume past a damaged checkpoint failed"
  grep -q "skipping a broken checkpoint: .*step-00000014/state.json" "$work/log" \
    || wrong "the damaged file is not named"
  grep -q "resuming .*step-00000007" "$work/log" || wrong "the checkpoint before was not used"
  say "corruption: $corruptions bytes and $cut cuts, all detected by inspect --verify; $resumed tried with" \
    "resume, all refused"
}

# A disk that forgets: a file system in a file of another file system. What the inner one has not flushed is only in
# the memory of the outer one, which the cut stops from writing any more.
mount_forgetful() {
  mount -o loop "$work/outer.image" "$work/outer" || return
  mounted=("$work/outer")
  if [[ ! -f $work/outer/inner.image ]]; then
    head -c 64M /dev/zero >"$work/outer/inner.image"
    mkfs.ext4 -q -F "$work/outer/inner.image"
    sync "$work/outer/inner.image" "$work/outer"
  fi
  mount -o loop "$work/outer/inner.image" "$work/inner" || return
  mounted=("$work/inner" "${mounted[@]}")
}

# Stops the outer file system at once, its journal included: EXT4_IOC_SHUTDOWN with EXT4_GOING_FLAGS_NOLOGFLUSH.
cut_power() {
  perl -e 'open F, "<", $ARGV[0] or die "$!\n"; my $how = pack "L", 2; ioctl F, 0x8004587d, $how or die "$!\n"' \
    "$work/outer"
}

torture_power() {
  mkdir "$work/outer" "$work/inner"
  truncate -s 96M "$work/outer.image"
  if [[ $EUID -ne 0 ]] || ! mkfs.ext4 -q -F "$work/outer.image" || ! mount_forgetful 2>"$work/log"; then
    unmount
    say "power: skipped, this user may not mount a disk of a file: $(tail -n 1 "$work/log")"
    return 0
  fi
  undisturbed
  local folder=$work/inner/run done_cuts=0 runs=0 told=0 now writing=0 ranks status parts processes
  local ranks_of=(1 2 4)
  while ((done_cuts < cuts)); do
    ranks=${ranks_of[RANDOM % 3]}
    start "$ranks" "$folder" --resume auto
    pause 2500
    # Some of what has not been flushed reaches the disk all the same: a direct read makes its range be written.
    if compgen -G "$folder/*.partial" >/dev/null; then writing=$((writing + 1)); fi
    for ((parts = RANDOM % 16; parts > 0; parts--)); do
      dd if="$work/outer/inner.image" of=/dev/null bs=64k iflag=direct skip=$((RANDOM % 1024)) count=1 status=none
    done
    # A cut may come before the first line of metrics.
    now=$({ grep checkpoint_seconds "$folder/metrics.jsonl" 2>/dev/null || true; } | tail -n 1 \
      | sed 's/.*"step":\([0-9]*\).*/\1/')
    if [[ -n $now ]] && ((now > told)); then told=$now; fi
    cut_power || fail 1 "the disk cannot be cut off"
    done_cuts=$((done_cuts + 1))
    # The machine is off: nobody goes on.
    mapfile -t processes < <(pgrep -P "$running" || true)
    kill -KILL "$running" "${processes[@]}" 2>/dev/null || true
    finish
    unmount
    mount_forgetful || fail 1 "what is left of the disk is no file system"
    if compgen -G "$folder/step-*[0-9]" >/dev/null; then
      expect_whole "$folder"
      now=$(step_of "$folder")
    else
      now=0
    fi
    ((now >= told)) || fail 1 "step $told was complete, now the newest is $now"
    if ((now == 3000)); then
      runs=$((runs + 1))
      train 1 "$folder" --resume auto || wrong "a finished run does not resume"
      [[ $(digest "$folder") == "$expected" ]] || fail 1 "other parameters than undisturbed"
      expect_tidy "$folder"
      rm -rf "$folder"
      sync -f "$work/inner"
      told=0
    fi
  done
  train 2 "$folder" --resume auto || wrong "the last resume failed"
  [[ $(digest "$folder") == "$expected" ]] || fail 1 "other parameters than undisturbed"
  expect_tidy "$folder"
  unmount
  say "power: $done_cuts cuts ($writing while a checkpoint was being written), $((runs + 1)) runs to their end," \
    "all with the undisturbed run's parameters"
}

torture_disk() {
  local disk=$work/disk status=0
  mkdir "$disk"
  if [[ $EUID -ne 0 ]] || ! mount -t tmpfs -o size=1600k tmpfs "$disk" 2>/dev/null; then
    say "disk: skipped, this user may not mount a small file system"
    return 0
  fi
  mounted=("$disk")
  # Room for two checkpoints of about 0.6 MB, not for the third.
  train 2 "$disk/stop" --steps 40 || status=$?
  ((status == 1)) || wrong "full disk: status $status"
  grep -q "^error: checkpoint of step 21 not written: .*No space left on device" "$work/log" \
    || wrong "full disk: no clear error"
  expect_whole "$disk/stop"
  expect_tidy "$disk/stop"
  (($(step_of "$disk/stop") == 14)) || fail 1 "full disk: the checkpoint before is lost"
  rm -rf "$disk/stop"

  head -c 500000 /dev/zero >"$disk/filler"
  start 2 "$disk/on" --set run.on_checkpoint_error=continue
  until grep -q "going on" "$work/log" || ! kill -0 "$running"; do sleep 0.02; done
  rm "$disk/filler"
  rm -rf "$disk"/on/step-00000007
  finish
  ((status == 0 || status == 1)) || wrong "continue: status $status"
  grep -q "warning: checkpoint of step 14 not written" "$work/log" || wrong "continue: no warning"
  expect_whole "$disk/on"
  (($(step_of "$disk/on") > 14)) || fail 1 "continue: no checkpoint after there was room again"
  rm -rf "$disk/on"

  mkdir "$disk/closed"
  mount -o remount,ro "$disk"
  status=0
  train 2 "$disk/closed" || status=$?
  ((status == 2)) || wrong "read-only: status $status"
  grep -q "^error: .*run folder $disk/closed.*Read-only file system" "$work/log" \
    || wrong "read-only: not named"
  ! grep -q "^step 1/" "$work/log" || fail 1 "read-only: noticed after step 1"
  unmount

  status=0
  mkdir -m 755 "$work/foreign"
  chmod 755 "$work"
  setpriv --reuid 65534 --clear-groups "$program" train --config "$work/tiny.toml" \
    --output "$work/foreign/run" >"$work/log" 2>&1 || status=$?
  ((status == 2)) || wrong "no permission: status $status"
  grep -q "^error: .*run folder $work/foreign/run.*Permission denied" "$work/log" \
    || wrong "no permission: not named"
  say "disk: full disk named and earlier checkpoints whole, with stop and with continue; read-only and foreign" \
    "folders named before step 1"
}

torture_folders() {
  local folder=$work/folders status=0
  start 2 "$folder" --set run.steps=1000000 --set run.checkpoint_every=0
  until grep -q "^step 3/" "$work/log" || ! kill -0 "$running"; do sleep 0.02; done
  cp "$work/log" "$work/first.log"
  "$program" train --config "$work/tiny.toml" --output "$folder" --resume auto \
    >"$work/second.log" 2>&1 || status=$?
  ((status == 2)) && grep -q "^error: .*run folder $folder: another run writes here" "$work/second.log" \
    || fail 1 "a second run in one folder: status $status, $(tail -n 1 "$work/second.log")"
  kill -USR1 "$running"
  finish
  ((status == 0)) || wrong "the first run: status $status"
  status=0
  train 0 "$folder" --resume auto --set model.feed_forward_width=64 --set run.seed=5 || status=$?
  ((status == 2)) && grep -q "model.feed_forward_width: 48 in the checkpoint, 64 now" "$work/log" \
    && grep -q "run.seed: 1 in the checkpoint, 5 now" "$work/log" || wrong "another model: $status"
  local step
  step=$(step_of "$folder")
  train 4 "$folder" --resume auto --set optimizer.learning_rate=0.001 --steps $((step + 2)) \
    || wrong "a changed learning rate was refused"
  grep -q "changed since: .*optimizer.learning_rate: 0.003 in the checkpoint, 0.001 now" "$work/log" \
    || wrong "an allowed change is not listed"
  say "folders: a second run and another model are refused, allowed changes are listed"
}

for part in "${parts[@]}"; do
  declare -F "torture_$part" >/dev/null \
    || fail 2 "no part is called $part; there are kills, signals, corruption, power, disk, folders"
  began=$SECONDS
  "torture_$part"
  say "$part took $((SECONDS - began)) s"
done
