#!/usr/bin/env bash
# The load tester's worker before the real master: Locust, pinned, unmodified. Two workers, 100 users; the requests that Locust's page,
# its API and its CSV show are the requests that rustcorn counted, exactly. Workers end, die and come back, and so does the master.
# Run by .ci/peers.
set -euo pipefail
. .ci/peers.d/lib.sh
USERS=100

work=$(mktemp -d)
pids=()
cleanup() {
  for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
  wait 2>/dev/null || true
  rm -rf "$work"
}
trap cleanup EXIT
fail() { # as in lib.sh, with the logs
  printf 'FAILED: %s\n' "$1" >&2
  tail -n 15 "$work"/*.log >&2
  exit 1
}
until_true() { # what, command…; up to 60 s, and more than a minute passes before Locust forgets a worker
  local what=$1 end=$((SECONDS + 60)); shift
  until "$@" >/dev/null 2>&1; do
    [ "$SECONDS" -lt "$end" ] || fail "waited in vain: $what"
    sleep 0.2
  done
}

python=$PEERS/locust/bin/python bin=$(dirname "$PROGRAM")
free_port() { "$python" -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
wire=$(free_port)
web=$(free_port)
page=http://127.0.0.1:$web
stats() { # an expression of s (/stats/requests), of its row "all", and of w, its workers
  curl -sf --max-time 10 "$page/stats/requests" | "$python" -c '
import json, sys
s = json.load(sys.stdin)
all = next(row for row in s["stats"] if row["name"] == "Aggregated")
w = s["workers"]
print(eval(sys.argv[1].strip()))' "$1"
}
holds() { [ "$(stats "$1")" = True ]; }

step "the server and the scenario"
cat >"$work/app.toml" <<'TOML'
bind = "127.0.0.1:0"
admin_bind = "127.0.0.1:0"
workers = 2
[app]
handler = "hello"
chaos_percent = 10
TOML
"$bin/rustcorn" "$work/app.toml" 2>"$work/rustcorn.log" &
pids+=($!)
until_true "rustcorn listens" grep -q 'Admin listening' "$work/rustcorn.log"
app=$(sed -n 's/.*Listening at: \(http:[^ ]*\).*/\1/p' "$work/rustcorn.log")
admin=$(sed -n 's/.*Admin listening at: //p' "$work/rustcorn.log")
until_true "rustcorn is ready" curl -sf "$admin/readyz"
cat >"$work/shop.toml" <<TOML
host = "$app"
wait = "20ms"
[[class]]
name = "Browse"
weight = 3
task = [{ path = "/", weight = 4, expect = "100-999" }, { path = "/?page={{user}}", name = "/?page", expect = "100-999" }]
[[class]]
name = "Buy"
task = [{ method = "GET", path = "/?cart" }]
TOML
"$bin/rustcorn-loadtester" locustfile "$work/shop.toml" >"$work/locustfile.py"
server() { curl -sf "$admin/metrics" | awk -v name="$1" 'index($1, name) == 1 { sum += $2 } END { print sum + 0 }'; }
served() { server rustcorn_requests_total; }

worker() { # name, arguments… → $!
  local name=$1; shift
  "$bin/rustcorn-loadtester" worker --master-port "$wire" "$@" 2>>"$work/$name.log" &
  pids+=($!)
}
master() { # arguments…
  "$python" -m locust -f "$work/locustfile.py" --master --master-bind-port "$wire" --master-bind-host 127.0.0.1 "$@" 2>>"$work/master.log" >>"$work/out.log" &
  master=$!
  pids+=("$master")
}

step "headless: a run by the clock"
worker one; one=$! # dials before there is a master, and has no scenario
worker two "$work/shop.toml"; two=$!
before=$(served)
master --headless --users $USERS --spawn-rate 50 --run-time 10s --expect-workers 2 --csv "$work/headless" --exit-code-on-error 0
wait "$master" || fail "Locust's exit code is $?"
wait "$one" || fail "worker one's exit code is $?"
wait "$two" || fail "worker two's exit code is $?"
row() { awk -F, -v column="$1" '$2 == "Aggregated" { print $column }' "$work/headless_stats.csv"; }
equal "Locust's CSV: requests, and what rustcorn counted" "$(row 3)" "$(($(served) - before))"
[ "$(row 3)" -gt 5000 ] || fail "only $(row 3) requests"
[ "$(row 4)" -gt 0 ] || fail "no failures: rustcorn was to fail one request in ten"
awk -F, '$2 == "Aggregated" { exit !($7 > 0 && $7 < $5 && $5 < $8) }' "$work/headless_stats.csv" || fail "min, median and max: $(row 7), $(row 5), $(row 8)"
printf '%-72s %s\n' "median, by fractions of a millisecond" "$(row 5)"

swarm() { curl -sf --max-time 60 -o "$work/swarm.json" -d "user_count=$1" -d "spawn_rate=$1" "$page/swarm" || fail "the page refuses to start"; }
stop() { curl -sf --max-time 60 -o /dev/null -X POST "$page/stop" || fail "the page refuses to stop"; }
running() { # workers, users of each
  until_true "$1 workers with $2 users each" holds "
    s['user_count'] == $USERS and sorted(x['user_count'] for x in w if x['state'] == 'running') == [$2] * $1"
  stats "'%d users, %s, %s' % (s['user_count'], s['state'], ', '.join('%s %d' % (x['state'], x['user_count']) for x in w))"
}
exact() { # what
  local wanted=$(($(served) - before)) failed=$(($(server 'rustcorn_responses_total{code="') - $(server 'rustcorn_responses_total{code="200"}')))
  until_true "$1: all reports" holds "all['num_requests'] == $wanted"
  equal "$1: requests, and what rustcorn counted" "$(stats "all['num_requests']")" "$wanted"
  [ "$wanted" -gt 1000 ] || fail "only $wanted requests"
  equal "$1: rows add up" "$(stats "sum(r['num_requests'] for r in s['stats'] if r is not all) == all['num_requests']")" True
}

step "by the page: two workers, $USERS users"
master --web-host 127.0.0.1 --web-port "$web" --enable-rebalancing
until_true "the page is there" curl -sf -o /dev/null "$page/stats/requests"
worker one --persist; one=$!
worker two --persist; two=$!
until_true "two workers" holds "[x['state'] for x in w] == ['ready'] * 2"
before=$(served)
swarm $USERS
running 2 50
until_true "some requests" holds "all['num_requests'] > 5000"
stop
exact "stopped by the page"

step "the page itself, in $("$CHROMIUM" --version 2>/dev/null)"
"$CHROMIUM" --headless --no-sandbox --disable-gpu --virtual-time-budget=10000 --dump-dom "$page/" >"$work/page.html" 2>"$work/chromium.log"
cell() { # of the row of all requests; 1 is the number of requests
  "$python" - "$work/page.html" "$1" <<'PY'
import re, sys
text = re.sub(r"<(style|script).*?</\1>", "", open(sys.argv[1]).read(), flags=re.S)
cells = [cell.strip() for cell in re.sub(r"<[^>]+>", "|", text).split("|") if cell.strip()]
print(cells[cells.index(sys.argv[2]) + 1] if sys.argv[2] in ("Workers", "Status") else cells[cells.index("Aggregated") + int(sys.argv[2])])
PY
}
shown=$(stats "'%d %d' % (all['num_requests'], all['num_failures'])")
equal "in the page: workers" "$(cell Workers)" 2
equal "in the page: requests and failures" "$(cell 1) $(cell 2)" "$shown"
equal "in the page: requests, and what rustcorn counted" "$(cell 1)" "$(($(served) - before))"
equal "failures by what went wrong" "$(stats "sum(e['occurrences'] for e in s['errors']) == all['num_failures']")" True
for median in $(cell 3); do [[ $median =~ ^[0-9]+(\.[0-9]+)?$ ]] && printf '%-72s %s\n' "in the page: median (ms)" "$median" || fail "median $median"; done

step "a worker is killed, another one joins"
before=$(served)
swarm $USERS
running 2 50
kill -KILL "$one"
{ wait "$one"; } 2>/dev/null || true
running 1 $USERS
worker three --persist; three=$!
running 2 50
stop
# Between two reports are 3 s, in which its 50 users send at most 50 requests a second each.
until_true "all reports but the killed worker's last one" holds "0 <= $(served) - $before - all['num_requests'] <= 7500"
stats "'%d requests; rustcorn counted $(($(served) - before)): what the killed worker had not reported is lost' % all['num_requests']"

step "a worker is asked to end"
before=$(served)
swarm $USERS
running 2 50
kill -TERM "$three"
wait "$three" || fail "worker three's exit code is $?"
running 1 $USERS
until_true "some requests" holds "all['num_requests'] > 5000"
stop
exact "with a worker that left"

step "the master is killed and comes back"
worker four --persist; four=$!
until_true "two workers" holds "[x['state'] for x in w].count('ready') == 2"
swarm $USERS
running 2 50
kill -KILL "$master"
wait "$master" || true
quiet() { local now; now=$(served); sleep 0.5; [ "$(served)" = "$now" ]; }
until_true "no load without a master" quiet
master --web-host 127.0.0.1 --web-port "$web" --enable-rebalancing
until_true "two workers at the new master" holds "[x['state'] for x in w] == ['ready'] * 2"
before=$(served)
swarm $USERS
running 2 50
until_true "some requests" holds "all['num_requests'] > 5000"
stop
exact "at the new master"

step "the end"
kill -TERM "$master"
wait "$master" || true # it says how the test went
kill -TERM "$two" "$four"
wait "$two" || fail "worker two's exit code is $?"
wait "$four" || fail "worker four's exit code is $?"
grep -h -i 'traceback\|unhandled\|unrecognized' "$work/master.log" && fail "the master did not understand something"
step "done"
