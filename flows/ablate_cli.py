"""`tkm ablate`: the paper's ablation on annotated clips."""

from __future__ import annotations

import re
from typing import Annotated, Any

import typer

from flows.arguments import SELF_REFINEMENT, Output, Quiet, SettingsFile
from flows.options import with_networks
from flows.settings import SettingsError, load_settings, use_s3
from storage.documents import find_documents
from storage.store import Store

_Clips = Annotated[str, typer.Argument(metavar="INPUT", help="annotated clips: a video, folder, glob, or list of addresses")]
_Truth = Annotated[str, typer.Option("--truth", metavar="PATH", help="PoseTrack JSON of INPUT's clips, or a folder of it")]
_Tuning = Annotated[str, typer.Option("--tune-videos", metavar="INPUT", help="other clips, on which each row is tuned")]
_TuningTruth = Annotated[str, typer.Option("--tune-truth", metavar="PATH", help="PoseTrack JSON of these")]
_RowNames = Annotated[str, typer.Option("--rows", metavar="M1,M2,...", help="rows of Tables 3 (M1 to M9) and 4 (N1 to N6)")]
_Self = Annotated[
    str | None, typer.Option(SELF_REFINEMENT, metavar="FILE", help="refinement head of single frames, for M6 and N5")
]
_Name = Annotated[str, typer.Option("--name", metavar="NAME", help="of the report: OUTPUT/ablation/NAME.md and .parquet")]


@with_networks
def ablate(
    input: _Clips,
    truth: _Truth,
    tune_videos: _Tuning,
    tune_truth: _TuningTruth,
    output: Output,
    rows: _RowNames = "M1,M2,M3,M4,M5,M6,M7",
    self_refinement_weights: _Self = None,
    name: _Name = "ablation",
    settings: SettingsFile = None,
    quiet: Quiet = False,
    options: Any = None,
) -> None:
    """Run rows of the paper's ablation, each tuned by itself on other clips; the paper's table with our numbers beside it.

    Rows compute into one output, where each is a run of its own, and share what they have in common. A row whose networks or
    heads are not given is left out, and the table says what it needs.
    """
    from flows import ablation_report
    from flows.ablate import Data, prepare
    from flows.groups import sources_for
    from flows.starting import check_start, with_server

    chosen = load_settings(options, settings)
    use_s3(chosen)
    if not re.fullmatch(r"[\w.-]+", name):
        raise SettingsError(f"--name {name}: give letters, digits, dots and dashes")
    names = [one.strip() for one in rows.split(",") if one.strip()]
    store = Store(output)
    store.reach()
    # What is mistyped must not wait for Prefect and Dask to start.
    for videos, files in ((input, truth), (tune_videos, tune_truth)):
        sources_for(videos, store)
        find_documents(files, (".json",))
    prepare(store, chosen, names, self_refinement_weights, write=False)
    check_start(store, chosen)

    def call() -> Any:
        from flows.ablate import ablate as flow

        settings_given = chosen.model_dump(mode="json", exclude={"s3"})
        data, tuning = Data(input, truth), Data(tune_videos, tune_truth)
        return flow(data, tuning, output, names, settings_given, self_refinement_weights, quiet=quiet)

    found = with_server(call, chosen, quiet=quiet)
    for written in ablation_report.write(store, name, found):
        typer.echo(f"{store.root}/{written}", err=True)
    typer.echo(ablation_report.markdown(found))
