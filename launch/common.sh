# shellcheck shell=bash
# Shared by the scripts beside it, which source it. In a checkout they work from its top folder, whatever folder
# they were called from; installed by the Debian package, in the folder they are called from, on the program it
# installed. They stop at the first failing command.
set -euo pipefail
launch=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
if [[ -f $launch/../Package.swift ]]; then
  cd "$launch/.."
  program=.build/release/reformer-train
  get_program="run: swift build -c release --product reformer-train"
else
  program=$(command -v reformer-train || echo /usr/bin/reformer-train)
  get_program="install the package reformer-train"
fi

users_path=$PATH
# Finds the Swift that launch/setup.sh installs for a user who is not root.
find_swift() {
  command -v swift >/dev/null || PATH=$PATH:${SWIFT_PREFIX:-$HOME/.local}/bin
}
find_swift

say() { printf '%s: %s\n' "$(basename "$0")" "$*"; }

# fail STATUS TEXT: 2 when the user has to change something, 1 when something else went wrong.
fail() {
  local status=$1
  shift
  printf '%s: %s\n' "$(basename "$0")" "$*" >&2
  exit "$status"
}

# Prints a command as it could be typed.
show() {
  printf '+' >&2
  printf ' %q' "$@" >&2
  printf '\n' >&2
}

run() {
  show "$@"
  "$@"
}

# Whether commands can be run as root without asking anybody.
can_be_root() { [[ $EUID -eq 0 ]] || sudo -n true 2>/dev/null; }

as_root() {
  if [[ $EUID -eq 0 ]]; then run "$@"; else run sudo -n "$@"; fi
}

# Installs Debian packages; a checkout does so by its setup.sh.
need_package() {
  if [[ -x $launch/setup.sh ]]; then
    "$launch/setup.sh" "$@"
  else
    fail 2 "missing packages; run as root: apt-get install $*"
  fi
}

# ---- Starting ranks

need_mpirun() {
  command -v mpirun >/dev/null \
    || fail 2 "mpirun is not on PATH; install Open MPI (Debian: openmpi-bin; in a checkout: launch/setup.sh)"
}

# Adds to `options` where mpirun puts PER_HOST ranks on a host like this one.
#
# A rank may run several threads, so it is never tied to one core. With several memory nodes a rank stays on
# one of them, close to its data; otherwise, or with more ranks than cores, the kernel places it: fixed
# places would collide with those of any other job on the machine.
place_ranks() {
  local per_host=$1 cores allowed numa_nodes
  # Open MPI refuses root unless told; in a container there is often nobody else.
  if [[ $EUID -eq 0 ]]; then options+=(--allow-run-as-root); fi
  # Cores this process may use. Open MPI counts cores, not hardware threads, and so do we.
  cores=$(lscpu -p=CORE,SOCKET 2>/dev/null | grep -v '^#' | sort -u | wc -l || true)
  allowed=$(nproc)
  if ((cores == 0 || cores > allowed)); then cores=$allowed; fi
  numa_nodes=$(lscpu -p=NODE 2>/dev/null | grep -v '^#' | sort -u | wc -l || true)
  if ((per_host > cores)); then
    options+=(--oversubscribe --bind-to none)
  elif ((numa_nodes > 1 && per_host > 1)); then
    options+=(--map-by numa --bind-to numa)
  else
    options+=(--bind-to none)
  fi
}

# Starts mpirun with `options` in the background, its process in `launched`.
#
# A signal to this shell, Ctrl-C too, becomes SIGUSR1: the one that mpirun passes on and then waits. At any other
# it gives its ranks a second, too short for a checkpoint. A process group of its own keeps Ctrl-C from it.
# `signalled` says afterwards whether there was one. A second Ctrl-C or SIGTERM ends a run that does not end by
# itself, because a rank is stuck.
start_ranks() {
  # The trainer cuts its own tiles and runs its own threads; a threaded BLAS below them only gets in the way.
  export OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1
  local command=(mpirun "${options[@]}" "$program" "$@")
  show "${command[@]}"
  signalled=
  set -m
  "${command[@]}" </dev/null &
  launched=$!
  set +m
  trap stop_ranks USR1
  trap 'if [[ -z $signalled ]]; then stop_ranks; else end_ranks; fi' INT TERM
}

stop_ranks() {
  if [[ -z $signalled ]]; then say "stopping, with a checkpoint; once more ends the run as it is" >&2; fi
  signalled=yes
  kill -USR1 "$launched" 2>/dev/null || true
}

end_ranks() {
  say "ending the run as it is" >&2
  signalled=twice
  # mpirun kills its ranks a second after it has asked them. Where it is stuck itself, it is killed too.
  kill -TERM "$launched" 2>/dev/null || true
  {
    for ((tenths = 0; tenths < 100; tenths++)); do
      sleep 0.1
      kill -0 "$launched" 2>/dev/null || exit 0
    done
    kill -KILL "$launched"
  } >/dev/null 2>&1 &
  disown
}

