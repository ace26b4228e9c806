"""Measures what an integrator relies on, with the real nodes as processes: ``python -m diffpose_ros.reliability``."""
