"""Measurements as Markdown. Each section takes the JSON of one measurement and says what command gives it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from benchmarks.parts import FORWARD

Found = dict[str, Any]
SHARED_PASS = ("detect", "estimate", "suppress")
OFFICIAL_FPS = 80  # frames/s of PoseTrack's evaluator in one process, as the project's design measured it
CROPS = 4.2  # people a frame at which ours and the plain script are compared


def speed(found: Found) -> str:
    """Frames/s of each stage and of the whole, and the efficiency."""
    frames, threads, wall = found["frames"], found["threads"], sum(found["seconds"].values())
    seconds = {
        stage: spent / threads if stage in SHARED_PASS else found["seconds"][stage]
        for stage, spent in found["stage_seconds"].items()
    }
    rows = [(stage, f"{frames / spent:.1f}", f"{spent:.2f}") for stage, spent in seconds.items()]
    shared = found["seconds"]["networks"]
    rows.insert(4, ("these three in their shared pass, wall", f"{frames / shared:.1f}", f"{shared:.2f}"))
    rows.append(("**the whole, wall**", f"**{frames / wall:.2f}**", f"{wall:.2f}"))
    forward = sum(found["forward"].values())
    alone = ", ".join(f"{stage} {spent:.1f} s" for stage, spent in found["forward"].items())
    return "\n".join(
        [
            f"## Speed: {frames} frames, {found['crops'] / frames:.2f} crops and {found['people'] / frames:.2f} people a frame",
            f"`python -m benchmarks.annotate --frames {frames} --networks`\n",
            table(("stage", "frames/s", f"seconds ({threads} threads)"), rows),
            f"\nThe same rows through the networks alone take {forward:.1f} s in {threads} threads ({alone}): "
            f"**efficiency {forward / wall:.2f}** of the wall seconds (wanted: 0.75).",
        ]
    )


def parts(found: Found) -> str:
    """Where the threads' time goes beside the networks."""
    frames, cores = found["frames"], found["threads"]
    spent: dict[str, float] = found["parts"]
    total, forward = sum(spent.values()), sum(spent[part] for part in FORWARD)
    rows = [
        (part, f"{1000 * seconds / frames:.2f}", f"{seconds / forward:.1%}", _alone(part, frames / seconds if seconds else 0.0))
        for part, seconds in spent.items()
    ]
    rows.append(("all", f"{1000 * total / frames:.2f}", f"{total / forward:.1%}", ""))
    return "\n".join(
        [
            "## Parts: processor time of the threads, all stages",
            "From the same command, in a second run that times each part where it is called.\n",
            table(("part", "ms a frame", "of the forward passes", "frames/s of one thread"), rows),
            f"\nAll but the forward passes is {(total - forward) / total:.0%} of the processor time, spread over {cores} cores "
            "while networks run on them.",
        ]
    )


def _alone(part: str, frames_per_second: float) -> str:
    return "" if part in FORWARD else f"{frames_per_second:.0f}"


def memory(short: Found, long: Found) -> str:
    """Peak memory against the number of frames."""
    rows = [(str(found["frames"]), f"{found['warm_mb']:.0f}", f"{found['peak_mb']:.0f}") for found in (short, long)]
    return "\n".join(
        [
            "## Memory: one process a row",
            f"`python -m benchmarks.annotate --frames {long['frames']}`\n",
            table(("frames", "MB after the warm-up", "MB at most"), rows),
            f"\nRatio **{long['peak_mb'] / short['peak_mb']:.2f}** (wanted: at most 1.15). "
            f"{long['frames']} frames: {long['frames'] / sum(long['seconds'].values()):.2f} frames/s.",
        ]
    )


def size(found: Found, whole: Found | None) -> str:
    """Bytes a frame in the store, by stage, and of all that a command leaves."""
    frames = found["frames"]
    rows = [(f"artifacts of {stage}", f"{count / frames:.0f}") for stage, count in found["bytes"].items()]
    rows.append(("all artifacts", f"{sum(found['bytes'].values()) / frames:.0f}"))
    if whole:
        run = whole["whole"]["bytes"]
        rows += [(f"folder {name} of `tkm annotate`", f"{count / whole['frames']:.0f}") for name, count in run.items()]
        rows.append(("**all that `tkm annotate` leaves**", f"**{sum(run.values()) / whole['frames']:.0f}**"))
    return f"## Store: {frames} frames\n\n" + table(("what", "bytes a frame"), rows)


