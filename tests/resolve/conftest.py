"""What the tests of the resolvers share."""

from tests.resolve.pypi_index import pypi_index

__all__ = ["pypi_index"]
