"""Credentials stay where they are: what libraries and servers repeat of them is taken out of every text that is left behind."""

from __future__ import annotations

from pathlib import Path

import pytest

from storage import s3, tables
from storage.addresses import hidden, refusal
from storage.documents import find_documents
from storage.sources import InputError, find_sources
from storage.store import Store, StoreError
from storage.weights import keep
from tests.web_server import Request, serve

SECRETS = {
    "AWS_ACCESS_KEY_ID": "AKIDHUSHHUSH",
    "AWS_SECRET_ACCESS_KEY": "hush/hush+secret",
    "AWS_SESSION_TOKEN": "hushtoken" * 5,
}


@pytest.mark.parametrize(
    "address",
    [
        "https://hushtoken@host/x.mp4",
        "HTTPS://me:hush@host/x.mp4",
        "https://me:hu/hush@host/x.mp4",
        "https://me:p@hush@host/x.mp4",
        "ftp://me:hush@host/x.mp4",
        "sftp://me:hush@host:22/x.mp4",
        "simplecache::s3://KEY:hu/hush@bucket/x",
        "https://host/x.mp4?token=hush",
        "https://host/x.mp4?a=1&Access_Token=hush",
        "https://host/x.mp4?a=1#access_token=hush",
        "https://host/x.mp4?x-oss-signature=hush&Expires=1",
        "https://host/x.mp4?api%5Fkey=hush",
        "s3://bucket/x.mp4?X-Amz-Signature=hush",
    ],
)
def test_addresses_with_secrets_are_refused_wherever_one_is_given(address: str, tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text(f"{address}\n")
    (tmp_path / "list.csv").write_text(f"uri\n{address}\n")
    for use in (
        lambda: find_sources(address),
        lambda: find_sources(str(tmp_path / "list.txt")),
        lambda: find_sources(str(tmp_path / "list.csv")),
        lambda: find_documents(address),
        lambda: keep(None, address, "--pose-weights"),
        lambda: Store(address),
    ):
        with pytest.raises((InputError, StoreError), match="would be recorded") as refused:
            use()
        assert "hush" not in str(refused.value)
        assert "hush" not in repr(refused.value.__cause__)


@pytest.mark.parametrize(
    "address",
    ["https://host:8080/a@b.mp4", "https://[::1]:80/a@b", "https://host/x?id=1&keys=2", "sftp://me@host/x", "/data/a:b@c?id=1",
     "s3://bucket/a:b@c.mp4", "https://host/watch?page=token"],
)  # fmt: skip
def test_addresses_without_are_taken(address: str) -> None:
    assert refusal(address) is None
    assert hidden(f"cannot read {address}: gone") == f"cannot read {address}: gone"


def test_texts_of_others_lose_the_secrets_in_them(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    said = (
        f"403 at https://me:hush@host/x, url='https://host/x?Expires=1&X-Amz-Signature=hush123&b=2' <StringToSign>"
        f"{SECRETS['AWS_SESSION_TOKEN']}</StringToSign> {SECRETS['AWS_SECRET_ACCESS_KEY']} {SECRETS['AWS_ACCESS_KEY_ID']} "
        "postgresql+asyncpg://prefect:hush@db/prefect"
    )
    assert hidden(said) == (
        "403 at https://***@host/x, url='https://host/x?Expires=1&X-Amz-Signature=***&b=2' <StringToSign>"
        "***</StringToSign> *** *** postgresql+asyncpg://***@db/prefect"
    )


def test_a_secret_of_a_profile_is_known_once_it_was_used(no_aws: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keys = "aws_access_key_id = AKIDOFPROFILE\naws_secret_access_key = hush-of-profile\n"
    (tmp_path / "aws-credentials").write_text(f"[lab]\n{keys}")
    monkeypatch.setenv("AWS_PROFILE", "lab")
    s3.delta_options()
    assert hidden("by AKIDOFPROFILE with hush-of-profile") == "by *** with ***"


def echo(request: Request) -> None:
    """Refuse as S3 does, with all that the request was signed by, its token included."""
    token, authorization = request.headers.get("x-amz-security-token"), request.headers.get("Authorization")
    assert token == SECRETS["AWS_SESSION_TOKEN"]
    body = (
        f"<Error><Code>SignatureDoesNotMatch</Code><Message>no: {token}</Message><CanonicalRequest>{token}</CanonicalRequest>"
        f"<AWSAccessKeyId>{authorization}</AWSAccessKeyId></Error>"
    ).encode()
    request.begin(403, Content_Length=len(body), Content_Type="application/xml")
    if request.command != "HEAD":
        request.wfile.write(body)


class _Any(dict[str, object]):
    def __missing__(self, path: str) -> object:
        return echo


def test_a_server_that_repeats_token_and_key_is_not_repeated(no_aws: None, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    with serve(_Any()) as url:
        monkeypatch.setenv("AWS_ENDPOINT_URL", url)
        store = Store("s3://bucket/out")
        for use in (
            lambda: tables.open_table(store, "videos"),
            lambda: tables.read(store, "videos"),
            lambda: tables.create_tables(store),
            store.reach,
            store.check,
        ):
            with pytest.raises((OSError, tables.DeltaError, StoreError)) as refused:
                use()
            error: BaseException | None = refused.value
            assert "403" in str(error) or "SignatureDoesNotMatch" in str(error)
            while error is not None:
                for secret in SECRETS.values():
                    assert secret not in f"{error} {error!r}"
                error = error.__cause__


def test_an_endpoint_with_a_password_is_refused_without_it(no_aws: None, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://me:hush@127.0.0.1:9")
    for use in (Store("s3://bucket/out").reach, s3.delta_options):
        with pytest.raises((StoreError, s3.S3Error), match=r"form http\(s\)://host:port \(http://127\.0\.0\.1:9\)") as refused:
            use()
        assert "hush" not in f"{refused.value!r}"