def start(found: Found) -> str:
    """Seconds from the command to the first frame."""
    page_cache = "page cache dropped" if found["is_page_cache_dropped"] else "page cache not dropped, which needs root"
    rows = [
        (f"cold: new PREFECT_HOME, no bytecode, {page_cache}", f"{found['cold']['first']:.1f}"),
        ("**warm: the same command again, other output**", f"**{found['warm']['first']:.1f}**"),
    ]
    seconds = found["whole"]["seconds"]
    return "\n".join(
        [
            "## Start: seconds from the command to the first frame's commit of suppress",
            "`python -m benchmarks.command`\n",
            table(("`tkm annotate`, `--chunk-frames 1`", "seconds"), rows),
            f"\nWanted: at most 10 s warm. A whole `tkm annotate` on {found['frames']} frames, start and tables included: "
            f"{seconds:.1f} s, {found['frames'] / seconds:.2f} frames/s.",
        ]
    )


def evaluate(found: Found) -> str:
    """Frames/s of PoseTrack's metrics, one process on one thread."""
    frames = found["frames"]
    rows = [(name, f"{1000 * spent / frames:.3f}", f"{frames / spent:.0f}") for name, spent in found["seconds"].items()]
    speed = found["frames_per_second"]["AP and MOTA"]
    return "\n".join(
        [
            f"## Evaluation: {frames} annotated frames",
            "`python -m benchmarks.evaluate`\n",
            table(("what", "ms a frame", "frames/s"), rows),
            f"\n**{speed} frames/s** for clean-up, AP and MOTA, {speed / OFFICIAL_FPS:.0f} times the official tool's "
            f"{OFFICIAL_FPS} (which includes reading; wanted: 20 times).",
        ]
    )


def synthetic(found: Found) -> str:
    """Whether networks take rendered people for people, and how fast clips are made."""
    judged = [
        ("people judged, of whom at least 80% of the points are seen", f"{found['clear']} of {found['people']}"),
        ("**of these found by NanoDet, IOU >= 0.5** (wanted: 90%)", f"**{found['found']:.1%}**"),
        ("of all people found", f"{found['found_all']:.1%}"),
        ("**mean OKS of MoveNet in true boxes** (wanted: 0.88)", f"**{found['oks_seen']:.3f}**"),
        ("the same with the box's area in place of the area that is seen", f"{found['oks_box']:.3f}"),
        ("mean OKS of all people, hidden points and all", f"{found['oks_seen_all']:.3f}"),
    ]
    speed = [(preset, f"{fps['wall']:.1f}", f"{fps['processor']:.1f}") for preset, fps in found["speed"].items()]
    return "\n".join(
        [
            f"## Rendered video: {found['clips']} clips of preset {found['preset']}, seed {found['seed']}",
            "`python -m benchmarks.synthetic`\n",
            table(("preset " + found["preset"], ""), judged),
            "\nFrames/s of one process that makes clips of 60 frames, 960 x 540, with 5 people; plan, truth and H.264 included "
            "(wanted: 12):\n",
            table(("preset", "by the clock", "by the processor's time"), speed),
        ]
    )


def networks(found: Found) -> str:
    """Speed, storage and multiplications of a detector, a pose network and heads of random weights."""
    frames, people = found["frames"], found["people"]
    return "\n".join(
        [
            f"## Networks: {found['detector']}, {found['network']} at {found['input_px']}, "
            + ("heads" if found["has_heads"] else "no heads"),
            f"`{_networks_command(found)}`\n",
            f"{found['device']}, {found['threads']} threads, load {found['load']:.1f}; {frames} frames, "
            f"{found['detections']} detections, {people} survivors.\n",
            table(("stage", "seconds a frame", "frames/s"), _networks_seconds(found)),
            f"\nProcessor time of the whole: {found['processor_seconds'] / frames:.4f} s a frame, of all cores together. "
            f"Peak memory {found['peak_mb']:.0f} MB"
            + (f", on the GPU {found['gpu_mb']:.0f} MB" if found["gpu_mb"] is not None else "")
            + f". {_networks_share(found)}\n",
            table(("bytes a surviving detection", "on disk", "uncompressed"), _networks_bytes(found)),
            "",
            table(("GMAC a person", ""), _networks_gmac(found["gmac"])),
        ]
    )


