"""What others have named, on a terminal: names of files, and what libraries and servers say, are text and nothing else."""

from __future__ import annotations

import re

from rich.markup import escape

from storage.addresses import hidden

# What acts on a terminal, or turns round what is read there: control characters but for ends of lines and tabs, and what Unicode
# has to end lines and to change the direction of text; and surrogates, of which no terminal knows.
_ACTS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def plain(text: str) -> str:
    """A text without secrets, in which what acts on a terminal is spelt out, by its number."""
    return _ACTS.sub(lambda match: match[0].encode("unicode_escape").decode(), hidden(text))


def shown(text: str) -> str:
    """As `plain`, for where rich would take [brackets] for its markup."""
    return escape(plain(text))


def one_line(text: str) -> str:
    """As `shown`, in one line: a name must not look like the next message."""
    return shown(text.replace("\n", "\\n"))
