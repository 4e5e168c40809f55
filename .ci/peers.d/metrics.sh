#!/usr/bin/env bash
# The metrics before those that read them in production: Prometheus' parser and linter and promtool, Etsy's
# statsd, and statsd_exporter with docs/statsd-mapping.yml. The same traffic must be the same number everywhere. Run by .ci/peers.
set -euo pipefail
. .ci/peers.d/lib.sh
REQUESTS=3000

work=$(mktemp -d)
pids=()
cleanup() {
  for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
  wait 2>/dev/null || true
  rm -rf "$work"
}
trap cleanup EXIT

# Neither peer can say which port the kernel chose for it, so two are chosen before; who comes too late for them starts again.
port() { # free for TCP and for UDP
  node -e 'const t=require("net").createServer().listen(0,"127.0.0.1",()=>{const p=t.address().port,u=require("dgram").createSocket("udp4");
    u.on("error",()=>process.exit(1));u.bind(p,"127.0.0.1",()=>{console.log(p);u.close();t.close()})})'
}
peer() { # name, function that becomes it, command that succeeds once it serves… → $udp, $tcp
  local name=$1 become=$2 pid; shift 2
  for _ in 1 2 3 4 5; do
    udp=$(port) && tcp=$(port) || continue
    "$become" >"$work/$name.peer" 2>&1 &
    pid=$!
    pids+=("$pid")
    until_true "$name serves, or ends" serves_or_ended "$pid" "$@"
    kill -0 "$pid" 2>/dev/null && return
  done
  cat "$work/$name.peer" >&2
  fail "$name does not start"
}
serves_or_ended() { local pid=$1; shift; "$@" || ! kill -0 "$pid"; }
serve() { # name, statsd port → $master, $app, $admin
  cat >"$work/$1.toml" <<EOF
bind = "127.0.0.1:0"
admin_bind = "127.0.0.1:0"
workers = 2
statsd_host = "127.0.0.1:$2"
statsd_prefix = "peer"
statsd_interval = 0.2
enable_backlog_metric = true
[app]
handler = "hello"
chaos_percent = 20
EOF
  "$PROGRAM" "$work/$1.toml" 2>"$work/$1.log" &
  master=$!
  pids+=("$master")
  until_true "rustcorn listens" grep -q 'Admin listening' "$work/$1.log"
  app=$(sed -n 's/.*Listening at: \(http:[^ ]*\).*/\1/p' "$work/$1.log")
  admin=$(sed -n 's/.*Admin listening at: //p' "$work/$1.log")
  until_true "rustcorn is ready" curl -sf "$admin/readyz"
}
# A fifth fails, one worker is killed and one reload done on the way; nothing of that may show in the sums. Between the two halves
# nothing is in flight, so that every request has an answer.
traffic() {
  : >"$work/codes"
  local half=$((REQUESTS / 2))
  curl -s -o /dev/null -w '%{http_code}\n' "$app/[1-$half]" >>"$work/codes"
  kill -KILL "$(curl -s "$admin/status" | node -p 'JSON.parse(require("fs").readFileSync(0)).slots[0].pid')"
  kill -HUP "$master"
  until_true "the reload" sh -c "curl -s $admin/metrics | grep -q 'rustcorn_reloads_total{result=\"ok\"} 1'"
  curl -s -o /dev/null -w '%{http_code}\n' "$app/[1-$half]" >>"$work/codes"
}
sample() { awk -v name="$2" '$1 == name { print $2 + 0; found = 1 } END { if (!found) print "none" }' "$1"; }
total() { awk -v name="$2" 'index($1, name "{") == 1 { sum += $2 } END { print sum + 0 }' "$1"; }

