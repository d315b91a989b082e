#!/usr/bin/env bash
# Runs reformer-train on several hosts over the network: as many ranks per host as its line in HOSTFILE says.
#
# Needs: on every host Open MPI, OpenBLAS and the other libraries of the program (launch/setup.sh, or the Debian
# package); ssh from here to each without a password; this folder, with the same release program, and the corpus at
# the same paths everywhere (a shared file system, or copies); the run folder on a shared file system. All but the
# last are checked first, on all hosts at once (seconds), with what to do where one fails.
# A line of HOSTFILE is a host and its ranks, best one rank per memory (NUMA) node: "node07 slots=2".
# With --restart hosts that fail these checks are left out, and a training that loses a host goes on from its newest
# checkpoint on those that are left, with as many ranks as give the same bits; as does one that failed otherwise,
# but wrote a checkpoint since it was last started. Without it a failure ends the run, for you to look at.
# Open MPI reads further options from OMPI_MCA_* variables: OMPI_MCA_btl_tcp_if_include=10.0.0.0/8 chooses the
# network, OMPI_MCA_plm_rsh_agent a replacement for ssh.
#   launch/hosts.sh [--restart] HOSTFILE [ARGUMENT...]
#   launch/hosts.sh hosts.txt --config configs/small.toml --resume auto
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

restart=
if [[ ${1:-} == --restart ]]; then
  restart=yes
  shift
fi
file=${1:-}
[[ -f $file && -r $file ]] || fail 2 "the first argument is a file of hosts, not '$file'"
shift
[[ -z $restart ]] || is_training "$@" || fail 2 "--restart is for training, not for '${1:-}'"
need_mpirun
[[ -x $program ]] || fail 2 "$program is missing; $get_program"

# ---- HOSTFILE

