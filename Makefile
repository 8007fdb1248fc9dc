# make install: the .venv with everything; every other target installs first when it must.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
export HF_HUB_OFFLINE ?= 1

.PHONY: install demo test browser check conformance deliver bench docs notebooks clean
install: $(STAMP)

$(STAMP): constraints.txt pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet "$$(grep '^torch==' constraints.txt)"
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[dev]"
	touch $(STAMP)

demo: $(STAMP)
	$(BIN)/paring demo

test: $(STAMP) browser
	$(BIN)/python -m pytest -n 2 --dist loadgroup -m "not conformance_matrix"

browser: # a chromium for the test that opens the report; without apt or root that test is skipped
	@.ci/chromium

conformance: $(STAMP)
	$(BIN)/python -m pytest -n 2 -m conformance_matrix tests/test_conformance.py

check: $(STAMP)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

deliver: $(STAMP) # make deliver TASK=task.py:task RECIPE=recipe.yaml BUDGET=budget.yaml IN_SERVICE=released
	$(BIN)/paring compress "$(TASK)" --recipe "$(RECIPE)" --out "$(or $(OUT),out)"
	test ! -e "$(IN_SERVICE)" || $(BIN)/paring gate "$(or $(OUT),out)/artifact" --against "$(IN_SERVICE)" --budget "$(BUDGET)"

bench: $(STAMP) # hours; each script keeps the rows it has, so stop and go on as you like. BENCH=measure runs one
	cd benchmarks && for name in $(or $(BENCH),measure prune factorize distill quantize bits size serve search); do \
		test ! -f $$name.py || OMP_NUM_THREADS=1 ../$(BIN)/python $$name.py || exit 1; done

docs: $(STAMP) # the guide as a site in out/site
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet

NOTEBOOKS := out/notebooks
KERNEL := {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
notebooks: $(STAMP) # the same pages as notebooks in out/notebooks, side by side, links among them included
	rm -rf $(NOTEBOOKS) && mkdir -p $(NOTEBOOKS)
	cp docs/*.md docs/*/*.md docs/*.py $(NOTEBOOKS)
	cd $(NOTEBOOKS) && sed -i -E 's#\]\((\.\./)?([a-z]+/)?([a-z_-]+)\.md#](\3.ipynb#g; s#\]\(\.\./small_task#](small_task#g' *.md \
		&& ../../$(BIN)/jupytext --quiet --to ipynb --update-metadata '$(KERNEL)' *.md && rm *.md

clean:
	rm -rf $(VENV) out .pytest_cache .mypy_cache .ruff_cache