def _networks_command(found: Found) -> str:
    own = f"--detector {found['detector']} --network {found['network']} --input-px {found['input_px']}"
    return f"python -m benchmarks.networks {own} --frames {found['frames']}" + ("" if found["has_heads"] else " --no-heads")


def _networks_seconds(found: Found) -> list[tuple[str, str, str]]:
    """Wall seconds of each stage; those of the shared pass have their part of its wall seconds by their threads' seconds."""
    spent, wall, shared = sum(found["shared_seconds"].values()), sum(found["seconds"].values()), found["seconds"]["networks"]
    seconds: dict[str, float] = {}
    for step, own in found["seconds"].items():
        if step == "networks":
            seconds |= {name: shared * part / spent for name, part in found["shared_seconds"].items()}
        else:
            seconds[step] = own
    seconds["**the whole, wall**"] = wall
    if "detector_seconds" in found:
        seconds["detect, by itself"] = found["detector_seconds"]
        seconds["**both**"] = wall + found["detector_seconds"]
    frames = found["frames"]
    return [(name, f"{own / frames:.4f}", f"{frames / own:.2f}" if own else "") for name, own in seconds.items()]


def _networks_share(found: Found) -> str:
    wall = sum(found["seconds"].values()) + found.get("detector_seconds", 0)
    alone = ", ".join(f"{name} {spent:.1f} s" for name, spent in found["forward"].items())
    total = sum(found["forward"].values())
    return f"Forward passes alone take {total:.1f} s ({alone}): **{total / wall:.2f}** of the wall seconds."


def _networks_bytes(found: Found) -> list[tuple[str, str, str]]:
    stored = [(name, found["bytes"][name], found["plain_bytes"][name]) for name in found["bytes"]]
    stored.append(("**sum**", sum(found["bytes"].values()), sum(found["plain_bytes"].values())))
    return [(name, f"{disk:.0f}", f"{plain:.0f}") for name, disk, plain in stored]


def _networks_gmac(gmac: dict[str, float]) -> list[tuple[str, str]]:
    heads = sum(count for part, count in gmac.items() if part != "pose network")
    rows = [(part, f"{count:.4f}") for part, count in gmac.items()]
    return [*rows, ("**heads with their share of G_k**", f"**{heads:.4f}**")] if heads else rows


def against_plain(ours: Sequence[Found], plain: Sequence[Found]) -> str:
    """Ours against the script: as run on two clips, and at 4.2 crops a frame by the line through both."""
    rows = []
    for name, found in (("ours", ours), ("plain script", plain)):
        points = [(one["crops"] / one["frames"], _seconds(one) / one["frames"]) for one in found]
        rows.append([name, *(f"{1 / y:.2f} ({x:.2f})" for x, y in points), f"{1 / _on_line(points, CROPS):.2f}"])
    ratios = [float(a) / float(b) for a, b in zip(*([cell.split(" ")[0] for cell in row[1:]] for row in rows), strict=True)]
    rows.append(["ours / plain", *(f"{ratio:.2f}" for ratio in ratios[:-1]), f"**{ratios[-1]:.2f}**"])
    return "\n".join(
        [
            "## Against a plain script: frames/s (crops a frame)",
            "`python -m benchmarks.plain --frames 300`, and ours as above\n",
            table(("", "demo clip", "crowded clip", f"at {CROPS} crops a frame"), rows),
            f"\nThe last column is read off the line of seconds a frame over crops a frame through the two clips, each with its "
            f"own number of crops. Wanted: 1.2 times the plain script, or {1.2 * 6.9:.1f} frames/s where it makes 6.9.",
        ]
    )


def _seconds(found: Found) -> float:
    seconds: float | dict[str, float] = found["seconds"]
    return sum(seconds.values()) if isinstance(seconds, dict) else seconds


def _on_line(points: Sequence[tuple[float, float]], x: float) -> float:
    (x0, y0), (x1, y1) = points
    return y0 + (y1 - y0) * (x - x0) / (x1 - x0)


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Rows of cells as a Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