# Waits for the process `launched`, and leaves in `status` what became of the run: 0 done, 2 wrong input, 1 failed.
await_ranks() {
  # A signal ends a wait early; the last wait is for the status, which the shell keeps.
  while kill -0 "$launched" 2>/dev/null; do wait "$launched" || true; done
  status=0
  wait "$launched" || status=$?
  if [[ $signalled == twice ]] || ((status != 0 && status != 2)); then status=1; fi
}

# ---- Reading the arguments of a run

# Whether ARGUMENT... trains, rather than being another command's.
is_training() { [[ ${1:-} == train || ${1:-} == -* ]]; }

# Prints every value of option NAME in ARGUMENT..., one a line: values_of NAME ARGUMENT...
values_of() {
  local name=$1
  shift
  while (($# > 0)); do
    if [[ $1 == "$name="* ]]; then
      printf '%s\n' "${1#*=}"
    elif [[ $1 == "$name" && $# -gt 1 ]]; then
      printf '%s\n' "$2"
      shift
    fi
    shift
  done
}

# Prints the value of KEY in SECTION of the config and the changes that ARGUMENT... name, as it stands there:
# config_value SECTION KEY ARGUMENT...
config_value() {
  local section=$1 key=$2 changed file
  shift 2
  changed=$(values_of --set "$@" | sed -n "s/^$section\\.$key=//p" | tail -n 1)
  if [[ -n $changed ]]; then
    printf '%s\n' "$changed"
    return
  fi
  file=$(values_of --config "$@" | tail -n 1)
  if [[ ! -r $file ]]; then return; fi
  # A value may be a list over several lines.
  awk -v section="$section" -v key="$key" '
    /^[ \t]*\[/ && !open { inside = ($0 ~ "^[ \t]*\\[+" section "\\]"); next }
    open { print; if (/\]/) open = 0; next }
    inside && $0 ~ "^[ \t]*" key "[ \t]*=" {
      sub(/^[^=]*=[ \t]*/, ""); print; open = /^\[/ && !/\]/
    }' "$file"
}

# Prints the folder that a training with ARGUMENT... writes to.
run_folder() {
  local folder
  folder=$(values_of --output "$@" | tail -n 1)
  if [[ -z $folder ]]; then folder=checkpoints/$(config_value run name "$@" | tr -d "\"' " | sed 's/#.*//'); fi
  printf '%s\n' "$folder"
}

# Prints the newest complete step folder in FOLDER; names sort by step, and a manifest comes last.
newest_step() {
  local manifest newest=
  for manifest in "$1"/step-*[0-9]/manifest.json; do
    if [[ -f $manifest ]]; then newest=${manifest%/*}; fi
  done
  printf '%s\n' "$newest"
}

# Sets `arguments` to ARGUMENT... as they have to be when the run was begun before: from its newest checkpoint,
# or, before there is one, as the user said, wherever that was to begin.
going_on() {
  arguments=()
  local has_step
  has_step=$(newest_step "$(run_folder "$@")")
  if [[ -z $has_step && " $* " == *" --resume"[=\ ]* ]]; then
    arguments=("$@")
    return
  fi
  while (($# > 0)); do
    case $1 in
      --resume=*) ;;
      --resume) if [[ -n ${2:-} && $2 != -* ]]; then shift; fi ;;
      *) arguments+=("$1") ;;
    esac
    shift
  done
  arguments+=(--resume auto)
}

# Prints how many ranks go on where WANTED no longer fit: the largest of WANTED's halves, quarters ... up to MOST,
# or 1. With these the bits are those of WANTED ranks (README, "The same bits at any scale").
fitting_ranks() {
  local ranks=$1 most=$2
  while ((ranks > most)); do
    if ((ranks % 2 == 0)); then ranks=$((ranks / 2)); else ranks=1; fi
  done
  echo "$ranks"
}

# ---- Other people's code, to compare with

# Runs a command whose output stays in $work/log.
quietly() {
  show "$@"
  "$@" >"$work/log" 2>&1
}

# Makes `venv`, a Python with torch and what is built on it, and `work`, a folder that goes when the script ends.
need_torch() {
  command -v python3 >/dev/null || fail 2 "python3 is missing; as root: apt-get install python3-venv"
  venv=.build/transformers
  work=$(mktemp -d)
  trap 'rm -rf "$work"' EXIT
  if "$venv/bin/python" -c "import torch, transformers, safetensors, performer_pytorch" 2>/dev/null; then return; fi
  quietly python3 -m venv "$venv" \
    || fail 2 "python3 could not make $venv; as root: apt-get install python3-venv"
  quietly "$venv/bin/pip" install -q --extra-index-url https://download.pytorch.org/whl/cpu \
    "torch==2.13.0+cpu" "transformers==4.44.2" "numpy<2" safetensors "performer-pytorch==1.1.4" \
    || fail 1 "pip could not install torch and transformers: $(tail -n 1 "$work/log")"
}
