"""Spec to lock: conda by rattler or conda-lock, PyPI by uv or pip-tools, behind one interface per kind."""
