"""A real S3 server for tests: SeaweedFS on loopback, with free ports and a folder of its own, ended with these tests."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import botocore.session
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from tests.processes import START

BUCKET = "tests"  # one for all, since each bucket would hold some of the server's volumes for itself
_SECONDS = 60  # a busy machine takes long to start it
_PORTS = ("master", "volume", "filer", "s3")


@dataclass(frozen=True)
class S3Server:
    """Where it is, who may do everything, and who may only read. Its filer keeps the objects, and takes plain PUTs."""

    endpoint_url: str
    metrics_url: str
    filer_url: str
    access_key_id: str = "AKIDFORTESTS"
    secret_access_key: str = "Secret/of+these/tests0123456789abcdef=="
    reader_key_id: str = "AKIDREADER"
    reader_secret: str = "Reader/secret+of/these/tests"

    def environment(self) -> dict[str, str]:
        """What a user's environment would hold."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint_url,
            "AWS_ACCESS_KEY_ID": self.access_key_id,
            "AWS_SECRET_ACCESS_KEY": self.secret_access_key,
        }

    def objects(self, prefix: str) -> dict[str, bytes]:
        """Everything below a prefix of the bucket."""
        client = self.client()
        pages = client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=prefix)
        names = [entry["Key"] for page in pages for entry in page.get("Contents", [])]
        return {name: client.get_object(Bucket=BUCKET, Key=name)["Body"].read() for name in names}

    def requests(self) -> Counter[str]:
        """Requests that it has answered since it started, by kind: GET, HEAD, PUT, LIST, ..."""
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(self.metrics_url, timeout=10) as answer:
            lines = answer.read().decode().splitlines()
        counted = Counter[str]()
        for line in lines:
            if found := re.fullmatch(r'SeaweedFS_s3_request_total\{.*\btype="(\w+)"\} (\S+)', line):
                counted[found[1]] += int(float(found[2]))
        return counted

    def client(self):  # botocore makes the class at run time
        """A client of its own, beside what the tests look at."""
        return botocore.session.Session().create_client(
            "s3",
            region_name="us-east-1",
            endpoint_url=self.endpoint_url,
            aws_access_key_id=self.access_key_id,
            aws_secret_access_key=self.secret_access_key,
            config=Config(connect_timeout=2, retries={"max_attempts": 0}),
        )


@contextmanager
def serve(folder: Path) -> Iterator[S3Server]:
    """A server that keeps everything in a folder, until the context ends."""
    *ports, metrics = _free_ports(2 * len(_PORTS) + 1)
    s3, filer = (f"http://127.0.0.1:{ports[_PORTS.index(part)]}" for part in ("s3", "filer"))
    server = S3Server(s3, f"http://127.0.0.1:{metrics}/metrics", filer)
    (folder / "data").mkdir()
    (folder / "s3.json").write_text(json.dumps({"identities": _identities(server)}))
    arguments = ["-ip=127.0.0.1", "-ip.bind=127.0.0.1", f"-dir={folder / 'data'}"]
    arguments += ["-filer", "-s3", f"-s3.config={folder / 's3.json'}"]
    arguments += ["-master.telemetry=false", "-master.volumeSizeLimitMB=512", "-volume.max=20"]
    arguments += ["-s3.port.iceberg=0", "-s3.port.lance=0"]  # what else it would serve, at ports that may be taken
    arguments += [f"-metricsPort={metrics}"]
    arguments += [f"-{part}.port={port}" for part, port in zip(_PORTS, ports, strict=False)]
    arguments += [f"-{part}.port.grpc={port}" for part, port in zip(_PORTS, ports[len(_PORTS) :], strict=True)]
    weed = Path(sys.executable).with_name("weed")
    log = folder / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-c", START, str(weed), f"-logdir={folder}", "server", *arguments],
            stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True,
        )  # fmt: skip
    try:
        _wait(process, server, log)
        yield server
    finally:
        process.kill()  # asked to end it takes its time, and what it holds is of no further use
        process.wait()
        for socket_file in _socket_files(ports):
            socket_file.unlink(missing_ok=True)


def _identities(server: S3Server) -> list[dict[str, object]]:
    return [
        {
            "name": name,
            "credentials": [{"accessKey": key_id, "secretKey": secret}],
            "actions": actions,
        }
        for name, key_id, secret, actions in (
            ("owner", server.access_key_id, server.secret_access_key, ["Admin", "Read", "Write", "List", "Tagging"]),
            ("reader", server.reader_key_id, server.reader_secret, ["Read", "List"]),
        )
    ]


def _free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


def _socket_files(ports: list[int]) -> list[Path]:
    """Sockets that it makes beside its ports and would leave behind."""
    return [file for port in ports for file in Path("/tmp").glob(f"seaweedfs-*-{port}.sock")]


def _wait(process: subprocess.Popen[bytes], server: S3Server, log: Path) -> None:
    """Wait until objects can be written: that comes later than the first answer."""
    end = time.monotonic() + _SECONDS
    client, told = server.client(), ""
    while time.monotonic() < end and process.poll() is None:
        try:
            client.create_bucket(Bucket=BUCKET)
            client.put_object(Bucket=BUCKET, Key="ready", Body=b"1")
            return
        except (BotoCoreError, ClientError) as error:
            told = str(error)
            time.sleep(0.2)
    said = log.read_text(errors="replace")[-3000:]
    raise RuntimeError(f"the S3 server did not start within {_SECONDS} s ({told}); it said:\n{said}")
