# Every target sets up a real ComfyUI first, once: see tools/host.py. COMFYUI_PATH uses an existing one instead.

ifndef PYTHON
PYTHON := $(shell for python in python3.11 python3; do $$python -c "" 2>/dev/null && echo $$python && break; done)
endif
PREDICTION ?= v
CACHE := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/imprint

# Exports COMFYUI_PATH and COMFYUI_PYTHON to the rest of a recipe's line.
HOST = host="$$($(PYTHON) -m tools.host)" && set -a && eval "$$host" && set +a

.DEFAULT_GOAL := help
.PHONY: help demo test snapshot lint serve thumbnails artwork browser train bench readme

help: ## this list
	@sed -n 's/^\([a-z]*\):.*## /  make \1 - /p' Makefile

demo: ## edits a picture on a real ComfyUI server, writes out/demo.png
	@$(PYTHON) -m tools.demo

test: lint ## everything that CI runs
	@$(HOST) && cd tests && OMP_NUM_THREADS=1 "$$COMFYUI_PYTHON" -m pytest --numprocesses auto --maxprocesses 4 --dist worksteal --ignore browser

browser: lint ## the tests in headless Chromium; they need a quiet machine
	@$(HOST) && cd tests && OMP_NUM_THREADS=1 "$$COMFYUI_PYTHON" -m pytest --numprocesses 2 --dist loadfile browser

snapshot: ## writes the ids that workflow files depend on, after a change that is meant
	@$(HOST) && cd tests && IMPRINT_WRITE_SNAPSHOT=1 "$$COMFYUI_PYTHON" -m pytest host/test_schema.py

lint: ## ruff, pyright, and TypeScript on js/
	@$(HOST) && "$$COMFYUI_PYTHON" -m ruff check && "$$COMFYUI_PYTHON" -m ruff format --check \
		&& PYTHONPATH="$$COMFYUI_PATH" "$$COMFYUI_PYTHON" -m pyright --pythonpath "$$COMFYUI_PYTHON" \
		&& "$$COMFYUI_PYTHON" -m tools.web

serve: ## ComfyUI with this checkout, until Ctrl-C
	@$(PYTHON) -m tools.server

thumbnails: ## runs the templates, writes example_workflows/*.jpg
	@$(HOST) && "$$COMFYUI_PYTHON" -m tools.thumbnails

artwork: ## edits pictures with the demo model, writes media/icon.png and media/banner.png
	@$(HOST) && "$$COMFYUI_PYTHON" tools/in_host.py tools.artwork

train: ## trains demo/weights anew; PREDICTION=v, eps or flow; stops and resumes at any time
	@$(HOST) && mkdir -p "$(CACHE)" && "$$COMFYUI_PYTHON" tools/in_host.py demo.training.train \
		--prediction $(PREDICTION) --checkpoint "$(CACHE)/demo_$(PREDICTION).pt"

bench: ## one of benchmarks/, by NAME=; ARGS= are its options
	@test -n "$(NAME)" || { echo "make bench NAME=..., one of: $(basename $(notdir $(wildcard benchmarks/[a-z]*.py)))"; exit 1; }
	@$(HOST) && "$$COMFYUI_PYTHON" tools/in_host.py benchmarks.$(NAME) $(ARGS)

readme: ## writes the numbers of benchmarks/results/ into README.md and benchmarks/README.md
	@$(PYTHON) benchmarks/readme.py
