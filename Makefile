# Each target is one script or one command, so that it can be run, and tried, by
# itself. scripts/lib.sh settles what a bare environment lacks.
.DEFAULT_GOAL := help
SHELL := bash

FUZZTIME ?= 10s
CHAOS ?= long
ATTACK ?= .
INTERLEAVINGS ?= 10000
ROUNDS ?= 5
BUGS ?=
PROCESSES ?= 30
STOCK ?= 10

.PHONY: help
help: ## Show this help
	@awk -F ':.*## ' '/^[a-z\/]+:.*## / { printf "  %-18s %s\n", $$1, $$2 }' Makefile

.PHONY: up
up: ## Build everything, start the service with demo data, print curl lines
	@scripts/up

.PHONY: down
down: ## Stop the service; its data stays
	@scripts/compose down --remove-orphans

.PHONY: logs
logs: ## Follow the service's logs
	@scripts/compose logs --follow --tail 100

.PHONY: stress
stress: ## Prove on the running service that processes in parallel cannot oversell
	@scripts/compose exec -T api /flashsale stress inventory --processes $(PROCESSES) --stock $(STOCK) --self-check </dev/null

.PHONY: clean
clean: ## Stop the service and remove its data and what was built
	@scripts/compose down --volumes --remove-orphans
	@rm -rf build

.PHONY: generate
generate: ## Write gen/ and docs/order-states.* anew from their sources
	@scripts/generate

.PHONY: verify
verify: ## Check generated code, formatting, seeded bugs, go.mod and go vet
	@scripts/verify

.PHONY: lint
lint: ## Run the linters
	@scripts/lint

.PHONY: test
test: ## Run every test on real MySQL and Redis, with the race detector
	@scripts/test

.PHONY: test/short
test/short: ## Run the tests that need no server
	@scripts/test-short

.PHONY: test/bugs
test/bugs: ## See that the tests catch every seeded bug of test/chaos/bugs (BUGS: some)
	@scripts/bugs -j 2 $(BUGS)

.PHONY: test/fuzz
test/fuzz: ## Run every fuzz target for FUZZTIME
	@FUZZTIME=$(FUZZTIME) scripts/fuzz

.PHONY: test/chaos
test/chaos: ## Attack the service for an hour, by CHAOS=short ten minutes
	@CHAOS=$(CHAOS) scripts/chaos '$(ATTACK)'

.PHONY: test/interleavings
test/interleavings: ## Prove the money part by INTERLEAVINGS random interleavings
	@INTERLEAVINGS=$(INTERLEAVINGS) scripts/interleavings

.PHONY: bench
bench: ## Measure the reservation engine, ROUNDS times; report in build/bench
	@scripts/bench -rounds $(ROUNDS)

.PHONY: bench/short
bench/short: ## Show that everything that is measured works, in a minute or so
	@scripts/bench -tiny -out $(CURDIR)/build/bench/short

.PHONY: build
build: ## Build the binary for this machine: build/flashsale
	@scripts/build

.PHONY: image
image: ## Build the container image flashsale:dev
	@scripts/image

.PHONY: images
images: ## See to the images of MySQL and Redis
	@scripts/images

.PHONY: tools
tools: ## Build the pinned generators and linters into .tools
	@scripts/tool generate sqlc
	@scripts/tool generate oapi-codegen
	@scripts/tool lint golangci-lint
