# almamigrate - build, test, install. `make help` lists the targets.
# On a fresh Debian with Go and root, `make test` and `make demo` are all that is needed: they install from apt what is
# missing and say so. Without root they do what needs none and name the rest.

SHELL    := /bin/bash
GO       ?= go
MODULE   := github.com/almamigrate/almamigrate
VERSION  ?= $(patsubst v%,%,$(shell git describe --tags --dirty 2>/dev/null || cat packaging/VERSION))
ARCHES   ?= amd64 arm64 ppc64le s390x
PREFIX   ?= /usr
DESTDIR  ?=
FUZZTIME ?= 30s
DISTRO   ?= centos
MAJOR    ?= 8

# static, without paths, times and build ids of this machine: the same sources give the same bytes
GOBUILD  := CGO_ENABLED=0 GOAMD64=v1 $(GO) build -trimpath -buildvcs=false -ldflags '-s -w -buildid= -X $(MODULE)/agent/cli.Version=$(VERSION)'
# a version of a package has no "-": 0.1.0-15-gabc becomes 0.1.0.15.gabc
RPMVERSION = $(subst -,.,$(VERSION))
RPMARCHES ?= $(shell uname -m)
LINT     := $(firstword $(wildcard bin/tools/golangci-lint) $(shell type -P golangci-lint 2>/dev/null))

.DEFAULT_GOAL := build
.PHONY: help build build-all reproducible check lint tools test test-systemd test-fleet crash full el10 boot-crash efi-guest demo fuzz bench perf cover man completions source dist rpm rpmlint install install-files clean lab-down

help: ## show this list
	@awk 'BEGIN {FS = ":.*## "} /^[a-z0-9-]+:.*## / {printf "  %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

build: ## build bin/almamigrate for this machine
	$(GOBUILD) -o bin/almamigrate ./agent/almamigrate

build-all: ## build dist/almamigrate-linux-ARCH for all architectures
	@set -e; for a in $(ARCHES); do echo "build $$a"; GOOS=linux GOARCH=$$a $(GOBUILD) -o dist/almamigrate-linux-$$a ./agent/almamigrate; done
	@cd dist && sha256sum almamigrate-linux-* > SHA256SUMS && cat SHA256SUMS

reproducible: ## build twice, in different folders and with empty caches, and compare
	@GO="$(GO)" VERSION="$(VERSION)" test/reproducible

check: lint ## gofmt, go vet, layering, golangci-lint where it is installed
lint:
	@out=$$(gofmt -l $$(git ls-files -co --exclude-standard '*.go')); [ -z "$$out" ] || { echo "not formatted:"; echo "$$out"; exit 1; }
	$(GO) vet ./...
	$(GO) test ./test/layering/
	@if [ -n "$(LINT)" ]; then "$(LINT)" run; else echo "golangci-lint is not installed: left out (make tools builds it)"; fi

tools: ## build golangci-lint, as pinned in packaging/tools, into bin/tools
	cd packaging/tools && GOBIN=$(CURDIR)/bin/tools $(GO) install tool

test: build ## run all tests; as root with the lab's hosts (installs Debian packages that are missing)
	@GO="$(GO)" test/run

test-systemd: build ## the tests in hosts with a real systemd, all of them and none left out; needs root
	test/lab/lab deps
	test/lab/nspawn deps
	ALMAMIGRATE_LAB=1 ALMAMIGRATE_LAB_SYSTEMD=1 $(GO) test -count=1 -v -timeout 15m -run '^TestSystemd' ./test/e2e/

crash: build ## every crash and failure at every fault point, on hosts of the lab; takes an hour or two, needs root (ALMAMIGRATE_SEED=N CRASH=sample: a sample)
	test/lab/lab deps
	ALMAMIGRATE_LAB=1 ALMAMIGRATE_CRASH=$(or $(CRASH),all) $(GO) test -count=1 -v -timeout 6h -run '^(TestCrash|TestFailures|TestDisk|TestHard|TestSignals)' ./test/e2e/

full: build ## full migrations there and back on every kind of host, compared with dnf's distro-sync, and killed in their transaction; needs root (CRASH=sample: a sample)
	test/lab/lab deps
	ALMAMIGRATE_LAB=1 ALMAMIGRATE_FULL=all ALMAMIGRATE_CRASH=$(or $(CRASH),all) $(GO) test -count=1 -v -timeout 4h -run '^(TestMigrateFull|TestFullCrash|TestFullFails|TestRollbackDepth)' ./test/e2e/

el10: build ## CentOS Stream, Rocky, Oracle and RHEL 10: the branding and full migrations, there and back; some minutes, needs root
	test/lab/lab deps
	ALMAMIGRATE_LAB=1 ALMAMIGRATE_EL10=all $(GO) test -count=1 -v -timeout 60m -run '^TestEL10' ./test/e2e/

boot-crash: build ## full migrations killed at the fault points of booting, and what keeps a host from booting (CRASH=all: every point); needs root
	test/lab/lab deps
	ALMAMIGRATE_LAB=1 ALMAMIGRATE_CRASH=$(or $(CRASH),sample) $(GO) test -count=1 -v -timeout 60m -run '^TestBoot' ./test/e2e/

efi-guest: ## boot entries in a machine with real UEFI firmware, with efibootmgr as the oracle; some minutes; needs root
	test/lab/efi-guest

