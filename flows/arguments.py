"""Arguments and options of the commands, but for those that are settings (flows.options)."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

_LISTS = "list of addresses (.txt, .csv, .parquet)"
Input = Annotated[
    str | None,
    typer.Argument(metavar="INPUT", help=f"video, folder of videos or of frames, glob, or {_LISTS}; poses need none"),
]
Detections = Annotated[
    str | None,
    typer.Option(metavar="FILE", help="boxes or poses in place of our networks'; PoseTrack or COCO JSON, Parquet, or a folder"),
]
Images = Annotated[
    str | None, typer.Option(metavar="FILE", help="PoseTrack or COCO JSON that tells which picture an id of COCO results is")
]
Output = Annotated[str, typer.Option("--output", "-o", metavar="URI", help="folder or URL that holds all results")]
SettingsFile = Annotated[Path | None, typer.Option(metavar="FILE", help="TOML file, a section a stage, `engine` and `s3`")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="say what would run and what is there already; write nothing")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="no progress, no summary")]
Address = Annotated[str, typer.Argument(metavar="URI", help="output of `tkm annotate`, or URI@RUN for one of its runs")]
AsJson = Annotated[bool, typer.Option("--json", help="machine-readable")]
AsMarkdown = Annotated[bool, typer.Option("--markdown", help="the README's stage table")]
Folder = Annotated[Path | None, typer.Option("--output", "-o", metavar="FOLDER", help="for the videos (default URI/renders)")]
Video = Annotated[str | None, typer.Option(metavar="ID", help="id, name or glob of the videos to draw (default all)")]
Trail = Annotated[int, typer.Option(metavar="FRAMES", min=0, help="length of the trails")]
StageName = Annotated[str, typer.Option("--stage", metavar="STAGE", help="the stage to run again")]
Change = Annotated[list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="parameter to change; may be repeated")]
Videos = Annotated[
    list[str] | None, typer.Option(metavar="ID", help="id, name or glob of videos (default all of the run); may be repeated")
]
Predictions = Annotated[
    str, typer.Argument(metavar="URI", help="output of `tkm annotate`, URI@RUN, or files of predictions (PoseTrack or COCO JSON)")
]
TruthFiles = Annotated[str, typer.Option("--truth", metavar="PATH", help="PoseTrack or COCO JSON, or a folder of it")]
Protocol = Annotated[str, typer.Option(metavar="official|strict", help="as PoseTrack's evaluator, or without its quirks")]
Threshold = Annotated[
    float | None,
    typer.Option(metavar="X", help="keypoints that score less are dropped before tracking is evaluated (default: none)"),
]
SampledOnly = Annotated[
    bool, typer.Option("--sampled-only", help="leave truth of frames aside that a run did not sample (--fps, --every, --frames)")
]
Other = Annotated[str | None, typer.Option("--against", metavar="URI", help="compare with URI or URI@RUN by bootstrap")]
Keep = Annotated[str | None, typer.Option("--output", "-o", metavar="URI", help="where scores of files of predictions are kept")]
SELF_REFINEMENT = "--self-refinement-weights"  # no role of a run, but of rows of the ablation
Format = Annotated[
    str, typer.Option("--format", metavar="NAME", help="posetrack18, posetrack17, coco, parquet, cvat or labelstudio")
]
SuspectsOnly = Annotated[bool, typer.Option("--suspects", help="only the frames around suspects, half a second on either side")]
Prefix = Annotated[
    str | None,
    typer.Option("--images", metavar="PREFIX", help="labelstudio: beginning of the addresses of pictures (default: local files)"),
]
Target = Annotated[str, typer.Option("--output", "-o", metavar="FOLDER", help="folder or URL for the files")]
Dataset = Annotated[str, typer.Argument(metavar="OUTPUT", help="folder or URL for the clips and what is true of them")]
Clips = Annotated[int | None, typer.Option("--videos", metavar="N", help="number of clips; of a split the first N (default all)")]
Seed = Annotated[int | None, typer.Option(metavar="N", help="another seed, other clips (default 0)")]
Presets = Annotated[
    list[str] | None,
    typer.Option("--preset", metavar="NAME", help="easy, crowd, twins, dance, camera, a+b; with commas in turn (default all)"),
]
Split = Annotated[str | None, typer.Option(metavar="val|train", help="a fixed series of clips, to compare scores on")]
Length = Annotated[int | None, typer.Option("--frames", metavar="N", help="frames a clip (default 60)")]
Rate = Annotated[float | None, typer.Option("--fps", metavar="X", help="frames a second (default 20)")]
Width = Annotated[int | None, typer.Option("--width", metavar="PX", help="of the pictures (default 960)")]
Height = Annotated[int | None, typer.Option("--height", metavar="PX", help="of the pictures (default 540)")]
Crowd = Annotated[int | None, typer.Option("--people", metavar="N", help="people in a clip (default by preset)")]
Twins = Annotated[float | None, typer.Option(metavar="SHARE", help="of the people who have a twin, 0 to 1 (default by preset)")]
Pictures = Annotated[str, typer.Option("--format", metavar="mp4|frames", help="videos, or folders of JPEG files")]
Photos = Annotated[str | None, typer.Option("--backgrounds", metavar="PATH", help="photos as backgrounds: a folder, glob or URL")]
Rows = Annotated[int, typer.Option(min=1, help="rows of poses to print")]
Reach = Annotated[str | None, typer.Option("--output", "-o", metavar="URI", help="also check that results can be kept here")]
