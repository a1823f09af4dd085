# `make test` verifies everything that a machine with Rust and make can run, and changes nothing.
# `make fmt` formats. The rest are parts of these two, for those who want one at a time.

CARGO ?= cargo
# An exported RUSTFLAGS would silently replace the flag that makes the simulated build.
SIM_CARGO := env -u RUSTFLAGS $(CARGO)
SIM_FLAGS := --target-dir target/sim --config 'build.rustflags=["--cfg","madsim"]'

# Seeds that every run of `make test` simulates; SEEDS=0..200 for more.
SEEDS ?= 0..24
# How long it simulates seeds that nobody has run before, minutes.
FRESH_MINUTES ?= 1
# How many planted bugs it hunts, another few every day, and how many seeds each may take.
MUTANTS ?= 3
MUTANT_SEEDS ?= 150
JOBS ?= 2

.PHONY: test unit tidy sim-check corpus story embed sweep fresh mutants lint fmt

test: lint unit sim-check corpus story embed sweep fresh mutants

# Every test of the workspace in the plain build; the house rules (tests/tidy.rs) are among them.
unit:
	$(CARGO) test --workspace --locked

tidy:
	$(CARGO) test --locked --test tidy

# The simulated build must compile.
sim-check:
	$(SIM_CARGO) build --quiet --package quorate-sim --profile sim --locked $(SIM_FLAGS)

# Plans that once found a bug: each must pass for ever. tests/corpus/README.md says what each found. Those in planted.txt
# must also fail with the bug that is planted there.
corpus: sim-check
	@for plan in tests/corpus/*.json; do \
		echo "corpus: $$plan"; \
		./target/sim/sim/quorate-sim run --plan $$plan || exit 1; \
	done
	@while read -r plan mutant; do \
		echo "corpus: $$plan with $$mutant"; \
		./target/sim/sim/quorate-sim run --plan tests/corpus/$$plan --mutant $$mutant --json >/dev/null; \
		case $$? in 10|11|12) ;; *) echo "it does not fail with the planted bug any more"; exit 1;; esac; \
	done < tests/corpus/planted.txt

# The simulator as a library: another project's test against a simulated cluster; docs/embedding.md explains it.
embed: sim-check
	$(SIM_CARGO) build --quiet --package quorate-sim --example embed --profile sim --locked $(SIM_FLAGS)
	@for seed in 1 2 3 4 5; do ./target/sim/sim/examples/embed $$seed || exit 1; done
	@log=target/sim/embed.log; for seed in $$(seq 1 60); do \
		./target/sim/sim/examples/embed $$seed wal-ack-before-sync >$$log 2>&1 && continue; \
		grep -qE 'was handed out twice| counted, |the cluster itself is in order|the cluster comes back' $$log && exit 0; \
		cat $$log; echo "the test failed over something else than the planted bug"; exit 1; \
	done; echo "the embedded cluster did not notice a planted bug"; exit 1

# The simulator's program as a person uses it: a failure shrinks to a story, a replay stops, two runs are compared.
story:
	$(SIM_CARGO) test --quiet --package quorate-sim --test story --profile sim --locked $(SIM_FLAGS)

# A sweep of seeds through the simulator: every failure is a seed that `cargo sim run --seed N` replays.
sweep: sim-check
	./target/sim/sim/quorate-sim sweep --seeds $(SEEDS) --jobs $(JOBS) --shrink-secs 120

# Seeds that nobody has run before, for a while. They are printed, and a failure is as good as any: run it again.
fresh: sim-check
	@first=$$(( $$(date +%s) * 1000 )); \
	echo "fresh seeds from $$first, $(FRESH_MINUTES) min"; \
	./target/sim/sim/quorate-sim sweep --seeds $$first..$$(( first + 1000 )) --minutes $(FRESH_MINUTES) --jobs $(JOBS) --shrink-secs 120

# A few of the planted bugs that are known to be caught, in rotation: the simulator must still see them.
mutants: sim-check
	./target/sim/sim/quorate-sim mutants --sample $(MUTANTS) --ranges 1 --range-seeds $(MUTANT_SEEDS) --jobs $(JOBS)

# What is missing is said, loudly, and never hides what is there.
lint:
	@if $(CARGO) fmt --version >/dev/null 2>&1; then \
		$(CARGO) fmt --all --check; \
	else \
		echo "*** rustfmt is NOT installed: the format was NOT checked ***"; \
	fi
	@if $(CARGO) clippy --version >/dev/null 2>&1; then \
		$(CARGO) clippy --workspace --all-targets --locked -- -D warnings && \
		$(SIM_CARGO) clippy --quiet --package quorate-sim --all-targets --locked $(SIM_FLAGS) -- -D warnings; \
	else \
		echo "*** clippy is NOT installed: the lints were NOT checked ***"; \
	fi
	@if $(CARGO) deny --version >/dev/null 2>&1; then \
		$(CARGO) deny check; \
	else \
		echo "*** cargo deny is NOT installed: licences, advisories and sources were NOT checked ***"; \
	fi

fmt:
	$(CARGO) fmt --all
