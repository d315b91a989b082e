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
