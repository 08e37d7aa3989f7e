"""Running stages on a video: what is committed stays, what is missing is computed, chunk by chunk, and committed.

The stages of one step share one pass: frames are decoded once, in blocks, ahead of the threads that run the networks; a
block goes through all stages of the step in one thread, and chunks are written while the next blocks are at work.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from itertools import pairwise

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from storage.artifacts import Artifact, Chunk, Progress, Provenance
from storage.codecs import column, info_from_table
from storage.corrections import read_correction
from storage.given import given_frames, given_info, last_frame, read_given
from storage.video import VideoError, VideoInfo, decode, probe
from storage.weights import fetch
from tasks import given, index
from tasks.plan import VideoPlan, check_unchanged
from tasks.stage import Block, Params, Stage
from tkm.networks import runtime

Report = Callable[[str, int], None]  # called with a stage's name and a number of frames that it has finished
_Numbered = tuple[int, NDArray[np.uint8]]
_HALO_FRAMES = 32  # a block of a stage with a halo: what it holds of each person is large, and several blocks wait
_SPAN_FRAMES = 1024  # whose rows are read at a time where those of all frames are wanted
_TOLD_FRAMES = 32  # sampled frames between two reports of a stage that sees the whole video


@dataclass(frozen=True)
class Timeline:
    """The sampled frames of a video: numbers (T,) int64 and presentation times (T,) int64, with what decoding needs."""

    info: VideoInfo
    frames: NDArray[np.int64]
    pts_ns: NDArray[np.int64]


@dataclass(frozen=True)
class Piece:
    """Sampled frames [start, stop) and the stages of the step that have not committed them."""

    start: int
    stop: int
    stages: tuple[Stage, ...]


@dataclass(frozen=True)
class Opened:
    """A video's timeline and the artifacts that stages take from, each looked up once for all stages of a task."""

    plan: VideoPlan
    line: Timeline
    inputs: dict[str, _Input] = field(default_factory=dict)

    def sources(self, stages: Sequence[Stage]) -> dict[str, _Input]:
        """What the stages take and do not make, of active stages only. Blocks carry frames and times: no index here."""
        names = {stage.name for stage in stages}
        wanted = {name for stage in stages for name in self.plan.inputs_of(stage)} - names
        for source in self.plan.stages:
            if source.inputs and source.name in wanted and source.name not in self.inputs:
                artifact = self.plan.artifact(source)
                self.inputs[source.name] = _Input(artifact, artifact.chunks())
        return {name: self.inputs[name] for name in self.inputs if name in wanted}


def open_video(plan: VideoPlan) -> Opened:
    """A video whose index is there. DamagedArtifactError where it is not."""
    return Opened(plan, timeline(plan))


def run_index(plan: VideoPlan, report: Report) -> int:
    """Make the video's index if it is missing; number of sampled frames."""
    found = plan.artifact(index.STAGE).progress()
    if found.is_whole:
        return len(timeline(plan).frames)
    began = time.perf_counter()
    is_known_by_poses = plan.source.kind == "poses"
    info = given_info(read_given(plan.store, given_digest(plan, given.POSES))) if is_known_by_poses else probe(plan.source)
    table = index.STAGE.checked(index.run(plan.source, info, plan.params["index"]))  # type: ignore[arg-type]
    check_unchanged(plan)
    _commit_all(plan, index.STAGE, found, table.num_rows, table, time.perf_counter() - began)
    sampled = int(column(table, "is_sampled", np.bool_).sum())
    report(index.STAGE.name, sampled)
    return sampled


