"""S3, and the one place that knows it: who it is, which credentials, and what its errors mean to a user.

Endpoint, region and credentials are what botocore finds, as in every S3 client: the environment (AWS_ACCESS_KEY_ID,
AWS_PROFILE, AWS_ENDPOINT_URL, ...), profiles in ~/.aws, roles. s3fs asks botocore by itself; delta-rs, which reads less (no
endpoint of a profile) and guesses more, is told everything. They are looked up at use, so that temporary credentials are
renewed, and are never part of what is stored or sent.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

import botocore.session
from aiobotocore.session import AioSession
from botocore import exceptions
from botocore.utils import parse_timestamp
from pyarrow.fs import S3FileSystem as ArrowS3FileSystem
from s3fs import S3FileSystem

SCHEMES = ("s3://", "s3a://")
# What decides whose credentials are used; who gives keys or a profile means none of those that were there.
_KEYS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
_CREDENTIALS = (*_KEYS, "AWS_SESSION_TOKEN", "AWS_SECURITY_TOKEN", "AWS_CREDENTIAL_EXPIRATION")
# Open videos hold a block each, and a jump fetches one: s3fs's own 50 MiB are much for both.
_BLOCK_BYTES = 8 * 2**20
_A_REQUEST = 1000  # objects that S3 removes at once
# A first look must not take the minutes for which a run bears with a server: at most some 15 s.
_IMPATIENT = {"connect_timeout": 5, "read_timeout": 7, "retries": {"max_attempts": 1}}
_REFUSED = {"InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidToken", "InvalidClientTokenId", "InvalidSecurity"}
_EXPIRED = {"ExpiredToken", "TokenRefreshRequired", "RequestExpired"}
_ELSEWHERE = {"PermanentRedirect", "301", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException"}

_SECRET = ("AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_SECURITY_TOKEN", "AWS_ACCESS_KEY_ID")
_SHORTEST_SECRET = 6  # what is shorter stands in too many words to be taken out of a text

_applied: dict[str, str | None] = {}
_used: set[str] = set()  # secrets of profiles and roles, which no variable holds


class S3Error(RuntimeError):
    """S3 cannot be used as asked; the message says why and what to check, and holds no secret."""


def is_s3(url: str) -> bool:
    """Whether an address is one of S3."""
    return url.startswith(SCHEMES)


def filesystem() -> S3FileSystem:
    """S3 as a filesystem, without cached listings; one for each environment that this process has had."""
    return _filesystem(_environment(), os.getpid(), is_patient=True)


def delta_options() -> dict[str, str]:
    """`storage_options` with which delta-rs talks to the same endpoint, by the same credentials, as `filesystem()`.

    They hold secrets, and temporary credentials run out: make them anew for each use. Raises S3Error where botocore finds none.
    """
    try:
        session, endpoint_url, region = _session(_environment(), os.getpid())
        credentials = session.get_credentials()
        if credentials is None:
            raise exceptions.NoCredentialsError
        keys = credentials.get_frozen_credentials()
        _used.update(filter(None, (keys.access_key, keys.secret_key, keys.token)))
    except Exception as error:
        raise S3Error(explain(error)) from None
    return {
        "AWS_ENDPOINT_URL": endpoint_url,
        "AWS_ENDPOINT_URL_S3": endpoint_url,  # or that of the environment would win
        "AWS_ALLOW_HTTP": str(endpoint_url.startswith("http://")).lower(),
        "AWS_REGION": region,
        "AWS_ACCESS_KEY_ID": keys.access_key,
        "AWS_SECRET_ACCESS_KEY": keys.secret_key,
        "AWS_SESSION_TOKEN": keys.token or "",  # empty, or one of the environment would be added
        "AWS_SKIP_SIGNATURE": "false",
        "conditional_put": "etag",  # racing commits are safe
    }


def arrow_filesystem() -> ArrowS3FileSystem:
    """S3 as Arrow reads it, from several threads: the endpoint and credentials of `delta_options`, of which the same is true."""
    options = delta_options()
    scheme, _, host = options["AWS_ENDPOINT_URL"].partition("://")
    return ArrowS3FileSystem(
        access_key=options["AWS_ACCESS_KEY_ID"],
        secret_key=options["AWS_SECRET_ACCESS_KEY"],
        session_token=options["AWS_SESSION_TOKEN"] or None,
        region=options["AWS_REGION"],
        scheme=scheme,
        endpoint_override=host,
    )


def secrets() -> list[str]:
    """Keys and tokens that this process knows, the longest first: what must stand in no text that it leaves behind."""
    known = {os.environ.get(name, "") for name in _SECRET} | _used
    return sorted((secret for secret in known if len(secret) >= _SHORTEST_SECRET), key=len, reverse=True)


def reach(url: str) -> None:
    """Raise S3Error, within some 15 s, unless what lies below an address can be listed. Nothing need lie there."""
    try:
        fs = _filesystem(_environment(), os.getpid(), is_patient=False)
        bucket, key, _ = fs.split_path(url)
        fs.call_s3("list_objects_v2", Bucket=bucket, Prefix=key, MaxKeys=1)
    except Exception as error:  # botocore, aiohttp and s3fs share no base
        raise S3Error(explain(error, url)) from None


def is_folder(path: str) -> bool:
    """Whether anything lies below a path, `bucket/key`: one look, where s3fs lists all of it."""
    fs = filesystem()
    bucket, key, _ = fs.split_path(path)
    with suppress(FileNotFoundError):  # no such bucket
        return bool(fs.call_s3("list_objects_v2", Bucket=bucket, Prefix=f"{key.rstrip('/')}/", MaxKeys=1).get("Contents"))
    return False


def delete_objects(paths: Sequence[str]) -> None:
    """Remove objects, `bucket/key` each, those that are there; OSError, with the first refusal, where some stay."""
    for start in range(0, len(paths), _A_REQUEST):
        keys = [path.partition("/") for path in paths[start : start + _A_REQUEST]]
        wanted = {"Objects": [{"Key": key} for _, _, key in keys], "Quiet": True}
        answer = filesystem().call_s3("delete_objects", Bucket=keys[0][0], Delete=wanted)
        for error in answer.get("Errors", []):
            if error.get("Code") != "NoSuchKey":
                raise OSError(f"s3://{keys[0][0]}/{error.get('Key')} cannot be removed: {error.get('Code')}")


def explain(error: BaseException, url: str = "") -> str:
    """What an error of botocore or s3fs means, and what to check; without secrets, signatures and servers' own words."""
    bucket = urlsplit(url).netloc
    code = _code(error)
    match error:
        case exceptions.ProfileNotFound():
            profile = error.kwargs.get("profile")
            return f"there is no AWS profile {profile}; check AWS_PROFILE, --s3-profile and ~/.aws/config"
        case exceptions.NoCredentialsError():
            return "no credentials; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, or the settings' section s3"
        case exceptions.PartialCredentialsError():
            return f"half of the credentials is missing: {error.kwargs.get('cred_var')}"
        case exceptions.CredentialRetrievalError() | exceptions.TokenRetrievalError():
            provider = error.kwargs.get("provider")
            return f"no credentials come from {provider}; log in anew, or give others"
        case exceptions.ParamValidationError():
            return f"{bucket} cannot be the name of a bucket"
        case exceptions.EndpointResolutionError() | exceptions.InvalidEndpointConfigurationError():
            return _no_endpoint(str(error))
        case ValueError() if "endpoint" in str(error):
            return _no_endpoint(str(error))
        case exceptions.SSLError():
            return f"{_endpoint()} offers no encryption that this machine trusts; is it http://? Else check AWS_CA_BUNDLE"
        case exceptions.ConnectionError() | exceptions.HTTPClientError() | TimeoutError():
            return f"nothing answers at {_endpoint()}; check the network, and AWS_ENDPOINT_URL or --s3-endpoint-url"
    if code in _REFUSED:
        return f"{_endpoint()} refuses the credentials ({code}); check the access key, the secret key and the session token"
    if code in _EXPIRED:
        return f"the credentials have run out ({code}); get new ones"
    if code == "NoSuchBucket":
        return f"there is no bucket {bucket} at {_endpoint()}; make it, or check the address"
    if code in _ELSEWHERE:
        return f"bucket {bucket} is in another region; set AWS_DEFAULT_REGION or --s3-region"
    if code == "InvalidBucketName":
        return f"{bucket} cannot be the name of a bucket"
    if isinstance(error, PermissionError):
        return f"these credentials have no right to do this there ({code or 'denied'})"
    if code == "404":
        return f"{_endpoint()} does not answer as S3 does; check AWS_ENDPOINT_URL or --s3-endpoint-url"
    return f"{type(error).__name__} {code}".strip()


