# `make test` verifies everything that a machine with Rust and make can run, and changes nothing.
# `make fmt` formats. The rest are parts of these two, for those who want one at a time.

CARGO ?= cargo
# An exported RUSTFLAGS would silently replace the flag that makes the simulated build.
SIM_CARGO := env -u RUSTFLAGS $(CARGO)
SIM_FLAGS := --target-dir target/sim --config 'build.rustflags=["--cfg","madsim"]'

.PHONY: test unit tidy sim-check sweep lint fmt

test: lint unit sim-check sweep

# Every test of the workspace in the plain build; the house rules (tests/tidy.rs) are among them.
unit:
	$(CARGO) test --workspace --locked

tidy:
	$(CARGO) test --locked --test tidy

# The simulated build must compile, tests included.
sim-check:
	$(SIM_CARGO) check --workspace --all-targets --locked $(SIM_FLAGS)

# A small sweep of seeds. There is no simulator to sweep with yet: this says so and checks nothing.
sweep:
	@echo "sweep: the simulator has no runs yet; nothing was checked here"

lint:
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets --locked -- -D warnings
	@if $(CARGO) deny --version >/dev/null 2>&1; then \
		$(CARGO) deny check; \
	else \
		echo "*** cargo deny is NOT installed: licences, advisories and sources were NOT checked ***"; \
	fi

fmt:
	$(CARGO) fmt --all