def run_given(plan: VideoPlan, stage: Stage, *, report: Report) -> None:
    """Commit the rows that a user gave for a video's sampled frames. VideoError where they speak of frames that it has not."""
    line, found = timeline(plan), plan.artifact(stage).progress()
    if found.is_whole:
        return
    began = time.perf_counter()
    rows = read_given(plan.store, given_digest(plan, stage))
    frames, last = given_frames(rows), last_frame(rows)
    if (frames is not None and frames != len(line.info)) or last >= len(line.info):
        told = f"{frames} frames" if frames is not None else f"frame {last}"
        raise VideoError(
            f"{plan.source.uri} has {len(line.info)} frames, but what --detections gives for it speaks of {told}: give the "
            "detections of this very video."
        )
    table = stage.checked(stage.run(rows, line.frames, plan.params[stage.name]))
    _commit_all(plan, stage, found, len(line.frames), table, time.perf_counter() - began)
    report(stage.name, len(line.frames))


def run_corrections(plan: VideoPlan, stage: Stage, *, report: Report, opened: Opened | None = None) -> None:
    """Run a stage that takes what people corrected, on the rows of all frames at once.

    DamagedArtifactError where an input, or a correction, is not what was written.
    """
    opened = opened or open_video(plan)
    line, found = opened.line, plan.artifact(stage).progress()
    if found.is_whole:
        return
    began = time.perf_counter()
    names = plan.params[stage.name].records  # type: ignore[attr-defined]
    made = {name: read_correction(plan.store, plan.video, name) for name in names}
    inputs = {name: source.all_rows(line, stage.unread) for name, source in opened.sources([stage]).items()}
    block = Block(line.frames, line.pts_ns, (), inputs, _input_params(plan, stage))
    table, edits = stage.run(block, made, plan.params[stage.name])
    _commit_all(plan, stage, found, len(line.frames), stage.checked(table), time.perf_counter() - began, edits)
    report(stage.name, len(line.frames))


def given_digest(plan: VideoPlan, stage: Stage) -> str:
    """Digest of the rows that a user gave for a stage which takes such."""
    return str(plan.params[stage.name].sha256)  # type: ignore[attr-defined]


def timeline(plan: VideoPlan) -> Timeline:
    """The video's sampled frames, from its index."""
    table = plan.artifact(index.STAGE).read()
    sampled = table.filter(table["is_sampled"])
    return Timeline(
        info_from_table(table), column(sampled, "frame", np.int64), column(sampled, "pts_ns", np.int64)
    )


def run_frames(
    plan: VideoPlan,
    stages: Sequence[Stage],
    start: int,
    stop: int | None,
    *,
    chunk_frames: int,
    threads: int,
    report: Report,
    opened: Opened | None = None,
) -> None:
    """Run stages that look at each frame, or at those around it, on the sampled frames [start, stop), where they are missing.

    `stop` is None for all from start on; `opened` is the video, where the caller has opened it.

    A stage takes the tables of stages before it from this pass, or from their artifacts. One with a halo goes by itself, for
    its inputs must be there for the frames around, too. Stages that the plan has not are left out.

    Raises: VideoError where frames cannot be decoded; DamagedArtifactError where an input's bytes are not those committed (run
    the step before again); StoreError where weights that a user gave are not in the store any more.
    """
    runtime.keep_freed_memory()
    stages = [stage for stage in stages if stage.name in plan.keys]
    if any(stage.halo(plan.params) for stage in stages) and (len(stages) > 1 or stages[0].images):
        names = ", ".join(stage.name for stage in stages)
        raise ValueError(f"{names}: a stage with a halo shares its pass with no other, and looks at no pixels")
    opened = opened or open_video(plan)
    frames = len(opened.line.frames)
    found = {stage.name: plan.artifact(stage).progress() for stage in stages}
    committed = {name: list(progress.chunks) for name, progress in found.items()}
    pieces = missing_pieces(stages, committed, start, frames if stop is None else stop, chunk_frames)
    _bring_weights(plan, {stage for piece in pieces for stage in piece.stages})
    pool = ThreadPoolExecutor(threads, thread_name_prefix="block", initializer=runtime.prepare_thread)
    try:
        waiting: deque[tuple[Piece, int, Future[_Made]]] = deque()
        made: list[_Made] = []

        def collect() -> None:
            piece, block_stop, future = waiting.popleft()
            made.append(future.result())
            for stage in piece.stages:
                report(stage.name, made[-1].frames)
            if block_stop == piece.stop:
                _commit(plan, piece, found, frames, made)
                made.clear()

        for piece, block_stop, block in _blocks(opened, pieces):
            waiting.append((piece, block_stop, pool.submit(_run_block, plan, piece.stages, block)))
            if len(waiting) > 2 * threads:  # enough to keep every thread busy while this one writes
                collect()
        while waiting:
            collect()
    finally:
        pool.shutdown(cancel_futures=True)
    for stage in (stage for stage in stages if not _is_closed(found[stage.name], pieces, frames)):
        close_if_whole(plan, stage, frames)


