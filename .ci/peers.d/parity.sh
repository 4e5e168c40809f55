#!/usr/bin/env bash
# The same scenarios that `cargo test` runs against rustcorn, against gunicorn, pinned and unmodified: what docs/differences.md says
# about it is true. Run by .ci/peers.
set -euo pipefail
. .ci/peers.d/lib.sh
GUNICORN_VERSION=27.0.1

step "gunicorn: install"
export GUNICORN=$PEERS/gunicorn/bin/gunicorn
if ! "$GUNICORN" --version 2>/dev/null | grep -q "(version $GUNICORN_VERSION)"; then
  python3 -m venv "$PEERS/gunicorn" && "$PEERS/gunicorn/bin/pip" install --quiet --disable-pip-version-check "gunicorn==$GUNICORN_VERSION" ||
    fail "pip could not install gunicorn $GUNICORN_VERSION into a venv (Debian's package python3-venv?)"
fi
"$GUNICORN" --version
grep -q "gunicorn $GUNICORN_VERSION" docs/differences.md || fail "docs/differences.md is about another version"

step "gunicorn: the scenarios"
# They mostly wait. The time limit is for a scenario that hangs; they take a minute or two.
SERVER_UNDER_TEST=gunicorn timeout 600 cargo test --quiet --package rustcorn-e2e --test parity -- --test-threads 4
step "done"
