# What the scripts here have in common; they run in the root of the tree with $PEERS, where the tools are, and $PROGRAM, rustcorn.

step() { printf '\n== %s (%s s so far)\n' "$1" "$SECONDS"; }
fail() { printf 'FAILED: %s\n' "$1" >&2; exit 1; }

until_true() { # what, command…
  local what=$1; shift
  for _ in $(seq 200); do "$@" >/dev/null 2>&1 && return; sleep 0.1; done
  fail "waited in vain: $what"
}

equal() { # what, found, wanted
  [ "$2" = "$3" ] || fail "$1: $2 instead of $3"
  printf '%-72s %s\n' "$1" "$2"
}
