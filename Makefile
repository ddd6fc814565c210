# Everything that is done with Afloat's sources. `make` alone lists the targets.

SWIFT ?= swift
PYTHON ?= /usr/bin/python3
PREFIX ?= /usr/local
DESTDIR ?=
RELEASE = .build/release
RELEASE_FLAGS = -c release --static-swift-stdlib
PROGRAMS = afloat afloat-elector afloat-balancer

.DEFAULT_GOAL := help
.PHONY: help dependencies build debug test unit integration conformance lint format demo bench bench-http bench-failover bench-calm fuzz sim install clean

help:  ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-16s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

dependencies:  ## install the Debian packages that building and testing need, if any is missing (as root)
	@cluster/lab/install-dependencies

build: dependencies  ## release build: .build/release/afloat with its two helper executables beside it
	$(SWIFT) build $(RELEASE_FLAGS)
	@ls -l $(addprefix $(RELEASE)/,$(PROGRAMS)) | awk '{ printf "  %-34s %5.1f MB\n", $$NF, $$5 / 1e6 }'

debug: dependencies  ## debug build with the unit tests
	$(SWIFT) build --build-tests

test: dependencies  ## build, then every test: unit, simulation, fuzzers (short), integration
	@$(PYTHON) integration/run_all.py

unit: dependencies  ## the unit tests alone
	@$(PYTHON) integration/run_all.py unit

integration: dependencies  ## the integration tests alone, against the release build (ARGS="-k drain" picks some)
	@$(PYTHON) integration/run_all.py integration $(ARGS)

conformance: dependencies  ## HTTP/1.1 against other parsers and suites; LLHTTP=, H1SPEC=, DESYNC= name checked-out vectors of others
	$(SWIFT) build $(RELEASE_FLAGS)
	@LLHTTP=$(LLHTTP) H1SPEC=$(H1SPEC) DESYNC=$(DESYNC) CONFORM_COUNT=$(CONFORM_COUNT) CONFORM_SEED=$(CONFORM_SEED) $(PYTHON) -m pytest integration/conformance -q $(ARGS)

sim: dependencies  ## simulate the cluster over many seeds: make sim SEEDS=1000
	@$(PYTHON) integration/run_all.py simulation --seeds $(or $(SEEDS),1000)

fuzz: dependencies  ## run every fuzzer for a while: make fuzz SECONDS=120
	@$(PYTHON) integration/run_all.py fuzz --seconds $(or $(SECONDS_EACH),$(SECONDS),120)

lint:  ## style of Swift, Python and shell sources
	@$(PYTHON) integration/lint.py

format:  ## format the Swift sources in place
	$(SWIFT) format -i -r Sources Tests Package.swift

demo: build  ## three nodes, three backends, one client, real faults; KEEP=1 leaves the cluster up
	@KEEP=$(KEEP) $(PYTHON) cluster/lab/demo.py

bench: bench-http  ## the balancer: CPU per request, memory, health checks, reloads and kills under load; about 40 minutes
	@$(PYTHON) integration/benchmarks/bench_http.py --rounds 5 --seconds 1 --threads 2 --scenario plain features 16k
	@$(PYTHON) integration/benchmarks/bench_memory.py --idle 9000 --slow 9600
	@$(PYTHON) integration/benchmarks/bench_checks.py
	@$(PYTHON) integration/benchmarks/bench_resilience.py

bench-http: build  ## CPU per proxied request, Afloat against Debian's HAProxy and nginx, interleaved; table and picture
	@mkdir -p .build/results
	@$(PYTHON) integration/benchmarks/bench_http.py --json .build/results/http.json $(ARGS)
	@$(PYTHON) integration/benchmarks/plot.py http .build/results/http.json .build/results/http.svg

bench-failover: build  ## what a client misses at each kind of failover, Afloat against Debian's keepalived: ROUNDS=10
	@$(PYTHON) integration/benchmarks/bench_failover.py --rounds $(or $(ROUNDS),10) $(ARGS)

bench-calm: build  ## whether a calm cluster stays calm: ARGS="--minutes 2 --heartbeat 10ms --busy 8"
	@$(PYTHON) integration/benchmarks/bench_calm.py $(ARGS)

install: build  ## install under PREFIX (= /usr/local), below DESTDIR if that is set
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/libexec/afloat $(DESTDIR)$(PREFIX)/share/doc/afloat
	install -m 755 $(RELEASE)/afloat $(DESTDIR)$(PREFIX)/bin/afloat
	install -m 755 $(RELEASE)/afloat-elector $(RELEASE)/afloat-balancer $(DESTDIR)$(PREFIX)/libexec/afloat/
	install -m 644 README.md LICENSE CHANGELOG.md docs/*.md $(DESTDIR)$(PREFIX)/share/doc/afloat/

clean:  ## remove everything built
	rm -rf .build