test-fleet: build ## a fleet by ssh and real Ansible: rollouts that fail, resume, reboot, and lose their connection; needs root
	test/lab/lab deps
	test/lab/nspawn deps
	test/lab/sshd deps
	ALMAMIGRATE_LAB=1 ALMAMIGRATE_LAB_SYSTEMD=1 ALMAMIGRATE_LAB_FLEET=1 $(GO) test -count=1 -v -timeout 30m -run '^(TestAnsible|TestFleet|TestSystemdSSHCut)' ./test/e2e/

demo: build ## EL8 and EL9 look-alike hosts become AlmaLinux and what they were again (or DISTRO=rocky MAJOR=9); without root: check --demo
	@DISTRO="$(DISTRO)" MAJOR="$(MAJOR)" test/demo

fuzz: ## run every fuzz test for FUZZTIME (30s)
	@set -e; for f in $$(git ls-files '*_test.go' | xargs grep -l '^func Fuzz'); do d=$$(dirname $$f); \
	  for t in $$(sed -n 's/^func \(Fuzz[A-Za-z0-9_]*\)(.*/\1/p' $$f); do echo "fuzz $$d $$t"; $(GO) test -run '^$$' -fuzz "^$$t\$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 20x ./$$d; done; done

bench: ## run the Go benchmarks
	$(GO) test -run '^$$' -bench . -benchmem ./pkg/... ./agent/...

perf: build ## compare with rpm and dnf on a host of 1,500 packages; prints a markdown table
	test/lab/perf
	test/lab/perf-run

cover: ## test coverage: coverage.out and the total
	$(GO) test -coverpkg=./pkg/...,./agent/... -coverprofile=coverage.out ./...
	$(GO) tool cover -func=coverage.out | tail -1

man: build ## write the man pages to dist/man
	rm -rf dist/man && mkdir -p dist/man
	bin/almamigrate man dist/man
	cp packaging/man/* dist/man/

completions: build ## write the shell completions to dist/completions
	mkdir -p dist/completions
	bin/almamigrate completion bash > dist/completions/almamigrate.bash
	bin/almamigrate completion zsh > dist/completions/_almamigrate
	bin/almamigrate completion fish > dist/completions/almamigrate.fish

source: ## dist/almamigrate-VERSION.tar.gz: the committed sources with the Go modules they use
	@GO="$(GO)" packaging/source "$(RPMVERSION)" dist

dist: ## dist/almamigrate-VERSION: source tarball, binaries for all architectures, SBOM, SHA256SUMS
	@GO="$(GO)" ARCHES="$(ARCHES)" packaging/release "$(RPMVERSION)" dist

rpm: ## dist/rpm: the packages for RPMARCHES (this machine's), built of the source tarball
	@GO="$(GO)" packaging/rpm "$(RPMVERSION)" dist/rpm $(RPMARCHES)

rpmlint: ## look at the packages in dist/rpm with rpmlint
	rpmlint -c packaging/rpmlint.toml packaging/almamigrate.spec $(wildcard dist/rpm/*.rpm)

install: build man completions ## build and install below DESTDIR with PREFIX (/usr)
	@$(MAKE) --no-print-directory install-files

install-files: # what is built already
	install -D -m755 bin/almamigrate $(DESTDIR)$(PREFIX)/bin/almamigrate
	install -d $(DESTDIR)$(PREFIX)/share/man/man5 $(DESTDIR)$(PREFIX)/share/man/man8
	for n in 5 8; do for f in dist/man/*.$$n; do [ ! -e $$f ] || install -m644 $$f $(DESTDIR)$(PREFIX)/share/man/man$$n/; done; done
	install -D -m644 dist/completions/almamigrate.bash $(DESTDIR)$(PREFIX)/share/bash-completion/completions/almamigrate
	install -D -m644 dist/completions/_almamigrate $(DESTDIR)$(PREFIX)/share/zsh/site-functions/_almamigrate
	install -D -m644 dist/completions/almamigrate.fish $(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d/almamigrate.fish
	install -d $(DESTDIR)/etc/almamigrate/conf.d $(DESTDIR)/etc/almamigrate/catalog.d
	[ -e $(DESTDIR)/etc/almamigrate/almamigrate.conf ] || install -m644 packaging/almamigrate.conf $(DESTDIR)/etc/almamigrate/almamigrate.conf
	install -D -m644 packaging/almamigrate.logrotate $(DESTDIR)/etc/logrotate.d/almamigrate
	install -d $(DESTDIR)$(PREFIX)/share/almamigrate/schema
	install -m644 packaging/schema/*.json $(DESTDIR)$(PREFIX)/share/almamigrate/schema/
	install -d $(DESTDIR)/usr/lib/systemd/system
	for f in systemd/almamigrate-*.service systemd/almamigrate-*.timer; do sed 's|/usr/bin/almamigrate|$(PREFIX)/bin/almamigrate|' $$f > $(DESTDIR)/usr/lib/systemd/system/$${f##*/}; done
	install -D -m644 systemd/90-almamigrate.preset $(DESTDIR)/usr/lib/systemd/system-preset/90-almamigrate.preset
	install -D -m644 systemd/almamigrate.tmpfiles $(DESTDIR)/usr/lib/tmpfiles.d/almamigrate.conf
	install -D -m644 systemd/almamigrate.catalog $(DESTDIR)/usr/lib/systemd/catalog/almamigrate.catalog

lab-down: ## stop the lab's server and free its memory
	test/lab/lab down

clean: ## remove what was built and the lab's state
	-[ "$$(id -u)" != 0 ] || test/lab/lab down
	rm -rf bin dist coverage.out .lab
