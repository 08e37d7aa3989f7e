"""What `tkm synthesize` is asked for: the clips, which of them are missing, and what is said of them. Knows no Prefect."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast, get_args

import numpy as np

from flows.settings import SettingsError
from storage.bodies import known_body
from storage.documents import read_document
from storage.sources import IMAGE_SUFFIXES, find_files
from storage.store import Store, StoreError
from tasks.synthesize import FOLDERS, ClipOrder, Form, Photo, is_made
from tkm.networks import runtime
from tkm.synthetic.series import SPLITS, Series

if TYPE_CHECKING:
    from flows.synthesize import Synthesis

_THREADS = 16  # manifests that are read at a time: it is the store that is waited for
_SHOWN = 5  # failures in a summary


def chosen_series(
    split: str | None, videos: int | None, presets: Sequence[str], backgrounds: str | None, content: Mapping[str, Any]
) -> Series:
    """The series that options ask for; what is None was not given. `presets` may hold several names in one, with commas.

    Raises SettingsError for what is out of range or does not go together.
    """
    given = {name: value for name, value in content.items() if value is not None}
    names = tuple(name.strip() for preset in presets for name in preset.split(","))
    if split is not None:
        return _shortened(split, videos, [*given, *(["preset"] if names else []), *(["backgrounds"] if backgrounds else [])])
    if videos is None:
        raise SettingsError("--videos: say how many clips, or name a --split")
    if names:
        given["presets"] = names
    try:
        return Series(videos, **given)
    except ValueError as error:
        raise SettingsError(str(error)) from None


def checked_form(form: str, series: Series) -> Form:
    """What pictures become, "mp4" or "frames"; SettingsError for another word, and for videos with odd sides."""
    if form not in get_args(Form):
        raise SettingsError(f"--format {form}: choose {' or '.join(get_args(Form))}")
    if form == "mp4" and (series.width_px % 2 or series.height_px % 2):
        raise SettingsError(f"{series.width_px} x {series.height_px}: videos need even sides; or give --format frames")
    return cast(Form, form)


def _shortened(split: str, videos: int | None, given: Sequence[str]) -> Series:
    if split not in SPLITS:
        raise SettingsError(f"--split {split}: choose {' or '.join(SPLITS)}")
    if given:
        option = given[0].removesuffix("_px")
        raise SettingsError(f"--{option}: a --split is the same everywhere, so leave it out; only --videos may make it shorter")
    series = SPLITS[split]
    if videos is not None and not 1 <= videos <= series.videos:
        raise SettingsError(f"--videos {videos}: --split {split} has {series.videos} clips; give 1 to {series.videos}")
    return replace(series, videos=videos or series.videos)


def wanted_clips(store: Store, body: str, series: Series, form: Form, backgrounds: str | None) -> list[ClipOrder]:
    """The clips of a series. InputError where `backgrounds` names no photos."""
    photos = [] if backgrounds is None else find_photos(backgrounds)
    digests: dict[str, str] = {}

    def photo(number: int) -> Photo | None:
        """One a clip, drawn by lot here, so that nobody has to read a large folder."""
        if not photos:
            return None
        uri = photos[int(np.random.default_rng([series.seed, number]).integers(len(photos)))]
        if uri not in digests:
            digests[uri] = hashlib.sha256(read_document(uri)).hexdigest()
        return Photo(uri, digests[uri])

    return [ClipOrder(store, spec, form, body, photo(spec.number)) for spec in series.specs()]


def find_photos(address: str) -> list[str]:
    """Addresses of the pictures that a user names as backgrounds; InputError where there are none."""
    return find_files(address, sorted(IMAGE_SUFFIXES), "the backgrounds")


def refuse_results(store: Store) -> None:
    """Raise StoreError where a store holds results of `tkm annotate`."""
    if store.folders("runs"):
        raise StoreError(f"{store.root} holds results of `tkm annotate`; give another OUTPUT")


def lacking(store: Store, orders: Sequence[ClipOrder]) -> list[ClipOrder]:
    """Those of the clips that the store does not hold whole."""
    sizes: dict[str, int] = {}
    for folder in FOLDERS:
        sizes |= store.list(folder)
    with ThreadPoolExecutor(_THREADS) as pool:
        made = list(pool.map(lambda order: is_made(order, sizes), orders))
    return [order for order, is_there in zip(orders, made, strict=True) if not is_there]


def with_processes(settings: Any, clips: int) -> Any:
    """Settings with a worker process a core, no more than clips, where nobody says how many: drawing a clip takes one core."""
    if "workers" in settings.engine.model_fields_set:
        return settings
    engine = settings.engine.model_copy(update={"workers": max(1, min(runtime.cores(), clips))})
    return settings.model_copy(update={"engine": engine})


def dry_run(store: Store, series: Series, form: Form, backgrounds: str | None) -> str:
    """What would be made, in a sentence."""
    refuse_results(store)
    orders = wanted_clips(store, known_body(store) or "", series, form, backgrounds)
    missing = len(lacking(store, orders))
    return f"{len(orders)} clips: {len(orders) - missing} there already, {missing} would be made; nothing written"


def summary(store: Store, series: Series, form: Form, done: Synthesis | None) -> str:
    """What came of it, and what to do with it; `done` is None where nothing was missing."""
    made, failures = (done.made, done.failures) if done else (0, ())
    there = series.videos - made - len(failures)
    lines = [f"{series.videos} clips: {made} made" + (f" in {done.seconds:.1f} s" if done else "") + f", {there} there already"]
    if failures:
        lines[0] += f", {len(failures)} failed"
        lines += [f"  failed: {failure.message}; run again to retry" for failure in failures[:_SHOWN]]
        lines += [f"  and {len(failures) - _SHOWN} more"] if len(failures) > _SHOWN else []
    pictures = "videos" if form == "mp4" else "images"
    return "\n".join(
        [
            *lines,
            f"{pictures}: {store.root}/{pictures}   truth: {store.root}/annotations (COCO's points: annotations_coco)",
            f"next:   tkm annotate {store.root}/{pictures} --output results",
            f"        tkm evaluate results --truth {store.root}/annotations",
        ]
    )
