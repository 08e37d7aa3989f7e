"""Addresses as users give them: which are refused, and which filesystem they mean.

Addresses are recorded in tables, runs and logs, so they must hold no secrets.
"""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import parse_qsl

from fsspec.core import url_to_fs
from fsspec.implementations.local import LocalFileSystem

from storage import s3
from storage.http import bounded_session

# A user's name alone may be a token to a web server. To others it is none, but what follows it and is no port is a password.
_USER = re.compile(r"https?://[^/?#@]*@", re.IGNORECASE)
_PASSWORD = re.compile(r"://(?!\[)[^/?#@:]*:(?!\d+(?:[/?#]|$))[^@]*@")
_SECRETS = (
    "x-amz-signature", "x-amz-credential", "x-amz-security-token", "awsaccesskeyid", "x-goog-signature", "x-goog-credential",
    "x-oss-signature", "x-oss-credential", "x-oss-security-token", "q-signature", "signature", "sig", "hmac", "hdnts", "token",
    "access_token", "auth_token", "id_token", "api_key", "apikey", "access_key", "secret", "secret_key", "client_secret",
    "password", "passwd", "pwd",
)  # fmt: skip
_IN_QUERY = re.compile(rf"([?&;#](?:{'|'.join(_SECRETS)})=)[^&;\s'\"<>]+", re.IGNORECASE)
_IN_AUTHORITY = re.compile(r"(https?://)[^/?#@\s]+@|(://)[^/?#@\s]*:[^/?#@\s]*@", re.IGNORECASE)
_ELSEWHERE = "credentials belong into the environment (AWS_ACCESS_KEY_ID, ...), a profile or the settings' section s3"


def refusal(address: str) -> str | None:
    """Why an address is not taken, a sentence that does not repeat its secrets; None where nothing speaks against it."""
    if refused := _no_text(address):
        return refused
    if re.match(r"s3a?:", address, re.IGNORECASE):
        if not s3.is_s3(address):
            return f"{_shown(address)}: an address of S3 begins with s3://, in small letters; did you mean {_meant(address)}?"
        bucket = address.partition("://")[2].partition("/")[0]
        if not bucket:
            return f"{address} names no bucket; give s3://bucket/path"
        if ":" in bucket and not bucket.startswith("arn:"):
            return f"s3://***: the address begins with credentials, which would be recorded; {_ELSEWHERE}"
        return _signed(address)
    if _PASSWORD.search(address) or _USER.search(address):
        return f"{_shown(address)} holds a password or token, which would be recorded; {_ELSEWHERE}"
    return _signed(address)


def hidden(text: str) -> str:
    """A text that repeats what it was given, such as another library's error, with *** for the secrets in it."""
    for secret in s3.secrets():
        text = text.replace(secret, "***")
    text = _IN_AUTHORITY.sub(lambda match: f"{match[1] or match[2]}***@", text)
    return _IN_QUERY.sub(r"\1***", text)


def open_address(url: str) -> tuple[Any, str]:
    """The filesystem of a path or URL, and the path on it. ValueError or ImportError where no filesystem knows it."""
    # Not by fsspec, to which "::" in a file's name means a chain of filesystems.
    if s3.is_s3(url):
        s3_fs = s3.filesystem()
        return s3_fs, s3_fs._strip_protocol(url)
    if "://" not in url or url.startswith(("/", "~", ".")):
        local = LocalFileSystem()
        return local, local._strip_protocol(url)
    is_web = url.lower().startswith(("http://", "https://"))
    fs, path = url_to_fs(url, **({"get_client": bounded_session} if is_web else {}))
    return fs, path


def _no_text(address: str) -> str | None:
    """Why an address can be neither opened nor recorded whatever it names: it is no text."""
    shown = address.encode("utf-8", "backslashreplace").decode()
    if shown != address:
        return f"{shown}: a name that is not UTF-8 cannot be recorded in tables: rename it"
    return f"{shown!r} holds a NUL character, which no name has" if "\0" in address else None


def _signed(address: str) -> str | None:
    where, _, query = re.sub("#", "?", address).partition("?")
    names = {name.lower() for part in query.split("?") for name, _ in parse_qsl(part, keep_blank_values=True)}
    if "://" in address and names & set(_SECRETS):
        return f"{where}?... is signed, and its signature would be recorded; give it as s3://bucket/path, and {_ELSEWHERE}"
    return None


def _meant(address: str) -> str:
    return re.sub(r"^(s3a?):/*", lambda match: f"{match[1].lower()}://", _shown(address), flags=re.IGNORECASE)


def _shown(address: str) -> str:
    """The address without what stands before an @, and without its query."""
    scheme, _, rest = address.partition(":")
    hidden_user = "***@" if "@" in rest else ""
    slashes = rest[: len(rest) - len(rest.lstrip("/"))]
    return f"{scheme}:{slashes}{hidden_user}{rest.rpartition('@')[2].lstrip('/')}".partition("?")[0]
