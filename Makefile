# Every target installs or fetches what it needs, or stops with one line that says what to install.
#   make demo    the main job, on an embedded broker, with real data      make test         all tests, against a real Kafka
#   make bench   Criterion and end-to-end benchmarks                      make bench-peers  against Python peers
#   make scoreboard DATA=dir   ranking quality on a folder of data sets   make lint         formatting and clippy

CARGO ?= cargo
DATA ?= data
PYTHON ?= python3
VENV := target/peers

.PHONY: demo test lint bench bench-peers scoreboard build kafka clean

need = @command -v $(1) >/dev/null || { echo "$(1) is missing: $(2)"; exit 1; }

demo: build
	$(CARGO) run --release --quiet -- demo $(ARGS)

test: rust kafka
	$(CARGO) test --release --all-targets $(ARGS)
	$(CARGO) test --release --doc

lint: rust
	$(CARGO) fmt --check
	$(CARGO) clippy --release --all-targets -- -D warnings

bench: rust kafka
	$(CARGO) bench $(ARGS)

scoreboard: build
	$(CARGO) run --release --quiet -- scoreboard --data $(DATA) --output target/scoreboard.json $(ARGS)

bench-peers: rust
	$(call need,$(PYTHON),install Python 3.11 or later with its venv module)
	test -x $(VENV)/bin/pip || $(PYTHON) -m venv $(VENV)
	$(VENV)/bin/pip install --quiet --requirement benches/peers/requirements.txt
	$(VENV)/bin/python benches/peers/run.py $(ARGS)

build: rust
	$(CARGO) build --release

clean:
	$(CARGO) clean

.PHONY: rust
rust:
	$(call need,$(CARGO),install Rust 1.90 or later (rustup.rs))
	$(call need,cc,install a C and C++ compiler (Debian: apt-get install build-essential))

kafka:
	$(call need,java,install Java 17 or later (Debian: apt-get install openjdk-17-jre-headless))
	$(call need,mvn,install Maven (Debian: apt-get install maven))
