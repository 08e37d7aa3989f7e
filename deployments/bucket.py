"""Make the bucket that BUCKET names on the S3 server that AWS_* variables name, unless it is there."""

from __future__ import annotations

import os

from botocore.session import Session

client = Session().create_client("s3")
if os.environ["BUCKET"] not in {bucket["Name"] for bucket in client.list_buckets()["Buckets"]}:
    client.create_bucket(Bucket=os.environ["BUCKET"])