def apply(
    *,
    endpoint_url: str | None = None,
    region: str | None = None,
    profile: str | None = None,
    access_key_id: str | None = None,
    secret_access_key: str | None = None,
    session_token: str | None = None,
) -> None:
    """Put settings into the environment of this process, which processes that it starts inherit; None leaves what is there.

    Keys, or a profile without keys, take the place of whatever credentials the environment held.
    """
    changes: dict[str, str | None] = {}
    if access_key_id or profile:
        changes |= dict.fromkeys(_CREDENTIALS)
    given = {
        "AWS_ENDPOINT_URL_S3": endpoint_url,
        "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "false" if endpoint_url else None,
        "AWS_DEFAULT_REGION": region,
        "AWS_PROFILE": profile,
        "AWS_ACCESS_KEY_ID": access_key_id,
        "AWS_SECRET_ACCESS_KEY": secret_access_key,
        "AWS_SESSION_TOKEN": session_token,
    }
    changes |= {name: value for name, value in given.items() if value}
    change_environment(changes)
    _applied.update(changes)


def applied() -> dict[str, str | None]:
    """What `apply` has changed in the environment, secrets included; None stands for a variable that was removed."""
    return dict(_applied)


def change_environment(changes: Mapping[str, str | None]) -> dict[str, str | None]:
    """Set variables, or remove those that are None; the changes that undo it."""
    before = {name: os.environ.get(name) for name in changes}
    for name, value in changes.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
    return before


