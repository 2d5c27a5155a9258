# Every target installs or fetches what it needs, or stops with one line that says what to install.
#   make demo    the main job, on an embedded broker, with real data      make test         all tests, against a real Kafka
#   make chaos   exactly once under faults: twenty minutes; ARGS=--short takes one, and is part of make test
#   make soak    half an hour at 80 % of this machine's peak: nothing lost or doubled, no growth of memory, descriptors, threads or lag
#   make bench   Criterion and end-to-end benchmarks                      make bench-peers  against peers
#   make scoreboard DATA=dir   ranking quality on a folder of data sets   make lint         formatting and clippy
#   make cuda    the build for NVIDIA GPUs, on any machine                make check-cuda   clippy on its code
#   make fuzz    each decoder, the configuration and snapshots against bytes that are made to break them, FUZZ_SECONDS each
#   make test-cuda   the arithmetic against its reference, on a GPU if LD_LIBRARY_PATH leads to NVIDIA's libraries

CARGO ?= cargo
DATA ?= data
PYTHON ?= python3
VENV := target/peers
FUZZ_SECONDS ?= 60
FUZZ_TARGETS ?= json score letter chunks restore config
FUZZ := target/fuzz
# The oldest GPUs to build for: 80 is Ampere (A100). Newer ones translate its PTX when the program starts.
CUDA_COMPUTE_CAP ?= 80
CUDA := target/cuda
CUDA_TOOLKIT := $(CUDA)/toolkit/nvidia/cu13
CUDA_STUBS := $(CUDA_TOOLKIT)/lib/stubs
CUDA_BUILD := CUDA_HOME=$(abspath $(CUDA_TOOLKIT)) NVCC=$(abspath $(CUDA_TOOLKIT))/bin/nvcc \
	CUDA_COMPUTE_CAP=$(CUDA_COMPUTE_CAP) CUDARC_CUDA_VERSION=13000

.PHONY: demo test chaos soak lint bench bench-peers scoreboard build fuzz cuda test-cuda check-cuda kafka clean

need = @command -v $(1) >/dev/null || { echo "$(1) is missing: $(2)"; exit 1; }

demo: build
	$(CARGO) run --release --quiet -- demo $(ARGS)

test: rust kafka
	$(CARGO) build --release $(FAILPOINTS) --examples
	$(CARGO) test --release $(FAILPOINTS) --all-targets $(ARGS)
	$(CARGO) test --release $(FAILPOINTS) --doc
	$(MAKE) chaos ARGS=--short

# What tests run has places where they can have it die; what is installed has not.
FAILPOINTS := --features failpoints

chaos: rust kafka
	$(CARGO) test --release --quiet $(FAILPOINTS) --test chaos -- $(ARGS)

# Of the program as it is installed.
soak: rust kafka
	$(CARGO) test --release --quiet --test soak -- $(ARGS)

lint: rust
	$(CARGO) fmt --check
	$(CARGO) fmt --check --manifest-path fuzz/Cargo.toml
	$(CARGO) clippy --release --all-targets -- -D warnings
	$(CARGO) clippy --release $(FAILPOINTS) --all-targets -- -D warnings
	$(CARGO) clippy --release $(FAILPOINTS) --test chaos --test soak -- -D warnings

bench: rust kafka
	$(CARGO) bench $(ARGS)

scoreboard: build
	$(CARGO) run --release --quiet -- scoreboard --data $(DATA) --output target/scoreboard.json $(ARGS)

# Only the ranking of files has a peer in Java.
bench-peers: RANKING = $(if $(or $(findstring --only files,$(ARGS)),$(if $(findstring --only,$(ARGS)),,yes)),$(findstring --data,$(ARGS)))
bench-peers: rust
	$(call need,$(PYTHON),install Python 3.11 or later with its venv module)
	$(if $(RANKING),$(call need,java,install Java 17 or later (Debian: apt-get install openjdk-17-jdk-headless)))
	$(if $(RANKING),$(call need,javac,install a JDK 17 or later (Debian: apt-get install openjdk-17-jdk-headless)))
	$(if $(RANKING),$(call need,mvn,install Maven (Debian: apt-get install maven)))
	test -x $(VENV)/bin/pip || $(PYTHON) -m venv $(VENV)
	$(VENV)/bin/pip install --quiet --requirement benches/peers/requirements.txt \
		$(if $(findstring --torch,$(ARGS)),--requirement benches/peers/requirements-torch.txt)
	$(VENV)/bin/python benches/peers/run.py $(ARGS)

