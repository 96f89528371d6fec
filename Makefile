# make            lint and test
# make help       every target
#
# Nothing here runs sudo: where a target needs root it says so and what is lost without.

SHELL       := /bin/bash
.SHELLFLAGS := -euo pipefail -c
MAKEFLAGS   += --no-print-directory

CACHE   := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/noether
GO      := go
TOOL    := $(GO) tool -modfile=tools/go.mod
VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo devel)
BUILD   := CGO_ENABLED=0 $(GO) build -trimpath -ldflags '-s -w -X main.version=$(VERSION)'

GOLANGCI         := $(CACHE)/golangci-lint-2.15.0/golangci-lint
GOLICENSES       := $(CACHE)/go-licenses-1.6.0/go-licenses
HELM             := $(CACHE)/helm-3.19.0/helm
ALLOWED_LICENSES := Apache-2.0,MIT,BSD-2-Clause,BSD-3-Clause,ISC

# Packages with whole-machine tests have targets of their own.
UNIT := $(GO) list ./... | grep -v -e /test/e2e -e /test/bench -e /test/guest

FUZZTIME ?= 30s
BENCH    ?= .
COUNT    ?= 6

# Debian packages, or packages that depend on the newest one.
GUEST_KERNELS ?= linux-image-cloud-amd64

.DEFAULT_GOAL := all
.PHONY: bench-history ui ui-check release image deploy-check all help build run test race fuzz bench bench-impact lint generate e2e e2e-scale guest cross licences check-go promtool prometheus3 cluster-tools cluster-up cluster-down grid-tables

all: lint test ## lint and test (the default)

help: ## this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## /{printf "  make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

check-go:
	@command -v $(GO) >/dev/null || { echo "Go is not installed: see https://go.dev/dl (Debian: apt-get install golang-go), 1.26 or newer"; exit 1; }

build: check-go ## the binary, bin/noether: static, nothing but Go needed
	@$(BUILD) -o bin/noether ./cmd/noether
	@echo "built bin/noether $(VERSION)"

run: build ## build and start the agent on this machine, with its page: http://127.0.0.1:9877/
	@if [ "$$(id -u)" != 0 ]; then \
	  echo "not root: the processor's energy counters and BPF are closed to this user."; \
	  echo "  What is lost, and what mends it: bin/noether check"; \
	  echo "  To see everything:               sudo bin/noether agent"; \
	fi
	exec bin/noether agent $(ARGS)