step "statsd_exporter with our mapping"
"$PEERS/statsd_exporter" --check-config --statsd.mapping-config=docs/statsd-mapping.yml 2>/dev/null || fail "the mapping"
exporter() {
  exec "$PEERS/statsd_exporter" --statsd.mapping-config=docs/statsd-mapping.yml --statsd.listen-udp="127.0.0.1:$udp" \
    --statsd.listen-tcp= --web.listen-address="127.0.0.1:$tcp"
}
exporter_serves() { curl -sf "http://127.0.0.1:$tcp/-/ready"; }
peer statsd_exporter exporter exporter_serves
serve exporter "$udp"
traffic
curl -s "$admin/metrics" >"$work/ours.txt"
kill -TERM "$master"
wait "$master"
scrape() { curl -s "http://127.0.0.1:$tcp/metrics" >"$work/exporter.txt"; }
# It takes datagrams in one after the other, and lets go of them every 200 ms: what stands still for longer has arrived.
exporter_has() {
  scrape && [ "$(sample "$work/exporter.txt" peer_requests_total)" = "$REQUESTS" ] || return
  grep '^peer_' "$work/exporter.txt" >"$work/before.txt"
  sleep 0.5
  scrape && grep '^peer_' "$work/exporter.txt" | cmp -s - "$work/before.txt"
}
until_true "the exporter has all requests" exporter_has
equal "answers that the client has" "$(grep -vc 000 "$work/codes")" "$REQUESTS"
equal "/metrics rustcorn_requests_total" "$(sample "$work/ours.txt" rustcorn_requests_total)" "$REQUESTS"
equal "/metrics rustcorn_responses_total, all codes" "$(total "$work/ours.txt" rustcorn_responses_total)" "$REQUESTS"
equal "/metrics rustcorn_request_duration_seconds_count" "$(sample "$work/ours.txt" rustcorn_request_duration_seconds_count)" "$REQUESTS"
equal "exporter peer_requests_total" "$(sample "$work/exporter.txt" peer_requests_total)" "$REQUESTS"
equal "exporter peer_responses_total, all codes" "$(total "$work/exporter.txt" peer_responses_total)" "$REQUESTS"
equal "exporter peer_request_duration_seconds_count" "$(sample "$work/exporter.txt" peer_request_duration_seconds_count)" "$REQUESTS"
equal "exporter peer_worker_restarts_total{cause=\"killed\"}" "$(sample "$work/exporter.txt" 'peer_worker_restarts_total{cause="killed"}')" 1
equal "exporter peer_reloads_total{result=\"ok\"}" "$(sample "$work/exporter.txt" 'peer_reloads_total{result="ok"}')" 1
equal "exporter: lines it could not read" "$(total "$work/exporter.txt" statsd_exporter_sample_errors_total)" 0
equal "exporter: events without a mapping" "$(sample "$work/exporter.txt" statsd_exporter_events_unmapped_total)" 0
[ "$(sample "$work/exporter.txt" peer_backlog_count)" -gt 0 ] || fail "no backlog"

step "Prometheus"
"$PEERS/promcheck" <"$work/ours.txt" || fail "Prometheus refuses /metrics"
promtool check metrics <"$work/ours.txt" || fail "promtool refuses /metrics"
echo "promtool accepts it"

step "Etsy's statsd"
etsy() {
  cat >"$work/etsy.js" <<EOF
{ port: $udp, address: "127.0.0.1", mgmt_port: $tcp, mgmt_address: "127.0.0.1", flushInterval: 3600000, deleteIdleStats: false }
EOF
  exec node "$PEERS/statsd/stats.js" "$work/etsy.js"
}
ask() { # command of its management interface → what it says, up to END
  node -e 'const s=require("net").connect(+process.argv[1],"127.0.0.1");let t="";s.on("data",d=>{t+=d;if(/END\s*$/.test(t)){console.log(t);s.end()}});s.write(process.argv[2]+"\n")' "$tcp" "$1"
}
peer statsd etsy ask counters
serve etsy "$udp"
traffic
kill -TERM "$master"
wait "$master"
counted() { # of the counters whose name begins so, the sum; a timer's calls by its sampling rates
  ask "$1" | node -e 'const t=require("fs").readFileSync(0,"utf8").replace(/END\s*$/,"");const o=Function("return ("+t+")")();
    console.log(Object.entries(o).filter(([n])=>n.startsWith(process.argv[1])).reduce((a,[,v])=>a+v,0))' "$2"
}
etsy_has() { [ "$(counted counters peer.gunicorn.requests)" = "$REQUESTS" ]; }
until_true "statsd has all requests" etsy_has
equal "answers that the client has" "$(grep -vc 000 "$work/codes")" "$REQUESTS"
equal "statsd peer.gunicorn.requests" "$(counted counters peer.gunicorn.requests)" "$REQUESTS"
equal "statsd peer.gunicorn.request.status.*" "$(counted counters peer.gunicorn.request.status.)" "$REQUESTS"
equal "statsd bad lines" "$(counted counters statsd.bad_lines_seen)" 0
equal "statsd peer.gunicorn.workers at the exit" "$(counted gauges peer.gunicorn.workers)" 0
step "done"
