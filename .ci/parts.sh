# The parts of .ci/run: part_NAME runs in a subshell with set -e. $work is a folder of this run, $cache one that is kept, $shared the shared data,
# $tier land or full.
# shellcheck shell=bash disable=SC2154

# by_tier LAND FULL prints what the tier takes.
by_tier() { if [ "$tier" = full ]; then echo "$2"; else echo "$1"; fi; }

failures() { # what failed in a log of go test -v, with the lines before it
  grep -E -B 12 '^\s*--- FAIL|^FAIL|^panic:' "$1" | tail -n 120
}

# peers_python prints the interpreter of the peers' environment, which it builds where it is absent.
peers_python() {
  local key venv
  key=$(sha256sum interop/requirements.txt | cut -c1-12)
  venv=$cache/peers-$key
  if [ ! -e "$venv/ready" ]; then
    rm -rf "$venv"
    python3 -m venv "$venv" >&2
    "$venv/bin/pip" install -q --no-input -r interop/requirements.txt >&2
    touch "$venv/ready"
  fi
  echo "$venv/bin/python"
}

part_build() { go build ./... && go vet ./... && program; }

# program builds the command where an earlier part has not.
program() { [ -x "$work/adaptflow" ] || go build -o "$work/adaptflow" ./cmd/adaptflow; }

part_unit() { go test ./...; }

# with_tests PATTERN prints the packages of this module with a test or fuzz target of that name, without building them all to ask.
with_tests() {
  git grep -lE "^func $1" -- '*_test.go' ':!examples/beam' ':!examples/extension' | xargs -n1 dirname | sort -u | sed 's|^|./|'
}

part_goldens() {
  [ -d "$shared/golden" ] || { echo "no shared folder beside the checkout: the copies in testdata were tested"; return 0; }
  local what='Test(Golden|Conformance|Dirty|MethodMatrix)'
  # shellcheck disable=SC2046
  ADAPTFLOW_GOLDEN=$shared/golden ADAPTFLOW_TOKENIZERS=$shared/tokenizers ADAPTFLOW_DIRTY=$shared/data/dirty ADAPTFLOW_DATA=$shared/data \
    go test -count=1 -v -run "$what" $(with_tests "$what") > "$work/goldens.txt" 2>&1 ||
    { failures "$work/goldens.txt"; return 1; }
  grep -hE 'cases|out of scope|declined:' "$work/goldens.txt" | sed 's/^ *//' || true
  local folder
  for folder in "$shared"/models/*/; do
    ADAPTFLOW_REFERENCE=$folder go test -count=1 -v -timeout 20m -run 'TestReference' ./train > "$work/reference.txt" 2>&1 ||
      { failures "$work/reference.txt"; return 1; }
    grep -hE '_test.go' "$work/reference.txt" | sed 's/^ *//' || true
  done
  ADAPTFLOW_TRL_RUNS=$shared/golden/trl_runs go test -count=1 -v -timeout 20m -run TestReferenceTRL ./train > "$work/trl.txt" 2>&1 ||
    { failures "$work/trl.txt"; return 1; }
  grep -hE '_test.go' "$work/trl.txt" | sed 's/^ *//' || true
}

part_faults() { program; "$(peers_python)" interop/faults.py "$work/adaptflow" interop/faults "$shared/faults"; }

part_doors() {
  program
  command -v ip > /dev/null || { apt-get update -q && apt-get install -qy --no-install-recommends iproute2; }
  bash interop/doors.sh "$work/adaptflow" "$work/doors"
  bash interop/doors_engines.sh "$work/adaptflow" "$work/doors-engines"
}

part_peers() {
  program
  local python
  python=$(peers_python)
  HF_HUB_OFFLINE=1 HF_DATASETS_CACHE="$work/datasets" TOKENIZERS_PARALLELISM=false bash interop/run.sh "$work/adaptflow" "$python" "$work/interop"
}

part_smollm2() { program; bash interop/smollm2.sh "$work/adaptflow" "$(peers_python)" "$cache" "$work/smollm2"; }

