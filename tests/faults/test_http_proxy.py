"""The proxy spoils what it is told to spoil, and passes everything else on unchanged, signatures too."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from random import Random

import pytest
from botocore.exceptions import BotoCoreError, ClientError, ResponseStreamingError

from storage import runs
from storage.store import Store
from tests.faults.http_proxy import SPOILS, Burst, Proxy, Spoil, draw_bursts, proxy_to
from tests.faults.workshop import ROOT
from tests.s3_server import BUCKET, S3Server

DATA = bytes(range(256)) * 400


def through(server: S3Server, proxy: Proxy):  # type: ignore[no-untyped-def]
    """A client that tries once."""
    return replace(server, endpoint_url=proxy.url).client()


def test_objects_pass_as_they_are(s3_server: S3Server) -> None:
    with proxy_to(s3_server.endpoint_url) as proxy:
        client = through(s3_server, proxy)
        client.put_object(Bucket=BUCKET, Key="proxy/an object", Body=DATA, IfNoneMatch="*")
        assert client.get_object(Bucket=BUCKET, Key="proxy/an object")["Body"].read() == DATA
        assert client.head_object(Bucket=BUCKET, Key="proxy/an object")["ContentLength"] == len(DATA)
        with pytest.raises(ClientError, match="PreconditionFailed"):
            client.put_object(Bucket=BUCKET, Key="proxy/an object", Body=b"", IfNoneMatch="*")
        listed = client.list_objects_v2(Bucket=BUCKET, Prefix="proxy/an")["Contents"]
        client.delete_object(Bucket=BUCKET, Key="proxy/an object")
        assert [entry["Key"] for entry in listed] == ["proxy/an object"]
        assert (proxy.passed, dict(proxy.spoiled)) == (6, {})


@pytest.mark.parametrize("spoil", [spoil for spoil in SPOILS if spoil not in ("stall", "cut answer")])
def test_a_spoiled_upload_is_an_error_and_leaves_no_piece_of_it(s3_server: S3Server, spoil: Spoil) -> None:
    with proxy_to(s3_server.endpoint_url, [Burst(1, 2, spoil)]) as proxy:
        client = through(s3_server, proxy)
        client.put_object(Bucket=BUCKET, Key=f"proxy/{spoil}", Body=b"before")
        with pytest.raises((BotoCoreError, ClientError)):
            client.put_object(Bucket=BUCKET, Key=f"proxy/{spoil}", Body=DATA)
        held = client.get_object(Bucket=BUCKET, Key=f"proxy/{spoil}")["Body"].read()
        assert held == (DATA if spoil == "lost answer" else b"before")
        assert dict(proxy.spoiled) == {spoil: 1}


def test_an_answer_that_is_cut_is_noticed_by_its_length(s3_server: S3Server) -> None:
    with proxy_to(s3_server.endpoint_url, [Burst(0, 2, "cut answer")]) as proxy:
        client = through(s3_server, proxy)
        client.put_object(Bucket=BUCKET, Key="proxy/cut", Body=DATA)
        with pytest.raises((ResponseStreamingError, BotoCoreError)):
            client.get_object(Bucket=BUCKET, Key="proxy/cut")["Body"].read()
        assert client.get_object(Bucket=BUCKET, Key="proxy/cut")["Body"].read() == DATA


@pytest.mark.slow
def test_whichever_answer_is_the_first_that_is_cut_a_command_says_so_in_a_sentence(s3_server: S3Server, s3_root: str) -> None:
    store = Store(s3_root)
    runs.start_run(store, "20260101-000000-abcdef", {"input": "videos"})
    environment = {**os.environ, "COLUMNS": "160"}
    for first in range(1, 6):
        with proxy_to(s3_server.endpoint_url, [Burst(first, 10_000, "cut answer")]) as proxy:
            command = [sys.executable, "-m", "flows.cli", "status", s3_root]
            own = {**environment, "AWS_ENDPOINT_URL": proxy.url}
            done = subprocess.run(command, capture_output=True, text=True, env=own, cwd=ROOT, check=False)
        assert done.returncode in (1, 2), (first, done.stdout)
        assert done.stderr.startswith("tkm: "), (first, done.stderr)


def test_a_seed_decides_the_bursts() -> None:
    first, second, other = (draw_bursts(Random(seed), "reset", 500) for seed in (1, 1, 2))
    assert first == second != other
    assert all(burst.start < 500 and burst.spoil == "reset" for burst in first)