hosts=()
declare -A slots_of
wanted=0 line_number=0
while read -r -a words || ((${#words[@]} > 0)); do
  line_number=$((line_number + 1))
  words=("${words[@]%$'\r'}")
  host=${words[0]:-}
  if [[ -z $host || $host == \#* ]]; then continue; fi
  here="$file, line $line_number"
  [[ $host =~ ^([A-Za-z0-9_][A-Za-z0-9_.-]*@)?[A-Za-z0-9][A-Za-z0-9_.:-]*$ ]] \
    || fail 2 "$here: '$host' is no host; a line is: node07 slots=2"
  [[ -z ${slots_of[$host]:-} ]] || fail 2 "$here: $host is there twice; give it all its ranks in one line"
  slots=1
  for word in "${words[@]:1}"; do
    case $word in
      "") ;;
      \#*) break ;;
      # In base 10: a leading zero would make it octal.
      slots=*[!0-9]* | slots= | slots=???????*) fail 2 "$here: $word; slots is a whole number of ranks" ;;
      slots=*) slots=$((10#${word#slots=})) ;;
      # Open MPI's limit, which it only looks at when told to put more ranks on a host than it has slots.
      max-slots=* | max_slots=*) ;;
      *) fail 2 "$here: '$word' is not understood; a line is: node07 slots=2" ;;
    esac
  done
  ((slots >= 1)) || fail 2 "$here: $host has slots=$slots; 1 or more ranks"
  hosts+=("$host")
  slots_of[$host]=$slots
  wanted=$((wanted + slots))
done <"$file"
((wanted > 0)) || fail 2 "$file names no host; a line is: node07 slots=2"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# ---- Is each host fit for the run?

# For any shell at the other end, bash's own way of quoting is too much.
quoted() { printf "'%s'" "${1//\'/\'\\\'\'}"; }

corpora=()
if is_training "$@"; then
  while read -r value; do
    quotes=$(grep -oE "\"[^\"]*\"|'[^']*'" <<<"$value" || true)
    # A line of a list may hold no more than a bracket.
    if [[ -z $quotes && $value == *[][]* ]]; then continue; fi
    while read -r corpus; do
      corpus=${corpus#[\"\']}
      corpus=${corpus%[\"\']}
      # A name stands for the file that launch/corpus.sh makes.
      if [[ -n $corpus ]]; then corpora+=("${corpus/#corpus:/corpora/}"); fi
    done <<<"${quotes:-$value}"
  done < <(config_value data corpus "$@"; config_value 'data[.]mix' path "$@")
fi
[[ $program == /* ]] && place=$program || place=$PWD/$program
mine=$(sha256sum "$place" | cut -d ' ' -f 1)
read -ra agent <<<"${OMPI_MCA_plm_rsh_agent:-ssh -o BatchMode=yes -o ConnectTimeout=10}"

# What a host is asked; it says a line for each thing that is wrong.
question="cd $(quoted "$PWD") 2>/dev/null || { echo folder; echo asked; exit 0; }
command -v orted >/dev/null || echo mpi
if [ -x $(quoted "$place") ]; then
  echo digest \$(sha256sum $(quoted "$place"))
  said=\$($(quoted "$place") --version 2>&1) || echo start \$said
else
  echo program
fi"
for corpus in "${corpora[@]}"; do
  question+="
[ -r $(quoted "$corpus") ] || echo corpus $(quoted "$corpus")"
done
question+="
echo asked"

ask() {
  timeout 60 "${agent[@]}" "$1" "sh -c $(quoted "$question")" </dev/null >"$work/$1.said" 2>"$work/$1.error" || true
}

# Prints what is wrong with a host that was asked, and nothing for one that is fit.
wrong_with() {
  local host=$1 topic rest answered=
  while read -r topic rest; do
    case $topic in
      asked) answered=yes ;;
      folder) echo "has no folder $PWD; share it with that host, or put a copy there" ;;
      mpi) echo "has no Open MPI (orted) on its PATH; install openmpi-bin there (launch/setup.sh does)" ;;
      program) echo "has no $place; share this folder with it, or put the program there" ;;
      digest)
        [[ ${rest%% *} == "$mine" ]] || echo "has another $place (its SHA-256 differs); copy this one there"
        ;;
      start) echo "cannot start $place ($rest); install what is missing there (launch/setup.sh does)" ;;
      corpus) echo "has no corpus $rest in $PWD; put it there (launch/corpus.sh fetches some)" ;;
    esac
  done <"$work/$host.said"
  if [[ -z $answered ]]; then
    rest=$(tail -n 1 "$work/$host.error")
    echo "runs no command by ${agent[*]}${rest:+ ($rest)}; see that \"${agent[*]} $host true\" works"
  fi
}

# Leaves in `fit` the hosts of `hosts` that can take part, and names the others.
check_hosts() {
  local host line asking=()
  fit=()
  for host in "${hosts[@]}"; do
    ask "$host" &
    asking+=($!)
  done
  for host in "${asking[@]}"; do wait "$host" || true; done
  for host in "${hosts[@]}"; do
    line=$(wrong_with "$host" | head -n 1)
    if [[ -z $line ]]; then fit+=("$host"); else say "$host $line" >&2; fi
  done
}

# ---- One run of mpirun

relay() {
  local line
  while IFS= read -r line; do
    printf '%s\n' "$line" >&2
    if [[ $line == "error: "* || $line == *"MPI_ABORT was invoked"* ]]; then : >"$work/failed"; fi
  done
}

# Runs ARGUMENT... on the hosts `fit`; `status` is what became of it.
run_on_hosts() {
  local host available=0 most=0 ranks
  : >"$work/hosts"
  for host in "${fit[@]}"; do
    echo "$host slots=${slots_of[$host]}" >>"$work/hosts"
    available=$((available + slots_of[$host]))
    if ((slots_of[$host] > most)); then most=${slots_of[$host]}; fi
  done
  ranks=$(fitting_ranks "$wanted" "$available")
  if ((ranks < wanted)); then
    say "$ranks ranks instead of $wanted: ${#fit[@]} of ${#hosts[@]} hosts are left, and the bits stay the same" >&2
  fi
  options=(-np "$ranks" --hostfile "$work/hosts" -x OMP_NUM_THREADS -x OPENBLAS_NUM_THREADS)
  place_ranks "$most"
  rm -f "$work/failed"
  start_ranks "$@" 2> >(relay)
  # When a host has fallen silent, the ranks end by themselves (run.wait_limit_seconds), but mpirun would go on
  # waiting for the helper it started there. So it is watched, and ended where it does not end after its ranks.
  local patience=50
  while kill -0 "$launched" 2>/dev/null; do
    # In the background, so that a signal is passed on at once.
    sleep 0.2 &
    wait $! || true
    if [[ -e $work/failed ]] && ((--patience == 0)); then
      say "a host cannot be reached; ending mpirun" >&2
      # Asked politely, Open MPI 4.1 crashes in this state.
      disown "$launched"
      kill -KILL "$launched"
      status=1
      return
    fi
  done
  await_ranks
}

# ---- The run, and what follows a failure

check_hosts
((${#fit[@]} > 0)) || fail 2 "not started: no host is fit for the run (see above)"
[[ -n $restart || ${#fit[@]} -eq ${#hosts[@]} ]] \
  || fail 2 "not started: not all hosts are fit for the run (see above; --restart would leave them out)"
arguments=("$@")
while :; do
  taking_part=("${fit[@]}")
  if [[ -n $restart ]]; then before=$(newest_step "$(run_folder "$@")"); fi
  run_on_hosts "${arguments[@]}"
  if ((status != 1)) || [[ -z $restart || -n $signalled ]]; then exit "$status"; fi

  say "the run failed; looking for hosts that are lost" >&2
  check_hosts
  ((${#fit[@]} > 0)) || fail 1 "not started again: no host is left"
  after=$(newest_step "$(run_folder "$@")")
  if [[ ${fit[*]} == "${taking_part[*]}" && $after == "$before" ]]; then
    fail 1 "not started again: all hosts are there, and no checkpoint was written since the last start"
  fi
  # Somebody may have asked for the end meanwhile.
  if [[ -n $signalled ]]; then exit 1; fi
  going_on "$@"
  say "going on from ${after:-the start} on ${fit[*]}" >&2
done