def run_in_order(
    plan: VideoPlan, stage: Stage, *, chunk_frames: int, report: Report, opened: Opened | None = None
) -> None:
    """Run a stage that carries state from frame to frame, from the last chunk that it has committed."""
    opened = opened or open_video(plan)
    line, artifact = opened.line, plan.artifact(stage)
    sources = opened.sources([stage])
    input_params = _input_params(plan, stage)
    found, frames = artifact.progress(), len(line.frames)
    pieces = missing_pieces([stage], {stage.name: list(found.chunks)}, 0, frames, chunk_frames)
    _bring_weights(plan, [stage] if pieces else [])
    state, reached = None, 0
    for piece in pieces:
        began = time.perf_counter()
        if piece.start != reached:
            state = artifact.state_before(piece.start)
        inputs = {name: source.rows(piece.start, piece.stop, line) for name, source in sources.items()}
        span = slice(piece.start, piece.stop)
        block = Block(line.frames[span], line.pts_ns[span], (), inputs, input_params)
        table, state = stage.run(block, plan.params[stage.name], state)
        reached = piece.stop
        seconds = time.perf_counter() - began
        _commit_piece(plan, stage, piece, found, frames, stage.checked(table), state, seconds)
        report(stage.name, piece.stop - piece.start)
    if not _is_closed(found, pieces, frames):
        close_if_whole(plan, stage, frames)


def run_whole(plan: VideoPlan, stage: Stage, *, report: Report, opened: Opened | None = None) -> None:
    """Run a stage that sees all frames of a video, one after the other, and commit its table in one piece.

    VideoError where a frame between the first and the last sampled one cannot be decoded.
    """
    line, found = (opened or open_video(plan)).line, plan.artifact(stage).progress()
    if found.is_whole:
        return
    began = time.perf_counter()
    images = _counted(decode(plan.source, line.info, np.arange(line.frames[0], line.frames[-1] + 1)), line, stage, report)
    table = stage.checked(stage.run(line.frames, images, plan.params[stage.name]))
    check_unchanged(plan)
    _commit_all(plan, stage, found, len(line.frames), table, time.perf_counter() - began)


def close_if_whole(plan: VideoPlan, stage: Stage, frames: int) -> None:
    """Write the artifact's manifest once its chunks cover all frames; another worker may hold the rest."""
    artifact = plan.artifact(stage)
    found = artifact.progress()
    if sum(chunk.stop - chunk.start for chunk in found.chunks) == frames:
        artifact.close(frames, _provenance(plan, stage), found)


def _provenance(plan: VideoPlan, stage: Stage) -> Provenance:
    """What a manifest tells of how an artifact was made."""
    return Provenance(
        version=stage.version,
        params=plan.params[stage.name].model_dump(mode="json"),
        weights=dict(stage.weights(plan.params)),
        inputs=plan.inputs_of(stage),
        environment={"device": runtime.description(), "pyarrow": pa.__version__},
    )


def _commit_all(
    plan: VideoPlan,
    stage: Stage,
    found: Progress,
    frames: int,
    table: pa.Table,
    seconds: float,
    beside: pa.Table | None = None,
) -> None:
    """Commit the rows of a stage that has them in one piece, and what it tells beside them, and close its artifact, unless all of
    them are committed already.
    """
    whole = Piece(0, frames, (stage,))
    if not found.chunks:
        _commit_piece(plan, stage, whole, found, frames, table, beside, seconds)
    if not _is_closed(found, [whole], frames):
        close_if_whole(plan, stage, frames)