# part_serve: the real clients of OpenAI's API, LangChain, and lm-evaluation-harness at adaptflow serve.
part_serve() { program; bash interop/serve.sh "$work/adaptflow" "$cache" "$work/serve" "$(by_tier 10 100)" "$(peers_python)"; }

# part_gguf: what is read from GGUF files and written to them, in the real llama.cpp.
part_gguf() {
  program
  [ ! -d "$shared/models/lm-en-5m" ] || export ADAPTFLOW_REFERENCE=$shared/models/lm-en-5m
  bash interop/gguf.sh "$work/adaptflow" "$(peers_python)" "$cache" "$work/gguf" "$tier"
}

part_kills() {
  program
  bash interop/kill.sh "$work/adaptflow" "$work/kill" "${KILLS:-$(by_tier 3 20)}"
  bash interop/continual.sh "$work/adaptflow" "$work/continual" "${CONTINUAL_KILLS:-$(by_tier 2 6)}"
  bash interop/recovery.sh "$work/adaptflow" "$work/recovery"
  if [ "$(by_tier land full)" = land ]; then # on Prism alone
    STEPS=4 ENGINES="" bash interop/rollouts.sh "$work/adaptflow" "$work/rollouts"
  else
    bash interop/rollouts.sh "$work/adaptflow" "$work/rollouts"
  fi
}

part_flink() {
  program
  bash interop/flink.sh "$work/adaptflow" "$work/flink"
  bash interop/beam.sh "$work/adaptflow" "$work/beam"
  bash interop/cluster.sh "$work/adaptflow" "$work/cluster" "${CLUSTER_KILLS:-$(by_tier 1 4)}"
}

# part_pins: the bytes of templates at their default settings, by each kernel set.
part_pins() { program; python3 interop/pins.py "$work/adaptflow" "$work/pins"; }

part_apart() {
  program
  go build -o "$work/objectserver" ./internal/storage/storagetest/objectserver
  bash interop/apart.sh "$work/adaptflow" "$work/apart" "$work/objectserver" "$tier"
}

# part_race leaves out, in land, tests of one goroutine that take minutes under the detector: readers of damaged files, and sets of plain Go loops.
part_race() {
  local skip='^$'
  [ "$tier" = full ] ||
    skip='^(TestDamagedPages|TestPageBombs|TestStagedRoundTrip|TestNormalizersOutOfProportion|TestMergedStops|TestCloseFreesAll|TestGoldenEmbeddings)$|^Test(MatMul|FewRows|Contract|Gemm|Tile).*/.*plain'
  # internal/layers reads sources and starts no goroutine.
  # shellcheck disable=SC2046
  go test -race -short -timeout 20m -skip "$skip" $(go list ./internal/... | grep -v internal/layers) ./kernels ./nn ./tokenize ./datasets/... ./train ./evaluate ./infer \
    ./measure ./serve/...
}

part_variants() {
  go vet -tags noasm ./kernels ./nn && go test -tags noasm -short ./kernels ./nn ./quant
  # In land the packages whose files differ by system, and what trains; in full everything, with Beam, which takes minutes from an empty cache.
  local other=(./internal/... ./kernels ./nn ./model ./peft ./tokenize ./train ./cmd/cli/early)
  GOOS=linux GOARCH=arm64 go build "${other[@]}"
  [ "$tier" = land ] || other=(./...)
  GOOS=darwin GOARCH=arm64 go build "${other[@]}"
  GOOS=windows GOARCH=amd64 go build "${other[@]}"
  local set
  for set in plain avx2; do ADAPTFLOW_KERNELS=$set go test -count=1 -short ./kernels ./nn; done
  rm -f adaptflow adaptflow.exe
}

# part_fuzz fuzzes the targets of all packages; in land those whose package, or what it imports, has changed.
part_fuzz() {
  local pkg name
  for pkg in $(with_tests Fuzz); do
    for name in $(git grep -hoE '^func Fuzz[A-Za-z0-9_]*' -- "$pkg/*_test.go" ":!$pkg/*/*" | sed 's/^func //' | sort -u); do
      [ "$tier" = full ] || changed "$base" "$pkg" || continue
      fuzz "$pkg" "$name" || return 1
    done
  done
}

