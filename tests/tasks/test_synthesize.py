"""What decides a clip's name and key, and when a clip counts as made."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from storage.store import Store
from tasks.synthesize import FOLDERS, ClipOrder, Photo, is_made
from tkm.synthetic.spec import ClipSpec

ORDER = ClipOrder(Store("/data"), ClipSpec(seed=1, number=7, preset="crowd"), "mp4", "bodies/body-v1-0.npz")
PHOTO = Photo("/photos/a.jpg", "ab" * 32)


def test_other_content_has_another_name_whose_letters_are_safe() -> None:
    spec = ORDER.spec
    specs = [
        spec, replace(spec, seed=2), replace(spec, number=8), replace(spec, preset="crowd+camera"), replace(spec, domain="val"),
        replace(spec, frames=61), replace(spec, fps=25.0), replace(spec, width_px=640), replace(spec, people=3),
        replace(spec, twins=0.5),
    ]  # fmt: skip
    orders = [*(replace(ORDER, spec=one) for one in specs), replace(ORDER, photo=PHOTO)]
    names = [order.name for order in orders]
    assert names[:5] == [
        "000007_crowd_s1", "000007_crowd_s2", "000008_crowd_s1", "000007_crowd-camera_s1", "000007_crowd_val1"
    ]  # fmt: skip
    assert len(set(names)) == len(names)
    assert all(re.fullmatch(r"[0-9]{6}_[a-z0-9_-]+", name) for name in names)
    assert replace(ORDER, form="frames").name == ORDER.name, "truth is the same in either form"


def test_all_that_decides_bytes_is_in_the_key_and_places_are_not() -> None:
    others = [
        replace(ORDER, form="frames"),
        replace(ORDER, body="bodies/body-v1-1.npz"),
        replace(ORDER, photo=PHOTO),
        replace(ORDER, spec=replace(ORDER.spec, height_px=480)),
    ]
    assert len({order.key for order in (ORDER, *others)}) == 5
    moved = replace(ORDER, store=Store("/elsewhere"), photo=replace(PHOTO, uri="s3://photos/a.jpg"))
    assert moved.key == replace(ORDER, photo=PHOTO).key


@pytest.mark.parametrize("damage", ["manifest gone", "manifest cut", "manifest of another kind", "file gone", "file cut"])
def test_a_clip_is_made_where_its_manifest_and_all_its_files_are_there(damage: str, tmp_path: Path) -> None:
    order = replace(ORDER, store=Store(str(tmp_path)))
    video, truth = f"videos/{order.name}.mp4", f"annotations/{order.name}.json"
    manifest = json.dumps({"files": [{"name": video, "bytes": 5}, {"name": truth, "bytes": 4}]}).encode()
    for name, data in ((video, b"12345"), (truth, b"1234"), (order.manifest, manifest)):
        order.store.write(name, data)

    def made() -> bool:
        return is_made(order, {name: size for folder in FOLDERS for name, size in order.store.list(folder).items()})

    assert made()
    match damage:
        case "manifest gone":
            order.store.delete(order.manifest)
        case "manifest cut":
            order.store.write(order.manifest, manifest[:20])
        case "manifest of another kind":
            order.store.write(order.manifest, b"[]")
        case "file gone":
            order.store.delete(truth)
        case "file cut":
            order.store.write(video, b"1234")
    assert not made()
