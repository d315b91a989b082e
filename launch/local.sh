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
need_mpirun
[[ -x $program ]] || run swift build -c release --product reformer-train

options=(-np "$ranks")
place_ranks "$ranks"
start_ranks "$@"
finish_ranks
