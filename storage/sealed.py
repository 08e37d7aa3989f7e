"""JSON documents that hold their own digest, so that damage is noticed whenever one is read.

{"digest": "<SHA-256 of all the rest>", ...}. Those of earlier versions have none, and are taken as they are.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

_DIGEST = "digest"

Understood = TypeVar("Understood")


class DocumentError(ValueError):
    """A document says nothing that could be believed, or understood."""


class DamagedDocumentError(DocumentError):
    """A document is not what was written."""


class OtherFormError(DocumentError):
    """A document is whole, but of a form that this version does not write."""


def seal(value: Mapping[str, Any]) -> bytes:
    """A document of these values; what JSON has no form for is written as text."""
    plain = json.loads(json.dumps(value, default=str, sort_keys=True))
    return json.dumps({_DIGEST: _digest(plain), **plain}, indent=1).encode()


def unseal(data: bytes, understand: Callable[[Any], Understood]) -> Understood:
    """What `understand` makes of a document's values.

    Raises: DamagedDocumentError where they are not those that were written; OtherFormError where they are, and `understand`
    raises KeyError, TypeError, ValueError or AttributeError.
    """
    try:
        value = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise DamagedDocumentError("is no JSON") from error
    digest = value.pop(_DIGEST, None) if isinstance(value, dict) else None
    if digest is not None and digest != _digest(value):
        raise DamagedDocumentError("has other values than were written")
    try:
        return understand(value)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        if digest is None:
            raise DamagedDocumentError("is no document of any version") from error
        raise OtherFormError("is not of the form that this version writes") from error


def is_damaged(data: bytes) -> bool:
    """Whether a document is not what was written, as far as can be told without knowing its form."""
    try:
        unseal(data, lambda value: value)
    except DamagedDocumentError:
        return True
    return False


def _digest(value: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