promtool:
	@need=; for tool in prometheus victoria-metrics prometheus-pushgateway; do command -v $$tool >/dev/null || need="$$need $$tool"; done; \
	if [ -z "$$need" ]; then :; \
	elif [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	  echo "installing the Debian packages$$need, to be scraped, queried and written to by the tests"; \
	  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends $$need >/dev/null; \
	else \
	  echo "not installed:$$need; the tests that need them are skipped, each with its reason (as root: apt-get install$$need)"; \
	fi
	@[ "$$(id -u)" = 0 ] || echo "not root: tests of BPF, real cgroups and real sensors are skipped, each with its reason (go test -v shows it)"

chromium:
	@if command -v chromium >/dev/null; then :; \
	elif [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	  echo "installing the Debian package chromium, in which the tests open the page"; \
	  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends chromium >/dev/null; \
	else \
	  echo "not installed: chromium; the tests of the page are skipped, each with its reason (as root: apt-get install chromium)"; \
	fi

test: check-go promtool ## vet, and the unit tests in random order; with the race detector where gcc is there
	$(GO) vet ./...
	@if [ "$$($(GO) env CGO_ENABLED)" = 1 ] && command -v gcc >/dev/null; then race=-race; \
	else race=; echo "no C compiler: the race detector stays off (Debian: apt-get install gcc libc6-dev)"; fi; \
	set -x; $(GO) test $$race -shuffle=on $$($(UNIT))

race: check-go ## the unit tests with the race detector, three times
	$(GO) test -race -shuffle=on -count=3 $$($(UNIT))

# A fuzzer that is stopped in the middle of an input may report its own deadline
# as a failure; a real one writes the input that fails.
fuzz: check-go ## every fuzz target for FUZZTIME (30s)
	@grep -rEo --include=*_test.go '^func Fuzz[A-Za-z0-9_]+' internal cmd test deploy | while IFS=: read -r file func; do \
	  name=$${func#func }; echo "$$name in $$(dirname $$file), $(FUZZTIME)"; \
	  out=$$($(GO) test ./$$(dirname $$file) -run '^$$' -fuzz "^$$name$$" -fuzztime $(FUZZTIME) </dev/null 2>&1) || \
	    { grep -q 'context deadline exceeded' <<<"$$out" && ! grep -q 'Failing input' <<<"$$out" && out='ok: no finding when its time was over'; } || { echo "$$out"; exit 1; }; \
	  echo "$$out" | tail -n 1; \
	done

bench: check-go ## cost of the agent beside a plain reader of /proc; writes docs/performance.md
	$(GO) run ./test/bench $(ARGS)

bench-impact: check-go ## cost of impact runs beside the npm package @grnsft/if, if npm is there; writes docs/impact-performance.md
	$(GO) run ./test/bench/impact $(ARGS)

bench-history: check-go ## cost of a history: a simulated week of 300 pods, then every query of the page; writes docs/performance.md
	$(GO) run ./test/bench/history $(ARGS)

CLUSTER := $(GO) run ./test/e2e/cluster/cmd/noether-cluster

PROMETHEUS := github.com/prometheus/prometheus

# The second is built in its own module, without the discoveries of clouds: upstream's list is there to be shortened.
prometheus3: check-go ## Prometheus 3, out of the same module as the cluster's programs, and in the version that the agent has, once
	@$(CLUSTER) tools prometheus || echo "Prometheus 3 cannot be built here: the test of remote-write 2.0 is skipped"
	@version=$$($(GO) list -m -f '{{.Version}}' $(PROMETHEUS)); dir=$(CACHE)/prometheus-$$version; [ ! -e $$dir ] || exit 0; \
	echo "building Prometheus $$version, whose database and engine the agent has, into $$dir, once"; \
	rm -rf $$dir.new; mkdir -p $$dir.new; $(GO) mod download $(PROMETHEUS); \
	cp -r --no-preserve=mode "$$($(GO) list -m -f '{{.Dir}}' $(PROMETHEUS))" $$dir.new/source; \
	echo 'package plugins' >$$dir.new/source/plugins/plugins.go; \
	(cd $$dir.new/source && CGO_ENABLED=0 GOFLAGS= GOWORK=off nice $(GO) build -mod=readonly -trimpath -ldflags '-s -w' -o .. ./cmd/prometheus) && \
	rm -r $$dir.new/source && mv $$dir.new $$dir || \
	echo "it cannot be built here: the test of the history against Prometheus is skipped"

cluster-tools: check-go ## Kubernetes and what its tests need, built once: 10 to 30 minutes, then nothing
	@$(CLUSTER) tools

cluster-up: cluster-tools ## a real one-node Kubernetes on this machine, as root: test/e2e/cluster/README.md
	@$(CLUSTER) up

cluster-down: check-go ## the end of it; it leaves nothing
	@$(CLUSTER) down

# One package after another: the tests of one share the machine, and measure it.
e2e: check-go promtool chromium ## the real binary, on simulated machines, on this one and in a real Kubernetes, with real servers
	@[ "$$(id -u)" != 0 ] || $(MAKE) cluster-tools || [ "$${CI:-}" != true ]
	@$(MAKE) ui/node_modules || [ "$${CI:-}" != true ] # axe-core, with which the page is looked at
	@$(MAKE) prometheus3
	@[ "$$(id -u)" != 0 ] || $(CLUSTER) down # what a killed test left behind runs beside the others
	$(GO) test -count=1 -p 1 -timeout 40m ./test/e2e/...

# Not part of .ci/run.
e2e-scale: cluster-tools ## names among 5,000 pods on 200 nodes of a real API server, as root: about six minutes
	$(GO) test -count=1 -v -timeout 30m ./test/e2e/scale -scale

# A kernel is fetched once; rm -r $(CACHE)/guest-* to have a newer one.
guest: check-go $(HELM) ## the real binary in emulated machines: other kernels (GUEST_KERNELS), pods in cgroup v2; on Debian
	@for name in $(GUEST_KERNELS); do \
	  package=$$(apt-cache depends $$name | awk '$$1 == "Depends:" && $$2 ~ /^linux-image-/ {print $$2; exit}'); \
	  package=$${package:-$$name}; dir=$(CACHE)/guest-$${package#linux-image-}; \
	  [ ! -e $$dir/lib ] || continue; \
	  echo "fetching $$package into $$dir"; \
	  rm -rf $$dir.new; mkdir -p $$dir.new; \
	  (cd $$dir.new && apt-get download -qq $$package && dpkg -x *.deb . && rm -rf *.deb usr); \
	  rm -rf $$dir; mv $$dir.new $$dir; \
	done
	GUEST_FETCH=1 $(GO) test -count=1 -timeout 2h -v ./test/guest

lint: check-go $(GOLANGCI) ## golangci-lint (gofumpt included), go fix, dead code, module files, licences
	$(GOLANGCI) config verify
	$(GOLANGCI) run ./...
	@diff=$$($(GO) fix -diff ./... 2>&1) || { echo "$$diff"; echo "go fix would change this: run go fix ./..."; exit 1; }
	@dead=$$($(TOOL) deadcode -test ./...); [ -z "$$dead" ] || { echo "$$dead"; exit 1; }
	$(GO) mod verify
	@$(MAKE) licences

image: check-go ## the container image for amd64 and arm64, bin/noether.image.tar, without a container engine
	@mkdir -p bin
	$(GO) run ./deploy/image/cmd/noether-image -version "$(VERSION)" -o bin/noether.image.tar

# The same commit and version give the same bytes. HELM= leaves the chart out.
release: check-go $(GOLICENSES) $(HELM) ## what is given to users, in dist: VERSION=v1.2.3 names it (default: by git)
	rm -rf dist
	@mkdir -p bin
	$(GOLICENSES) report ./cmd/noether 2>/dev/null >bin/licences.csv
	$(GO) run ./deploy/release/cmd/noether-release -o dist -version "$(VERSION)" -licence-report bin/licences.csv -helm "$(HELM)"
	@cd dist && sha256sum --quiet -c sha256sums.txt && echo "dist: sha256sum -c sha256sums.txt agrees"

deploy-check: check-go ## compose files, bills of materials (those in dist too) and dashboards against the schemas of others
	cd test/deploy && $(GO) vet ./... && $(GO) test -count=1 ./...

# The versions of the lock file; npm ci would refuse one in which packages for other platforms are missing.
ui/node_modules: ui/package-lock.json
	@command -v npm >/dev/null || { echo "npm is not installed (Debian: apt-get install npm); Node 18.20 or newer is needed to change the page, not to build noether"; exit 1; }
	cd ui && npm install --no-save --no-audit --no-fund --loglevel=error
	@touch $@

ui: ui/node_modules ## the page, out of its sources: ui/dist, which is committed
	cd ui && npm run --silent build

ui-check: ui/node_modules ## the page: types, its tests, and that ui/dist is what its sources make
	cd ui && npm run --silent check && npm run --silent test
	cd ui && npm run --silent build
	@[ -z "$$(git status --porcelain -- ui/dist)" ] || { git status --short -- ui/dist; echo "ui/dist is not what the sources make: run make ui and commit it"; exit 1; }

licences: $(GOLICENSES) ## every dependency has a licence of the list
	@$(GOLICENSES) check --allowed_licenses=$(ALLOWED_LICENSES) ./cmd/... 2>&1 | { grep -v -e 'contains non-Go code' -e '^W' -e '\.s$$' || true; }
	@echo "licences: all of $(ALLOWED_LICENSES)"

generate: check-go $(GOLANGCI) ## everything that is generated; fails if the tree then differs from what is committed
	$(GOLANGCI) fmt ./...
	$(GO) generate ./...
	@set -x; $(GO) test -p 1 $$(grep -rl --include=*_test.go 'flag.Bool("update"' internal cmd deploy | xargs -n1 dirname | sort -u | sed 's|^|./|') -update
	git diff --exit-code

# Not part of generate, which needs no network. The generator refuses any other package.
grid-tables: check-go ## the table of yearly carbon intensities, out of the npm package @tgwf/co2; needs npm
	@dir=$$(mktemp -d); trap 'rm -r "$$dir"' EXIT; (cd "$$dir" && npm pack --silent @tgwf/co2@0.19.0 >/dev/null); \
	$(GO) run ./internal/grid/yearly/generate "$$dir/tgwf-co2-0.19.0.tgz" >"$$dir/table.go"; cp "$$dir/table.go" internal/grid/yearly/table.go
	git diff --stat -- internal/grid/yearly

cross: check-go ## static binaries and compiled tests for amd64 and arm64
	@for arch in amd64 arm64; do \
	  echo "bin/noether-linux-$$arch"; \
	  GOOS=linux GOARCH=$$arch $(BUILD) -o bin/noether-linux-$$arch ./cmd/noether; \
	  CGO_ENABLED=0 GOOS=linux GOARCH=$$arch $(GO) vet ./...; \
	done

$(GOLANGCI):
	@echo "building golangci-lint v2.15.0 into $(@D), once; this takes some minutes"
	GOBIN=$(@D) $(GO) install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0

$(GOLICENSES):
	@echo "building go-licenses v1.6.0 into $(@D), once"
	GOBIN=$(@D) $(GO) install github.com/google/go-licenses@v1.6.0

$(CACHE)/helm-3.19.0/helm:
	@echo "building helm v3.19.0 into $(@D), once"
	@mkdir -p $(@D)
	cd test/e2e/cluster/tools && CGO_ENABLED=0 $(GO) build -trimpath -o $@ helm.sh/helm/v3/cmd/helm
