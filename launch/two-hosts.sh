#!/usr/bin/env bash
# Runs launch/hosts.sh on two hosts that are network namespaces of this machine, joined by one cable (a veth pair)
# of a chosen rate and delay. The ranks talk TCP, as over a real network; the tests cut the cable.
#
# Needs: root, iproute2 (ip, tc) and a kernel that permits namespaces: exit code 3 and the reason where it does
# not; netem in the kernel for a delay. Starts within a second; leaves nothing behind. NAME tells several pairs on
# one machine apart: the hosts are the namespaces NAMEa and NAMEb, the ends of the cable are called alike.
# A host whose cable is cut answers no command either, so --restart (of hosts.sh) goes on without it.
#   launch/two-hosts.sh [--name NAME] [--rate 1gbit] [--delay 2ms] [--ranks PER_HOST] [--restart] [ARGUMENT...]
#   launch/two-hosts.sh --rate 1gbit train --config configs/debug.toml
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

name=rt$$
rate=''
delay=''
ranks=1
restart=()
while [[ ${1:-} == --* ]]; do
  if [[ $1 == --restart ]]; then
    restart=(--restart)
    shift
    continue
  fi
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
[[ $name =~ ^[a-z0-9]{1,12}$ ]] || fail 2 "--name $name; 1 to 12 letters or digits"
[[ $ranks =~ ^[1-9][0-9]*$ ]] || fail 2 "--ranks $ranks; 1 or more"
need_mpirun
for tool in ip tc; do
  command -v $tool >/dev/null || fail 3 "$tool is not on PATH; launch/setup.sh iproute2 installs it"
done
[[ $EUID -eq 0 ]] || fail 3 "only root may make network namespaces"

folder=$(mktemp -d)
trainers() {
  local pid
  for pid in $(ip netns pids "$name$1" 2>/dev/null); do
    if [[ $(cat "/proc/$pid/comm" 2>/dev/null) == reformer-train ]]; then echo "$pid"; fi
  done
}
clean_up() {
  local host tries
  for host in a b; do
    # Ranks that mpirun cannot reach have to end by themselves.
    for ((tries = 0; tries < 100; tries++)); do
      [[ -n $(trainers $host) ]] || break
      sleep 0.1
    done
    if [[ -n $(trainers $host) ]]; then say "ranks are still running on $name$host"; fi
    # Whatever else runs in a namespace would keep it and its cable alive.
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

unshare --uts true 2>/dev/null || refused "namespaces of host names"

# Called instead of ssh, with a host and a command.
cat >"$folder/enter" <<AGENT
#!/bin/sh
host=${name}a
if [ \$1 != 192.0.2.1 ]; then
  host=${name}b
  ip -n ${name}a -o link show ${name}a | grep -q LOWER_UP || { echo "no cable to \$1" >&2; exit 255; }
fi
shift
exec ip netns exec \$host unshare --uts sh -c "hostname \$host; \$*"
AGENT
chmod +x "$folder/enter"
printf '192.0.2.%d slots=%d\n' 1 "$ranks" 2 "$ranks" >"$folder/hosts"

export OMPI_MCA_plm_rsh_agent=$folder/enter OMPI_MCA_oob_tcp_if_include=192.0.2.0/24
export OMPI_MCA_btl=tcp,self OMPI_MCA_btl_tcp_if_include=192.0.2.0/24
# On one machine both hosts share its cores.
export OMPI_MCA_rmaps_base_oversubscribe=1
status=0
"$folder/enter" 192.0.2.1 "exec launch/hosts.sh ${restart[*]} $folder/hosts $(printf '%q ' "$@")" || status=$?
exit $status