def _environment() -> tuple[tuple[str, str], ...]:
    names = sorted(name for name in os.environ if name.startswith("AWS_") or name == "HOME")
    return tuple((name, os.environ[name]) for name in names)


@lru_cache(maxsize=8)
def _filesystem(environment: tuple[tuple[str, str], ...], pid: int, *, is_patient: bool) -> S3FileSystem:  # noqa: ARG001 - the key
    for name, value in environment:
        if name.startswith("AWS_ENDPOINT_URL"):
            _refuse_user(value)
    session = AioSession()
    session.get_component("response_parser_factory").set_parser_defaults(timestamp_parser=_time)
    fs = S3FileSystem(
        session=session,
        # What fsspec's own configuration may say of these is not known to delta-rs: the two must not differ.
        anon=False,
        endpoint_url=None,
        key=None,
        secret=None,
        token=None,
        client_kwargs={},
        config_kwargs={} if is_patient else _IMPATIENT,
        use_listings_cache=False,
        default_block_size=_BLOCK_BYTES,
        skip_instance_cache=True,
    )
    if not is_patient:
        fs.retries = 1
    return fs


def _time(text: Any) -> datetime:
    """A time that S3 tells: botocore's own parser takes half of the time of a listing, for it guesses at the form."""
    with suppress(TypeError, ValueError):
        time = datetime.fromisoformat(text)
        if time.tzinfo:
            return time
    parsed: datetime = parse_timestamp(text)
    return parsed


@lru_cache(maxsize=8)
def _session(environment: tuple[tuple[str, str], ...], pid: int) -> tuple[botocore.session.Session, str, str]:  # noqa: ARG001 - the key
    """Session of botocore in this environment, which renews credentials by itself, and the endpoint and region of its clients."""
    session = botocore.session.Session()
    client = session.create_client("s3")
    endpoint_url, region = client.meta.endpoint_url, client.meta.region_name
    client.close()
    _refuse_user(endpoint_url)
    return session, endpoint_url, "us-east-1" if region in (None, "aws-global") else region


def _refuse_user(endpoint_url: str) -> None:
    """Raise ValueError for an endpoint with a user: clients would put the password into addresses, and these into errors."""
    if "@" in endpoint_url:
        raise ValueError(f"Invalid endpoint: {_without_user(endpoint_url)}")


def _code(error: BaseException) -> str:
    """S3's name for an error, or the HTTP status where it gives none; empty where S3 did not answer."""
    response: Any = getattr(error, "response", None) or getattr(error.__cause__, "response", None) or {}
    return str(response.get("Error", {}).get("Code", ""))


def _endpoint() -> str:
    try:
        return _without_user(_session(_environment(), os.getpid())[1])
    except Exception:  # whatever makes it unknown is what is being explained
        return "the S3 endpoint"


def _no_endpoint(said: str) -> str:
    said = _without_user(said.removeprefix("Invalid endpoint: "))
    return f"the endpoint is not of the form http(s)://host:port ({said}); check AWS_ENDPOINT_URL or --s3-endpoint-url"


def _without_user(url: str) -> str:
    return re.sub(r"[^/\s]*@", "", url)
