#!/usr/bin/env bash
# Runs a command as ranks on two hosts that are network namespaces of this machine, joined by one cable (a veth
# pair) of a chosen rate and delay. The ranks talk TCP, as over a real network; the tests cut the cable.
#
# Needs: root, iproute2 (ip, tc) and a kernel that permits namespaces: exit code 3 and the reason where it does
# not. Starts within a second; leaves nothing behind. NAME tells several pairs on one machine apart.
#   launch/two-hosts.sh [--name NAME] [--rate 1gbit] [--delay 2ms] [--ranks PER_HOST] COMMAND [ARGUMENT...]
#   launch/two-hosts.sh --rate 1gbit .build/release/reformer-train --config configs/debug.toml
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

name=rt$$
rate= delay=
ranks=1
while [[ ${1:-} == --* ]]; do
  [[ -n ${2:-} ]] || fail 2 "$1 needs a value"
  case $1 in
    --name) name=$2 ;;
    --rate) rate=$2 ;;
    --delay) delay=$2 ;;
    --ranks) ranks=$2 ;;
    *) fail 2 "unknown option $1; see the top of $0" ;;
  esac
  shift 2
done
[[ $# -gt 0 ]] || fail 2 "no command to run; see the top of $0"
[[ $name =~ ^[a-z0-9]{1,12}$ ]] || fail 2 "--name $name; 1 to 12 letters or digits"
[[ $ranks =~ ^[1-9][0-9]*$ ]] || fail 2 "--ranks $ranks; 1 or more"
command -v mpirun >/dev/null || fail 2 "mpirun is not on PATH; launch/setup.sh installs it"
for tool in ip tc; do
  command -v $tool >/dev/null || fail 3 "$tool is not on PATH; launch/setup.sh iproute2 installs it"
done
[[ $EUID -eq 0 ]] || fail 3 "only root may make network namespaces"

folder=$(mktemp -d)
clean_up() {
  for host in a b; do
    # Whatever still runs in a namespace would keep it and its cable alive.
    ip netns pids "$name$host" 2>/dev/null | xargs -r kill -9 2>/dev/null || true
    ip netns delete "$name$host" 2>/dev/null || true
  done
  rm -rf "$folder"
}
trap clean_up EXIT
# Shapes what a host sends. netem can do both, but only the token bucket is in every kernel.
shape=()
if [[ -n $delay ]]; then
  shape=(netem delay "$delay" limit 100000)
  if [[ -n $rate ]]; then shape+=(rate "$rate"); fi
elif [[ -n $rate ]]; then
  shape=(tbf rate "$rate" burst 256kb latency 100ms)
fi
refused() { fail 3 "this kernel does not permit $1 (a container without CAP_SYS_ADMIN or CAP_NET_ADMIN?)"; }

for host in a b; do
  ip netns add "$name$host" 2>/dev/null || refused "network namespaces"
  ip -n "$name$host" link set lo up
done
ip link add "${name}a" netns "${name}a" type veth peer name "${name}b" netns "${name}b" 2>/dev/null \
  || refused "veth pairs"
for host in a b; do
  # Addresses for documentation (RFC 5737): they collide with no network.
  [[ $host == a ]] && address=192.0.2.1 || address=192.0.2.2
  ip -n "$name$host" address add $address/24 dev "$name$host"
  ip -n "$name$host" link set "$name$host" up
  if [[ ${#shape[@]} -gt 0 ]]; then
    tc -n "$name$host" qdisc add dev "$name$host" root "${shape[@]}" || refused "tc ${shape[*]}"
  fi
done

# mpirun calls this instead of ssh: HOST COMMAND...
cat >"$folder/enter" <<AGENT
#!/bin/sh
shift
exec ip netns exec ${name}b unshare --uts sh -c "hostname ${name}b; \$*"
AGENT
chmod +x "$folder/enter"
unshare --uts true 2>/dev/null || refused "namespaces of host names"

export OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1
command=(mpirun --allow-run-as-root --host "192.0.2.1:$ranks,192.0.2.2:$ranks" -np $((2 * ranks))
  --oversubscribe --bind-to none --mca plm_rsh_agent "$folder/enter"
  --mca oob_tcp_if_include 192.0.2.0/24 --mca btl tcp,self --mca btl_tcp_if_include 192.0.2.0/24 "$@")
show "${command[@]}"
status=0
ip netns exec "${name}a" unshare --uts sh -c "hostname ${name}a; exec \"\$@\"" sh "${command[@]}" || status=$?
exit $status
