"""What is raised for an annotation file that cannot be read or written."""

from __future__ import annotations


class DatasetError(ValueError):
    """A file is not what its format asks for; the message names file, entry and field, and says what is expected."""
