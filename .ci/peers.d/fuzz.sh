#!/usr/bin/env bash
# The parsers that face the internet before a fuzzer: a minute for the guard, ten seconds for the PROXY protocol. Needs a C++
# compiler; installs cargo-fuzz, pinned, into $PEERS, where the corpus is kept, too, and grows from run to run. Run by .ci/peers.
set -euo pipefail
. .ci/peers.d/lib.sh
FUZZ=0.13.2

step "fuzzing"
command -v c++ >/dev/null || fail "libFuzzer is built with a C++ compiler, and there is none"
[ -x "$PEERS/fuzz-$FUZZ/bin/cargo-fuzz" ] ||
  cargo install --quiet --root "$PEERS/fuzz-$FUZZ" "cargo-fuzz@$FUZZ" || fail "cargo could not install cargo-fuzz $FUZZ"
PATH=$PEERS/fuzz-$FUZZ/bin:$PATH
export RUSTC_BOOTSTRAP=1 # the sanitizers are not stable; nothing else of the unstable is used
export CARGO_TARGET_DIR=$PEERS/fuzz-target
cargo run --quiet --manifest-path fuzz/Cargo.toml --bin seeds -- e2e/data/http1.txt "$PEERS/fuzz-corpus"
for run in guard:60:4096 proxy:10:5000; do
  IFS=: read -r target seconds longest <<<"$run"
  cargo fuzz run --fuzz-dir fuzz "$target" "$PEERS/fuzz-corpus/$target" -- \
    -max_total_time="$seconds" -max_len="$longest" -verbosity=0 -print_final_stats=1 2>"$PEERS/fuzz-$target.log" ||
    { tail -n 60 "$PEERS/fuzz-$target.log" >&2; fail "the fuzzer found something in $target; the input is in fuzz/artifacts/$target"; }
  runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$PEERS/fuzz-$target.log")
  [ "${runs:-0}" -gt 1000 ] || fail "$target ran ${runs:-0} times only"
  printf '%-72s %s\n' "$target, inputs in $seconds s" "$runs"
done