build: rust
	$(CARGO) build --release

# By libFuzzer, on stable Rust: without a sanitizer, since the program has next to no unsafe code. What is new is kept in target/fuzz/corpus,
# and an input that breaks something in target/fuzz/found: fix it, and give the input a name in fuzz/corpus.
fuzz: rust
	@$(CARGO) fuzz --version >/dev/null 2>&1 || $(CARGO) install --locked cargo-fuzz
	cp Cargo.lock fuzz/Cargo.lock
	@for target in $(FUZZ_TARGETS); do \
		mkdir -p $(FUZZ)/corpus/$$target $(FUZZ)/found && \
		$(CARGO) fuzz run --sanitizer none --target-dir $(FUZZ) $$target $(FUZZ)/corpus/$$target fuzz/corpus/$$target -- \
			-max_total_time=$(FUZZ_SECONDS) -rss_limit_mb=1024 -timeout=10 -print_final_stats=1 -artifact_prefix=$(FUZZ)/found/$$target- \
			|| exit 1; \
	done

# Needs neither a GPU nor NVIDIA's software: the compiler comes from PyPI, and the linker is content with stubs.
cuda: rust $(CUDA_TOOLKIT)/lib/libcudart.a
	$(CUDA_BUILD) $(CARGO) build --release --features cuda --target-dir $(CUDA) $(ARGS)
	@echo "Built $(CUDA)/release/surprisal. It needs a driver of series 580 or later, which brings libcuda.so.1, and a folder on LD_LIBRARY_PATH"
	@echo "with libcublas.so.13, libcublasLt.so.13 and libcurand.so.10 (CUDA 13, or the wheels that PyTorch depends on). Where there is no GPU,"
	@echo "it starts with LD_LIBRARY_PATH=$(CUDA_STUBS) and does its arithmetic on the processor."

test-cuda: rust $(CUDA_TOOLKIT)/lib/libcudart.a
	LD_LIBRARY_PATH=$${LD_LIBRARY_PATH:-$(abspath $(CUDA_STUBS))} $(CUDA_BUILD) \
		$(CARGO) test --release --features cuda --target-dir $(CUDA) --lib --test kernels $(ARGS) -- --show-output

$(CUDA_TOOLKIT)/bin/nvcc: deploy/cuda/requirements.txt
	$(call need,$(PYTHON),install Python 3.9 or later with pip)
	@$(PYTHON) -m pip --version >/dev/null 2>&1 || { echo "pip is missing: install it for $(PYTHON) (Debian: apt-get install python3-pip)"; exit 1; }
	rm -rf $(CUDA)/toolkit
	$(PYTHON) -m pip install --quiet --no-deps --only-binary :all: --root-user-action ignore --target $(CUDA)/toolkit --requirement $<
	@touch $@

# With libcudart.a beside no libcudart.so, the runtime is linked statically.
$(CUDA_TOOLKIT)/lib/libcudart.a: deploy/cuda/stubs.py Cargo.lock $(CUDA_TOOLKIT)/bin/nvcc
	CARGO=$(CARGO) $(PYTHON) $< $(CUDA_STUBS)
	ln -sf libcudart_static.a $@
	@touch $@

# Into a folder of its own, because what the stub of nvcc leaves behind must never be linked.
check-cuda: rust
	NVCC=$(CURDIR)/deploy/cuda/nvcc-stub CUDA_COMPUTE_CAP=$(CUDA_COMPUTE_CAP) CUDARC_CUDA_VERSION=13000 \
		$(CARGO) clippy --features cuda --all-targets --target-dir target/check-cuda -- -D warnings

clean:
	$(CARGO) clean

.PHONY: rust
rust:
	$(call need,$(CARGO),install Rust 1.90 or later (rustup.rs))
	$(call need,cc,install a C and C++ compiler (Debian: apt-get install build-essential))

kafka:
	$(call need,java,install Java 17 or later (Debian: apt-get install openjdk-17-jre-headless))
	$(call need,mvn,install Maven (Debian: apt-get install maven))
