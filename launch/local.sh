#!/usr/bin/env bash
# Runs reformer-train on this machine with RANKS processes.
#
# Needs: launch/setup.sh done, or the package installed. In a checkout it builds the release program first if there
# is none (a few minutes), and paths in the arguments are relative to the top folder. Open MPI reads further options
# from its OMPI_MCA_* variables.
#   launch/local.sh RANKS [ARGUMENT...]
#   launch/local.sh 2 --config configs/quickstart.toml --resume auto
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

ranks=${1:-}
[[ $ranks =~ ^[1-9][0-9]*$ ]] \
  || fail 2 "the first argument is the number of ranks, 1 or more, not '$ranks'"
shift
need_mpirun
if [[ ! -x $program ]]; then
  [[ -f Package.swift ]] || fail 2 "$program is missing; $get_program"
  run swift build -c release --product reformer-train
fi

options=(-np "$ranks")
place_ranks "$ranks"
start_ranks "$@"
await_ranks
exit "$status"
