"""Readers of motion data as it is published: original files to recordings."""
