# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""Measures what an integrator relies on, with the real nodes as processes: ``python -m diffpose_ros.reliability``."""
