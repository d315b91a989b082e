#!/usr/bin/env bash
# Runs reformer-train on several hosts over the network: as many ranks per host as its line in HOSTFILE says.
#
# Needs: launch/setup.sh done on every host; ssh from here to each without a password; this checkout, with the same
# release program, and the corpus at the same paths everywhere (a shared file system, or copies); the run folder on
# a shared file system. All but the last are checked first (a second per host), with what to do where one fails.
# A line of HOSTFILE is a host and its ranks, best one rank per memory (NUMA) node: "node07 slots=2".
# Open MPI reads further options from OMPI_MCA_* variables: OMPI_MCA_btl_tcp_if_include=10.0.0.0/8 chooses the
# network, OMPI_MCA_plm_rsh_agent a replacement for ssh.
#   launch/hosts.sh HOSTFILE [ARGUMENT...]
#   launch/hosts.sh hosts.txt --config configs/small.toml --resume auto
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

file=${1:-}
[[ -f $file && -r $file ]] || fail 2 "the first argument is a file of hosts, not '$file'"
shift
need_mpirun
[[ -x $program ]] || fail 2 "$program is not built; run: swift build -c release --product reformer-train"

hosts=()
ranks=0
most=0
while read -r host rest; do
  if [[ -z $host || $host == \#* ]]; then continue; fi
  slots=1
  if [[ $rest =~ slots=([0-9]+) ]]; then slots=${BASH_REMATCH[1]}; fi
  ((slots >= 1)) || fail 2 "$file: $host has slots=$slots; 1 or more ranks"
  hosts+=("$host")
  ranks=$((ranks + slots))
  if ((slots > most)); then most=$slots; fi
done <"$file"
((ranks > 0)) || fail 2 "$file names no host; a line is: node07 slots=2"

read -ra agent <<<"${OMPI_MCA_plm_rsh_agent:-ssh -o BatchMode=yes -o ConnectTimeout=10}"
place="$PWD/$program"
mine=$(sha256sum "$place" | cut -d ' ' -f 1)
for host in "${hosts[@]}"; do
  theirs=$("${agent[@]}" "$host" "command -v orted >/dev/null || echo no-mpi; sha256sum '$place' 2>/dev/null" \
    </dev/null 2>/dev/null | cut -d ' ' -f 1) \
    || fail 2 "cannot run a command on $host with ${agent[*]}; see that \"${agent[*]} $host true\" works"
  case $theirs in
    "$mine") ;;
    no-mpi*) fail 2 "$host has no Open MPI (orted) on its PATH; run launch/setup.sh there" ;;
    "") fail 2 "$host has no $place; build there, or share this folder with it" ;;
    *) fail 2 "$host has another $place (its SHA-256 differs); copy this one there" ;;
  esac
done

options=(-np "$ranks" --hostfile "$file" -x OMP_NUM_THREADS -x OPENBLAS_NUM_THREADS)
place_ranks "$most"

# When a host has fallen silent, the ranks end by themselves (run.wait_limit_seconds), but mpirun would go on
# waiting for the helper it started there. So it is watched, and ended where it does not end after its ranks.
failed=$(mktemp -u)
trap 'rm -f "$failed"' EXIT
relay() {
  local line
  while IFS= read -r line; do
    printf '%s\n' "$line" >&2
    if [[ $line == "error: "* || $line == *"MPI_ABORT was invoked"* ]]; then : >"$failed"; fi
  done
}
start_ranks "$@" 2> >(relay)
patience=50
while kill -0 "$launched" 2>/dev/null; do
  # In the background, so that a signal is passed on at once.
  sleep 0.2 &
  wait $! || true
  if [[ -e $failed ]] && ((--patience == 0)); then
    say "a host cannot be reached; ending mpirun"
    # Asked politely, Open MPI 4.1 crashes in this state.
    disown "$launched"
    kill -KILL "$launched"
    exit 1
  fi
done
finish_ranks