# fuzz PKG NAME fuzzes one target. When the time is up, Go before 1.27 may end with "context deadline exceeded" though no input failed
# (go.dev/issue/75804): such an end, and no other, is tried again, twice at most.
fuzz() {
  local out try
  for try in 1 2 3; do
    if out=$(go test -run '^$' -fuzz "^$2\$" -fuzztime "${FUZZTIME:-$(by_tier 2s 20s)}" "$1" 2>&1); then
      echo "$2: ${out##*$'\n'}"
      return
    fi
    [[ $out == *$'s)\n    context deadline exceeded\nFAIL'* && $out != *"Failing input"* ]] || break
    echo "$2: the time was up while an input was tried; no input failed"
  done
  echo "$out"
  return 1
}

part_generated() {
  cp -r kernels "$work/kernels-before"
  (cd kernels && go generate ./...)
  diff -r -x _gen kernels "$work/kernels-before" || { echo "generated files are not up to date: run go generate ./kernels"; return 1; }
}

part_lint() {
  test -z "$(gofmt -l $(git ls-files '*.go'))" || { echo "gofmt would change:"; gofmt -l $(git ls-files '*.go'); return 1; }
  local bin=$cache/bin
  [ -x "$bin/staticcheck" ] || GOBIN=$bin go install honnef.co/go/tools/cmd/staticcheck@v0.7.0
  "$bin/staticcheck" ./...
  go -C interop/notices run . -check
  [ "$tier" = land ] || vulnerabilities
}

# vulnerabilities looks the linked modules up where Go's database can be reached.
vulnerabilities() {
  if ! python3 -c 'import urllib.request as u; u.urlopen("https://vuln.go.dev/index/db.json", timeout=10)' 2> /dev/null; then
    echo "vuln.go.dev cannot be reached: govulncheck was not run"
    return 0
  fi
  [ -x "$cache/bin/govulncheck" ] || GOBIN=$cache/bin go install golang.org/x/vuln/cmd/govulncheck@v1.1.4
  "$cache/bin/govulncheck" ./...
}

# part_wheel: what pip installs, and what a release holds.
part_wheel() {
  program
  bash interop/wheel.sh "$work/adaptflow" "$work/wheel" "$tier"
  [ "$tier" = land ] || releaser
}

# releaser builds what a release would hold for this system, where goreleaser is installed: building it takes longer than all of this.
releaser() {
  command -v goreleaser > /dev/null || { echo "goreleaser is not installed: .goreleaser.yaml was not tried"; return 0; }
  goreleaser check
  goreleaser build --snapshot --single-target --clean --output "$work/released"
  "$work/released" version
  rm -rf dist
}

part_benches() {
  go test -run '^$' -bench . -benchtime 1x ./kernels ./tokenize ./nn > "$work/bench.txt" 2>&1 || { tail -n 40 "$work/bench.txt"; return 1; }
  grep -c '^Benchmark' "$work/bench.txt" | sed 's/$/ benchmarks ran/'
}

# part_matrix: every method over every family and storage of testdata, where the unit tests take pairs.
part_matrix() {
  ADAPTFLOW_MATRIX=all go test -count=1 -v -timeout 60m -run 'TestMethodMatrix' ./peft > "$work/matrix.txt" 2>&1 || { failures "$work/matrix.txt"; return 1; }
  grep -hE 'cases|declined' "$work/matrix.txt" | sed 's/^ *//' || true
}

# part_sets: what trains and evaluates, on the lower kernel sets, and on tiles that are emulated by AVX-512.
part_sets() {
  local set sets=(plain avx2 avx512)
  ! grep -q avx512f /proc/cpuinfo || sets+=(amx_emulated)
  for set in "${sets[@]}"; do
    echo "-- $set"
    ADAPTFLOW_KERNELS=$set go test -count=1 -timeout 60m ./train ./evaluate ./model ./quant
  done
}