def _commit_piece(
    plan: VideoPlan,
    stage: Stage,
    piece: Piece,
    found: Progress,
    frames: int,
    table: pa.Table,
    state: pa.Table | None,
    seconds: float,
) -> None:
    """Commit a piece of a stage, and with it the whole where it is all of a new artifact."""
    artifact = plan.artifact(stage)
    device = runtime.description() if stage.resources.gpus else "cpu"
    if _is_closed(found, [piece], frames):
        artifact.commit_whole(frames, table, state, seconds=seconds, device=device, provenance=_provenance(plan, stage))
    else:
        artifact.commit(piece.start, piece.stop, table, state, seconds=seconds, device=device)


def _is_closed(found: Progress, pieces: Sequence[Piece], frames: int) -> bool:
    """Whether an artifact of which this was found is whole once these pieces of it are committed, without being closed."""
    return found.is_whole or (found.is_new and [(piece.start, piece.stop) for piece in pieces] == [(0, frames)])


def missing_pieces(
    stages: Sequence[Stage], committed: dict[str, list[Chunk]], start: int, stop: int, chunk_frames: int
) -> list[Piece]:
    """Cut [start, stop) so that in each piece, of at most chunk_frames, every stage is wholly committed or wholly missing."""
    edges = {start, stop, *range(start, stop, chunk_frames)}
    for chunks in committed.values():
        edges |= {edge for chunk in chunks for edge in (chunk.start, chunk.stop) if start < edge < stop}
    ordered = sorted(edges)
    pieces = []
    for low, high in pairwise(ordered):
        lacking = tuple(
            stage
            for stage in stages
            if not any(chunk.start <= low and high <= chunk.stop for chunk in committed[stage.name])
        )
        if lacking:
            pieces.append(Piece(low, high, lacking))
    return pieces


@dataclass(frozen=True)
class _Made:
    """What one block became: a table and seconds of one thread for each stage."""

    frames: int
    tables: dict[str, pa.Table]
    seconds: dict[str, float]


def _run_block(plan: VideoPlan, stages: Sequence[Stage], block: Block) -> _Made:
    tables: dict[str, pa.Table] = {}
    seconds: dict[str, float] = {}
    for n, stage in enumerate(stages):
        began = time.perf_counter()
        own = replace(
            block,
            inputs={**block.inputs, **tables},
            input_params=_input_params(plan, stage),
            pending=frozenset(later.name for later in stages[n + 1 :]),
        )
        tables[stage.name] = stage.checked(stage.run(own, plan.params[stage.name]))
        seconds[stage.name] = time.perf_counter() - began
    block.shared.clear()  # it may fill a GPU, and the block lives on until the next one is made
    return _Made(len(block.core_frames), tables, seconds)


def _commit(
    plan: VideoPlan, piece: Piece, found: Mapping[str, Progress], frames: int, made: Sequence[_Made]
) -> None:
    if any(stage.images for stage in piece.stages):
        check_unchanged(plan)
    for stage in piece.stages:
        table = pa.concat_tables([block.tables[stage.name] for block in made]).combine_chunks()
        seconds = sum(block.seconds[stage.name] for block in made)
        _commit_piece(plan, stage, piece, found[stage.name], frames, table, None, seconds)


