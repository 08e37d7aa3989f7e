"""Addresses as users give them: which are refused, and which filesystem they mean.

Addresses are recorded in tables, runs and logs, so they must hold no secrets.
"""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import parse_qsl

from fsspec.core import url_to_fs

from storage import s3

_PASSWORD = re.compile(r"://[^/?#@]*:[^/?#@]*@")
_SIGNATURES = {
    "x-amz-signature", "x-amz-credential", "x-amz-security-token", "awsaccesskeyid", "x-goog-signature", "x-goog-credential",
    "signature", "sig",
}  # fmt: skip
_ELSEWHERE = "credentials belong into the environment (AWS_ACCESS_KEY_ID, ...), a profile or the settings' section s3"


def refusal(address: str) -> str | None:
    """Why an address is not taken, a sentence that does not repeat its secrets; None where nothing speaks against it."""
    if re.match(r"s3a?:", address, re.IGNORECASE):
        if not s3.is_s3(address):
            return f"{_shown(address)}: an address of S3 begins with s3://, in small letters; did you mean {_meant(address)}?"
        bucket = address.partition("://")[2].partition("/")[0]
        if not bucket:
            return f"{address} names no bucket; give s3://bucket/path"
        if ":" in bucket and not bucket.startswith("arn:"):
            return f"s3://***: the address begins with credentials, which would be recorded; {_ELSEWHERE}"
    if _PASSWORD.search(address):
        return f"{_shown(address)} holds a password, which would be recorded; {_ELSEWHERE}"
    names = {name.lower() for name, _ in parse_qsl(address.partition("?")[2], keep_blank_values=True)}
    if "://" in address and names & _SIGNATURES:
        shown = address.partition("?")[0]
        return f"{shown}?... is signed, and its signature would be recorded; give it as s3://bucket/path, and {_ELSEWHERE}"
    return None


def open_address(url: str) -> tuple[Any, str]:
    """The filesystem of a path or URL, and the path on it. ValueError or ImportError where no filesystem knows it."""
    if s3.is_s3(url):  # not by fsspec, to which "::" in a name means a chain of filesystems
        fs = s3.filesystem()
        return fs, fs._strip_protocol(url)
    fs, path = url_to_fs(url)
    return fs, path


def _meant(address: str) -> str:
    return re.sub(r"^(s3a?):/*", lambda match: f"{match[1].lower()}://", _shown(address), flags=re.IGNORECASE)


def _shown(address: str) -> str:
    """The address without what stands before an @, and without its query."""
    scheme, _, rest = address.partition(":")
    hidden = "***@" if "@" in rest else ""
    slashes = rest[: len(rest) - len(rest.lstrip("/"))]
    return f"{scheme}:{slashes}{hidden}{rest.rpartition('@')[2].lstrip('/')}".partition("?")[0]
