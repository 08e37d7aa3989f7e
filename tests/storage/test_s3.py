"""S3: the same endpoint and credentials for files and tables, whatever names them; errors that say what to mend."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path

import fsspec
import pytest

from storage import s3, tables
from storage.addresses import refusal
from storage.sources import InputError, find_sources
from storage.store import Store, StoreError
from tests.s3_server import S3Server


def use_both(store: Store) -> None:
    """Write and read by s3fs and by delta-rs."""
    store.check()
    tables.create_tables(store)
    assert tables.read(store, "videos").num_rows == 0
    assert store.list("tables/videos/_delta_log")


def test_a_profile_with_an_endpoint_serves_files_and_tables(
    s3_root: str, s3_server: S3Server, no_aws: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in s3_server.environment():
        monkeypatch.delenv(variable)
    config = f"[profile lab]\nregion = eu-lab-1\nendpoint_url = {s3_server.endpoint_url}\n"
    keys = f"aws_access_key_id = {s3_server.access_key_id}\naws_secret_access_key = {s3_server.secret_access_key}\n"
    (tmp_path / "aws-config").write_text(config)
    (tmp_path / "aws-credentials").write_text(f"[lab]\n{keys}")
    monkeypatch.setenv("AWS_PROFILE", "lab")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "of other credentials")
    use_both(Store(f"{s3_root}/out"))
    assert s3.delta_options()["AWS_REGION"] == "eu-lab-1"


def test_the_endpoint_of_s3_wins_over_that_of_all_services(
    s3_root: str, s3_server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", s3_server.endpoint_url)
    use_both(Store(f"{s3_root}/out"))


def test_what_only_fsspec_is_told_does_not_part_files_from_tables(s3_root: str, monkeypatch: pytest.MonkeyPatch) -> None:
    told = {"endpoint_url": "http://127.0.0.1:9", "key": "other", "secret": "other", "anon": True}
    monkeypatch.setitem(fsspec.config.conf, "s3", told)
    use_both(Store(f"{s3_root}/out"))


def test_an_environment_that_changes_is_followed(s3_root: str, s3_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    Store(s3_root).check()
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", s3_server.reader_key_id)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", s3_server.reader_secret)
    Store(s3_root).reach()
    with pytest.raises(StoreError, match=r"no right .*AccessDenied"):
        Store(s3_root).check()
    with pytest.raises(OSError, match="privileges"):
        tables.create_tables(Store(s3_root))


WRONG = {
    "secret": ({"AWS_SECRET_ACCESS_KEY": "hush/hush"}, "SignatureDoesNotMatch"),
    "key id": ({"AWS_ACCESS_KEY_ID": "NOBODY"}, "InvalidAccessKeyId"),
    "profile": ({"AWS_PROFILE": "nobody"}, "no AWS profile nobody"),
    "no credentials": ({"AWS_ACCESS_KEY_ID": None, "AWS_SECRET_ACCESS_KEY": None}, "no credentials"),
    "half of them": ({"AWS_SECRET_ACCESS_KEY": None}, "missing: AWS_SECRET_ACCESS_KEY"),
    "refuses": ({"AWS_ENDPOINT_URL": "http://127.0.0.1:9"}, "nothing answers at http://127.0.0.1:9"),
    "no such host": ({"AWS_ENDPOINT_URL": "http://nowhere.invalid"}, "nothing answers at http://nowhere.invalid"),
    "no URL": ({"AWS_ENDPOINT_URL": "me:hush@host"}, "form http(s)://host:port (host)"),
    "other scheme": ({"AWS_ENDPOINT_URL": "ftp://host"}, "form http(s)://host:port"),
}


@pytest.mark.parametrize(("changes", "said"), WRONG.values(), ids=WRONG.keys())
def test_what_is_wrong_is_said_for_output_and_input_soon_and_without_secrets(
    changes: dict[str, str | None], said: str, s3_root: str, s3_server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable, value in changes.items():
        if value is None:
            monkeypatch.delenv(variable)
        else:
            monkeypatch.setenv(variable, value)
    began = time.monotonic()
    with pytest.raises(StoreError) as of_output:
        Store(f"{s3_root}/out").check()
    with pytest.raises(InputError) as of_input:
        find_sources(f"{s3_root}/videos/*.mp4")
    assert time.monotonic() - began < 30
    for message, address in ((str(of_output.value), f"{s3_root}/out"), (str(of_input.value), f"{s3_root}/videos/*.mp4")):
        assert said in message
        assert address in message
        for secret in ("hush", s3_server.secret_access_key):
            assert secret not in message


def test_a_server_that_takes_connections_and_never_answers_is_given_up_soon(
    s3_root: str, monkeypatch: pytest.MonkeyPatch, silent_server: str
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", silent_server)
    began = time.monotonic()
    with pytest.raises(StoreError, match="nothing answers"):
        Store(s3_root).check()
    assert time.monotonic() - began < 20


def test_encryption_that_the_server_does_not_speak(s3_root: str, s3_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3_server.endpoint_url.replace("http:", "https:"))
    with pytest.raises(StoreError, match=r"is it http://\?"):
        Store(s3_root).check()


def test_a_bucket_that_is_not_there_or_cannot_be(s3_root: str) -> None:
    with pytest.raises(StoreError, match="there is no bucket not-there at http://127"):
        Store("s3://not-there/out").check()
    with pytest.raises(InputError, match="there is no bucket not-there"):
        find_sources("s3://not-there/videos")
    with pytest.raises(StoreError, match="B!d cannot be the name of a bucket"):
        Store("s3://B!d/out").check()


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("s3:/bucket/x", "did you mean s3://bucket/x?"),
        ("s3:bucket/x", "did you mean s3://bucket/x?"),
        ("S3://bucket/x", "did you mean s3://bucket/x?"),
        ("s3:/KEY:hu/hush@bucket/x", "did you mean s3://***@bucket/x?"),
        ("s3://", "names no bucket"),
        ("s3:///x", "names no bucket"),
        ("s3://KEYID:hush@bucket/x", "would be recorded"),
        ("s3://KEYID:hu/hush@bucket/x", "would be recorded"),
        ("https://me:hush@host/x", "would be recorded"),
        ("simplecache::https://me:hush@host/x", "would be recorded"),
        ("https://host/x.mp4?X-Amz-Credential=hush&X-Amz-Signature=hush", "would be recorded"),
        ("https://host/x.mp4?Expires=1&Signature=hush", "would be recorded"),
        ("abfs://container/x.mp4?sv=1&sig=hush", "would be recorded"),
    ],
)
def test_addresses_with_secrets_or_slips_are_refused(address: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text(f"{address}\n")
    for given in (address, str(tmp_path / "list.txt")):
        with pytest.raises(InputError) as of_input:
            find_sources(given)
        assert said in str(of_input.value)
        assert "hush" not in str(of_input.value)
    with pytest.raises(StoreError) as of_output:
        Store(address)
    assert said in str(of_output.value)
    assert "hush" not in str(of_output.value)


@pytest.mark.parametrize(
    "address",
    ["s3://bucket/a@b:c.mp4", "s3a://bucket/x", "s3://bucket/what?.mp4", "sftp://me@host/x", "folder/s3:x", "a:b@c", "https://host/x?id=1"],
)
def test_other_addresses_are_not(address: str) -> None:
    assert refusal(address) is None


@pytest.mark.parametrize(
    "text", ["2026-11-27T21:41:15.000Z", "Fri, 27 Nov 2026 21:41:15 GMT", "2026-11-27T22:41:15+01:00", 1795815675]
)
def test_times_are_the_same_however_a_server_writes_them(text: str | int) -> None:
    assert s3._time(text) == datetime(2026, 11, 27, 21, 41, 15, tzinfo=UTC)
