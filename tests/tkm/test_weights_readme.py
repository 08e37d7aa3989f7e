"""What tkm/weights/README.md says of the embedded files."""

from __future__ import annotations

import re

from tkm import weights


def test_the_readme_has_the_digest_of_each_embedded_file() -> None:
    text = (weights.FOLDER / "README.md").read_text()
    told = dict(re.findall(r"^\| `([\w-]+\.safetensors)` \| `([0-9a-f]{64})` \|", text, flags=re.MULTILINE))
    assert told == {file.file: file.sha256 for file in weights.WEIGHTS.values()}
