#!/usr/bin/env bash
# Runs reformer-train on this machine with RANKS processes.
#
# Needs: launch/setup.sh done. Builds the release program first if there is none (a few minutes). Paths
# in the arguments are relative to the checkout's top folder. Open MPI reads further options from its
# OMPI_MCA_* variables.
#   launch/local.sh RANKS [ARGUMENT...]
#   launch/local.sh 2 --config configs/quickstart.toml --resume auto
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

ranks=${1:-}
[[ $ranks =~ ^[1-9][0-9]*$ ]] \
  || fail 2 "the first argument is the number of ranks, 1 or more, not '$ranks'"
shift
command -v mpirun >/dev/null || fail 2 "mpirun is not on PATH; launch/setup.sh installs it"

program=.build/release/reformer-train
[[ -x $program ]] || run swift build -c release --product reformer-train

options=(-np "$ranks")
# Open MPI refuses root unless told; in a container there is often nobody else.
if [[ $EUID -eq 0 ]]; then options+=(--allow-run-as-root); fi

# Cores this process may use. Open MPI counts cores, not hardware threads, and so do we.
cores=$(lscpu -p=CORE,SOCKET 2>/dev/null | grep -v '^#' | sort -u | wc -l || true)
allowed=$(nproc)
if ((cores == 0 || cores > allowed)); then cores=$allowed; fi
numa_nodes=$(lscpu -p=NODE 2>/dev/null | grep -v '^#' | sort -u | wc -l || true)

# A rank may run several threads, so it is never tied to one core. With several memory nodes a rank
# stays on one of them, close to its data; otherwise, or with more ranks than cores, the kernel places
# it: fixed places would collide with those of any other job on this machine.
if ((ranks > cores)); then
  options+=(--oversubscribe --bind-to none)
elif ((numa_nodes > 1 && ranks > 1)); then
  options+=(--map-by numa --bind-to numa)
else
  options+=(--bind-to none)
fi

# The trainer cuts its own tiles and runs its own threads; a threaded BLAS below them only gets in
# the way.
export OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1
command=(mpirun "${options[@]}" "$program" "$@")
show "${command[@]}"
# Replaces this shell, so that a signal to it reaches mpirun, which ends all ranks.
exec "${command[@]}"
