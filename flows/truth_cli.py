"""`tkm evaluate` and `tkm synthesize`: results held against what is true, and videos of which everything is known."""

from __future__ import annotations

import json
from dataclasses import asdict
from importlib.util import find_spec
from tempfile import TemporaryDirectory
from typing import Any

import typer
from rich.console import Console

from flows.arguments import (
    AsJson,
    Clips,
    Crowd,
    Dataset,
    DryRun,
    Height,
    Keep,
    Length,
    Other,
    Photos,
    Pictures,
    Predictions,
    Presets,
    Protocol,
    Quiet,
    Rate,
    SampledOnly,
    Seed,
    SettingsFile,
    Split,
    Threshold,
    TruthFiles,
    Twins,
    Videos,
    Width,
)
from flows.options import with_cluster
from flows.settings import SettingsError, load_settings, manner, use_s3
from flows.starting import SOME_FAILED, check_start, open_store, with_server
from flows.terminal import shown
from storage.runs import split_address
from storage.store import Store

console = Console()

@with_cluster
def evaluate(
    uri: Predictions,
    truth: TruthFiles,
    protocol: Protocol = "official",
    keypoint_threshold: Threshold = None,
    videos: Videos = None,
    sampled_only: SampledOnly = False,
    against: Other = None,
    output: Keep = None,
    settings: SettingsFile = None,
    as_json: AsJson = False,
    options: Any = None,
) -> None:
    """Score results against annotated truth: PoseTrack's mAP and MOTA, HOTA, IDF1, and COCO's AP; kept in the tables `scores`."""
    from pydantic import ValidationError

    from flows.settings import sentence
    from flows.sides import check_address, is_files
    from storage.documents import find_documents
    from tasks.score import ScoreParams

    chosen = load_settings(options, settings)
    use_s3(chosen)
    try:
        params = ScoreParams(protocol=protocol, keypoint_threshold=keypoint_threshold)
    except ValidationError as error:
        raise SettingsError(sentence(error, "score")) from None
    find_documents(truth, (".json",))
    for address in (uri, *([against] if against else [])):
        check_address(address)
    if output is not None and not is_files(uri):
        raise SettingsError(f"--output: the scores of {uri} are kept beside its results; leave it out")
    if output is None and is_files(uri) and chosen.engine.dask is not None:
        raise SettingsError("--output: name a folder or URL that the cluster's workers reach; a temporary one here they may not")
    with TemporaryDirectory(prefix="tkm-scores-") as temporary:
        root = output or (temporary if is_files(uri) else split_address(uri)[0])
        check_start(open_store(root), chosen)

        def call() -> Any:
            from flows.evaluate import evaluate as flow

            return flow(uri, root, truth, params.model_dump(), videos or [], against, manner(chosen), sampled_only)

        evaluation = with_server(call, chosen, quiet=as_json, networks=False)
    if as_json:
        print(json.dumps(evaluation.as_json(), indent=1))
        return
    from flows.scoreboard import page

    for part in page(evaluation):
        console.print(part, highlight=False)


@with_cluster
def synthesize(
    output: Dataset,
    videos: Clips = None,
    seed: Seed = None,
    presets: Presets = None,
    split: Split = None,
    frames: Length = None,
    fps: Rate = None,
    width_px: Width = None,
    height_px: Height = None,
    people: Crowd = None,
    twins: Twins = None,
    format_: Pictures = "mp4",
    backgrounds: Photos = None,
    settings: SettingsFile = None,
    dry_run: DryRun = False,
    quiet: Quiet = False,
    options: Any = None,
) -> None:
    """Render videos of people with all that is true of them: poses, boxes, track ids, which points can be seen.

    The same options give the same bytes, on any number of processes; clips that the output holds are not made again.
    """
    chosen = load_settings(options, settings)
    use_s3(chosen)
    if find_spec("numba") is None:
        raise SettingsError("rendering needs the package numba, which is not installed: pip install 'tkm[synthetic]'")
    from flows import clips
    from storage.bodies import stored_body

    numbers = {"seed": seed, "frames": frames, "fps": fps, "width_px": width_px, "height_px": height_px, "people": people}
    series = clips.chosen_series(split, videos, presets or [], backgrounds, {**numbers, "twins": twins})
    form = clips.checked_form(format_, series)
    store = Store(output)
    store.reach()
    if dry_run:
        print(clips.dry_run(store, series, form, backgrounds))
        return
    clips.refuse_results(store)
    if backgrounds is not None:
        clips.find_photos(backgrounds)  # before the body model, which may take a minute
    check_start(store, chosen, networks=False)
    body = stored_body(store, lambda line: Console(stderr=True, quiet=quiet).print(line, style="dim"))
    missing = len(clips.lacking(store, clips.wanted_clips(store, body, series, form, backgrounds)))
    chosen = clips.with_processes(chosen, missing)

    def call() -> Any:
        from flows.synthesize import synthesize as flow

        return flow(store.root, body, asdict(series), form, backgrounds, manner(chosen), quiet)

    done = with_server(call, chosen, quiet=quiet, networks=False) if missing else None
    if not quiet:
        console.print(shown(clips.summary(store, series, form, done)), highlight=False, soft_wrap=True)
    if done and done.failures:
        raise typer.Exit(SOME_FAILED)