def _blocks(opened: Opened, pieces: Sequence[Piece]) -> Iterator[tuple[Piece, int, Block]]:
    """Blocks of all pieces in order, each with its piece and where it ends; pixels only where a stage looks at them."""
    plan, line = opened.plan, opened.line
    seen = [piece for piece in pieces if any(stage.images for stage in piece.stages)]
    wanted = np.concatenate([line.frames[piece.start : piece.stop] for piece in seen] or [np.empty(0, np.int64)])
    images = decode(plan.source, line.info, wanted)
    sources = {piece.stages: opened.sources(piece.stages) for piece in pieces}
    for piece in pieces:
        looks = piece in seen
        halo = max(stage.halo(plan.params) for stage in piece.stages)
        step = runtime.BLOCK_FRAMES[runtime.device().type] if looks else _HALO_FRAMES if halo else piece.stop - piece.start
        first, end = max(piece.start - halo, 0), min(piece.stop + halo, len(line.frames))
        inputs = {name: source.rows(first, end, line) for name, source in sources[piece.stages].items()}
        for low in range(piece.start, piece.stop, step):
            high = min(low + step, piece.stop)
            pixels = tuple(next(images)[1] for _ in range(low, high)) if looks else ()
            before, after = max(low - halo, 0), min(high + halo, len(line.frames))
            rows = {name: _rows_of(table, line.frames[before], line.frames[after - 1]) for name, table in inputs.items()}
            core = (low - before, high - before) if halo else None
            yield piece, high, Block(line.frames[before:after], line.pts_ns[before:after], pixels, rows, core=core)


def block_at(opened: Opened, stage: Stage, place: int) -> Block:
    """What a stage that looks at no pixels takes for one sampled frame, that frame's place among them; with the stage's halo.

    DamagedArtifactError where an input of it is not there.
    """
    halo, line = stage.halo(opened.plan.params), opened.line
    low, high = max(place - halo, 0), min(place + halo + 1, len(line.frames))
    inputs = {name: source.rows(low, high, line) for name, source in opened.sources([stage]).items()}
    core = (place - low, place - low + 1)
    return Block(line.frames[low:high], line.pts_ns[low:high], (), inputs, _input_params(opened.plan, stage), core)


def _counted(images: Iterator[_Numbered], line: Timeline, stage: Stage, report: Report) -> Iterator[_Numbered]:
    """The images, reporting the sampled ones among them, some at a time, as they are taken."""
    passed = told = 0
    for number, image in images:
        yield number, image
        passed += int(number == line.frames[passed])
        if passed - told == _TOLD_FRAMES or passed == len(line.frames):
            report(stage.name, passed - told)
            told = passed


@dataclass(frozen=True)
class _Input:
    """An artifact that stages take, with its chunks; those that the last rows were in are held, for halos overlap."""

    artifact: Artifact
    chunks: list[Chunk]
    held: dict[Chunk, pa.Table] = field(default_factory=dict)

    def rows(self, start: int, stop: int, line: Timeline) -> pa.Table:
        """Rows of the sampled frames [start, stop)."""
        return self.artifact.read_span(start, stop, line.frames, self.chunks, self.held)

    def all_rows(self, line: Timeline, unread: Sequence[str]) -> pa.Table:
        """Rows of all sampled frames, without the columns that are not wanted, of which few are held at a time."""
        starts = range(0, len(line.frames), _SPAN_FRAMES)
        spans = (self.rows(start, min(start + _SPAN_FRAMES, len(line.frames)), line) for start in starts)
        read = [rows.drop_columns([one for one in unread if one in rows.column_names]) for rows in spans]
        return pa.concat_tables(read).unify_dictionaries()


def _input_params(plan: VideoPlan, stage: Stage) -> dict[str, Params]:
    return {source.name: plan.params[source.name] for source in stage.inputs if source.name in plan.keys}


def _bring_weights(plan: VideoPlan, stages: Iterable[Stage]) -> None:
    """Have the weights files of these stages on this machine."""
    for sha256 in {sha256 for stage in stages for sha256 in stage.weights(plan.params).values()}:
        fetch(plan.store, sha256)


def _rows_of(table: pa.Table, first_frame: int, last_frame: int) -> pa.Table:
    """Rows of the frames first_frame..last_frame of a table in frame order."""
    frame = column(table, "frame", np.int64)
    low, high = np.searchsorted(frame, first_frame), np.searchsorted(frame, last_frame, side="right")
    return table.slice(low, high - low)
