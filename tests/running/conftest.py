"""The desk of the whole runs serves here too."""

from tests.end_to_end.conftest import desk

__all__ = ["desk"]
