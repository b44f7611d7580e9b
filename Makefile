# Everything a person does with this repository. The work is in scripts/.

.DEFAULT_GOAL := help
.PHONY: help up test bench lint fmt

help: ## Print this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

up: ## Install what is missing, build, start the server and print its URLs
	@scripts/up.sh

test: ## Install what the tests need and run them all
	@scripts/test.sh

bench: ## Measure; with ARGS=--write also put the figures into docs/benchmarks.md
	@scripts/bench.sh $(ARGS)

lint: ## Check the format and the lints
	@scripts/lint.sh

fmt: ## Format the code
	@cargo fmt --all
