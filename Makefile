# The menu. Everything a person needs is here; `make` alone prints it.

PYTHON ?= python3
TOOLS := $(CURDIR)/.tools
SDK := sdk/typescript
export PATH := $(TOOLS)/bin:$(PATH)

.PHONY: help demo dev test sdk schemathesis storm check bench bench-gateway bench-query bench-jobs docs fmt tools

help: ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

demo: ## build, start everything on loopback, and play the expenses story, asserting each step
	cargo build --release --bin rolegate
	target/release/rolegate demo

dev: ## everything on loopback with the expenses example, until Ctrl-C
	cargo run --bin rolegate -- dev --example expenses

test: tools ## unit, database and end-to-end tests on PostgreSQL 15 or newer and 18; schemathesis; sdk
	cargo build --bin rolegate
	cargo run -q -p rolegate-testkit --bin with-clusters -- -- cargo nextest run --workspace
	cargo test -q --doc --workspace
	@./.ci/schemathesis
	@$(MAKE) --no-print-directory sdk

schemathesis: ## requests made from the OpenAPI documents of gateway and console, their answers compared with them
	cargo build --bin rolegate
	@./.ci/schemathesis

storm: ## 100,000 jobs while workers, the leader and PostgreSQL are killed; the counts go to bench/results
	cargo build --bin rolegate
	ROLEGATE_STORM_JOBS=100000 ROLEGATE_STORM_REPORT=$(CURDIR)/bench/results/$$(date +%F)-storm.md \
		cargo test -q -p rolegate-cli --test storm -- --nocapture every_job

check: tools $(SDK)/node_modules/.package-lock.json ## formatting, lints, types, documentation, licences, spelling
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --quiet
	cargo deny check licenses bans sources
	$(TOOLS)/venv/bin/typos
	cd $(SDK) && npm run check

sdk: $(SDK)/node_modules/.package-lock.json ## tests of the TypeScript client, alone and with a server
	cargo build --bin rolegate
	cd $(SDK) && npm test
	cd $(SDK) && ROLEGATE_BIN=$${CARGO_TARGET_DIR:-$(CURDIR)/target}/debug/rolegate npm run test:server
	@if [ -x "$${CHROMIUM:-/usr/bin/chromium}" ]; then \
		cd $(SDK) && ROLEGATE_BIN=$${CARGO_TARGET_DIR:-$(CURDIR)/target}/debug/rolegate npm run test:browser; \
	else \
		echo "there is no Chromium: the tests from a page are left out (Debian: apt-get install chromium)" >&2; \
	fi

# Written by npm when it has installed what the lock says.
$(SDK)/node_modules/.package-lock.json: $(SDK)/package-lock.json $(SDK)/package.json
	@./.ci/tools node
	cd $(SDK) && npm ci
	@touch $@

bench: bench-gateway bench-query bench-jobs ## all benchmarks

bench-gateway: ## calls against pgbench, a bare HTTP handler and postgraphile, in one run
	cargo build --release --bin rolegate
	$(PYTHON) bench/gateway.py

bench-query: ## queries against pgbench and a bare HTTP handler; live queries with 10,000 clients
	cargo build --release --bin rolegate
	$(PYTHON) bench/query.py
	$(PYTHON) bench/live.py

bench-jobs: ## job queues beside each other: drain, enqueue, pickup, pinned horizon, installation
	$(PYTHON) bench/jobs.py

docs: ## the book, into docs/book; installs mdbook into .tools the first time
	@./.ci/tools mdbook
	mdbook build docs

fmt: ## format everything
	cargo fmt --all

tools: ## what tests and checks need and the machine does not have, into .tools
	@./.ci/tools
