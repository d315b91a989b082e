# shellcheck shell=bash
# Shared by the scripts beside it, which source it: they work from the checkout's top folder, whatever
# folder they were called from, and stop at the first failing command.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

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

# ---- Starting ranks
program=.build/release/reformer-train

need_mpirun() {
  command -v mpirun >/dev/null || fail 2 "mpirun is not on PATH; launch/setup.sh installs it"
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
start_ranks() {
  # The trainer cuts its own tiles and runs its own threads; a threaded BLAS below them only gets in the way.
  export OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1
  local command=(mpirun "${options[@]}" "$program" "$@")
  show "${command[@]}"
  set -m
  "${command[@]}" </dev/null &
  launched=$!
  set +m
  trap 'kill -USR1 "$launched" 2>/dev/null || true' INT TERM USR1
}

# Waits for the ranks and ends with their status.
finish_ranks() {
  local status=0
  # A signal ends a wait early.
  while kill -0 "$launched" 2>/dev/null; do
    status=0
    wait "$launched" || status=$?
  done
  exit "$status"
}
