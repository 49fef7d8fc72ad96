# Every target sets up a real ComfyUI first, once: see tools/host.py. COMFYUI_PATH uses an existing one instead.

ifndef PYTHON
PYTHON := $(shell for python in python3.11 python3; do $$python -c "" 2>/dev/null && echo $$python && break; done)
endif
PREDICTION ?= v
CACHE := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/imprint

# Exports COMFYUI_PATH and COMFYUI_PYTHON to the rest of a recipe's line.
HOST = host="$$($(PYTHON) tools/host.py)" && set -a && eval "$$host" && set +a
HOST_DEV = $(subst host.py,host.py --dev,$(HOST))

.DEFAULT_GOAL := help
.PHONY: help demo test lint serve train bench

help: ## this list
	@sed -n 's/^\([a-z]*\):.*## /  make \1 - /p' Makefile

demo: ## edits a picture on a real ComfyUI server, writes out/demo.png
	@$(PYTHON) tools/demo.py

test: lint ## everything that CI runs
	@$(HOST_DEV) && cd tests && OMP_NUM_THREADS=1 "$$COMFYUI_PYTHON" -m pytest

lint: ## ruff and pyright
	@$(HOST_DEV) && "$$COMFYUI_PYTHON" -m ruff check && "$$COMFYUI_PYTHON" -m ruff format --check \
		&& PYTHONPATH="$$COMFYUI_PATH" "$$COMFYUI_PYTHON" -m pyright --pythonpath "$$COMFYUI_PYTHON"

serve: ## ComfyUI with this checkout, until Ctrl-C
	@$(PYTHON) tools/server.py

train: ## trains demo/weights anew; PREDICTION=v, eps or flow; stops and resumes at any time
	@$(HOST) && mkdir -p "$(CACHE)" && "$$COMFYUI_PYTHON" tools/in_host.py demo.train \
		--prediction $(PREDICTION) --checkpoint "$(CACHE)/demo_$(PREDICTION).pt"

bench: ## one of benchmarks/, by NAME=; ARGS= are its options
	@test -n "$(NAME)" || { echo "make bench NAME=..., one of: $(basename $(notdir $(wildcard benchmarks/[a-z]*.py)))"; exit 1; }
	@$(HOST) && "$$COMFYUI_PYTHON" tools/in_host.py benchmarks.$(NAME) $(ARGS)
