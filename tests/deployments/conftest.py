"""The small clip of the flows' tests."""

from tests.flows.conftest import people_clip  # noqa: F401 - a fixture
