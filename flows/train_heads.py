"""train-temporal and train-body: stage 2 of the paper. Heads learn from what `tkm annotate` found and a truth file says. The DAG:

    truth (a file a call), match by name, samples (a video a call) -> matching -> refinement, or -> body

Samples are Dask futures. Under `torchrun` there is neither Prefect nor Dask (see flows.train): each process makes its share of
the samples, waits for those of the others, and trains with them.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from distributed import Client
from prefect import flow

from flows.again import wanted_again
from flows.calls import Call, run_all
from flows.cluster import connect
from flows.errors import EvaluationError
from flows.evaluate import matched, read_truth
from flows.settings import load_settings, use_s3
from flows.sides import side_of_store
from flows.train import Manner, finish
from storage import weights
from storage.artifacts import Artifact
from storage.documents import find_documents
from storage.runs import Failure, split_address
from storage.sources import InputError, some
from storage.store import Store
from storage.trainings import Training
from tasks.evaluation import Refused, import_truth
from tasks.fit import Processes
from tasks.head_params import Chosen, MatchingTrainParams, RefinementTrainParams, TemporalTrainParams
from tasks.plan import VideoPlan, plan_video
from tasks.samples import SampleSet, make_samples, sample_key
from tasks.stage import Resources
from tasks.train_heads import pair_order, refinement_order
from tasks.training import Outcome
from tasks.truth import Truth
from tkm.networks import runtime
from tkm.networks.heads import REDUCED_NETWORKS
from tkm.weights import locate

_WAIT_S, _PATIENCE_S = 2, 7200  # between two looks at what other processes make, and in all
_Pair = tuple[VideoPlan, Truth]


class Learned(NamedTuple):
    """What came of the trainings of heads for a pose network, in order; empty for all processes but the first."""

    outcomes: tuple[Outcome, ...]
    people: int
    network: str


@flow(name="train-temporal", validate_parameters=False)
def train_temporal(
    results: Sequence[str],
    truth: str,
    output: str,
    params: Mapping[str, Any],
    matching_weights: str | None = None,
    videos: Sequence[str] = (),
    settings: Mapping[str, Any] | None = None,
    manner: Mapping[str, Any] | None = None,
) -> Learned:
    """Train a matching head and, under it, a refinement head, and keep them in `output`.

    `results` are addresses of annotated outputs, URI or URI@RUN, `truth` annotation files. With tau 0 there is a refinement
    head of single frames alone; with `matching_weights`, a file, the refinement head alone. `params` holds what
    TemporalTrainParams takes, `manner` what Manner takes, but that `save` is a folder.
    """
    store, way = Store(output), Manner(**manner or {})
    sets = _samples(results, truth, videos, settings)
    chosen = for_network(TemporalTrainParams(**params), sets)
    outcomes: list[Outcome | None] = []
    head: tuple[str, Path] | None = None
    if chosen.tau and matching_weights is not None:
        head = given_head(store, matching_weights)
    elif chosen.tau:
        order = pair_order("matching", sets, chosen.only(MatchingTrainParams))
        outcomes.append(finish(store, order, _saved_as(way, order.what)))
        head = _head_of(store, order.training(store))
    order = refinement_order(sets, chosen.only(RefinementTrainParams), head)
    outcomes.append(finish(store, order, _saved_as(way, order.what)))
    return Learned(tuple(one for one in outcomes if one is not None), sum(one.people for one in sets), sets[0].network)


@flow(name="train-body", validate_parameters=False)
def train_body(
    results: Sequence[str],
    truth: str,
    output: str,
    params: Mapping[str, Any],
    videos: Sequence[str] = (),
    settings: Mapping[str, Any] | None = None,
    manner: Mapping[str, Any] | None = None,
) -> Learned:
    """Train a body head (TBM), and keep it in `output`; arguments as those of `train_temporal`."""
    sets = _samples(results, truth, videos, settings)
    order = pair_order("body", sets, for_network(MatchingTrainParams(**params), sets))
    outcome = finish(Store(output), order, _saved_as(Manner(**manner or {}), order.what))
    return Learned((outcome,) if outcome is not None else (), sum(one.people for one in sets), sets[0].network)


def for_network(params: Chosen, sets: Sequence[SampleSet]) -> Chosen:
    """Parameters that know whether heads are reduced ones. InputError where the samples are of several networks."""
    networks = {one.network for one in sets}
    if len({(one.network, one.pose_sha256, one.skeleton, one.input_px) for one in sets}) > 1:
        raise InputError(f"the results are of different pose networks or weights ({some(sorted(networks))}): heads are for one")
    return params.model_copy(update={"reduced": networks <= set(REDUCED_NETWORKS)})


def given_head(store: Store | None, address: str) -> tuple[str, Path]:
    """Digest and file on this machine of a matching head that a user gives, which is put into the store if there is one."""
    digest = weights.keep(store, address, "--matching-weights")
    return digest, locate(digest)


def _samples(
    results: Sequence[str], truth: str, videos: Sequence[str], settings: Mapping[str, Any] | None
) -> list[SampleSet]:
    """The samples of all videos of all results, made where they are missing."""
    chosen = load_settings(settings or {})
    use_s3(chosen)
    processes = Processes.of_environment()
    if processes.world > 1:
        return _samples_together(results, truth, videos, processes)
    made: list[SampleSet] = []
    with connect(chosen.engine.dask, chosen.engine.workers) as client:
        on_gpu = chosen.engine.dask is not None or runtime.device().type == "cuda"
        for address in results:
            store = Store(split_address(address)[0])
            truths = read_truth.submit(client, store, truth).result()
            pairs = pairs_of(address, truths, truth, videos)
            made += _make_all(client, pairs, Resources(gpus=1) if on_gpu else Resources(cpus=1))
    return made


def pairs_of(address: str, truths: Sequence[Truth], truth: str, videos: Sequence[str]) -> list[_Pair]:
    """Every video of results with its truth. Truth of others is left aside."""
    root, run = split_address(address)
    store = Store(root)
    wanted = wanted_again(store, run, "estimate", (), videos)
    plans = {
        source.video_id: plan_video(store, source, wanted.earlier[source.uri].content_sha256, wanted.earlier[source.uri].params)
        for source in wanted.sources
    }
    side = side_of_store(store, run, videos)
    return [(plans[result.video], one) for one, result in matched(truths, side, truth, is_all=False)]


def _make_all(client: Client, pairs: Sequence[_Pair], resources: Resources) -> list[SampleSet]:
    calls = [_call(plan, one) for plan, one in pairs]
    found = run_all(client, uuid.uuid4().hex[:8], calls, resources)
    return [_made(one) for one in found.values()]


def _call(plan: VideoPlan, one: Truth) -> Call:
    return Call(plan.video, plan.source, "samples", f"samples-{plan.video}", make_samples, (plan, one))


def _made(found: SampleSet | Refused | Failure) -> SampleSet:
    if isinstance(found, Refused):
        raise InputError(found.message)
    if isinstance(found, Failure):
        raise EvaluationError(found.message)
    return found


def _samples_together(results: Sequence[str], truth: str, videos: Sequence[str], processes: Processes) -> list[SampleSet]:
    """The same, this process's share made here, that of the others waited for."""
    made = []
    for address in results:
        pairs = pairs_of(address, truths_of(Store(split_address(address)[0]), truth), truth, videos)
        for plan, one in pairs[processes.rank :: processes.world]:
            _made(make_samples(plan, one))
        began = time.monotonic()
        while time.monotonic() - began < _PATIENCE_S and any(is_missing(*pair) for pair in pairs):
            time.sleep(_WAIT_S)
        made += [_made(make_samples(plan, one)) for plan, one in pairs]
    return made


def truths_of(store: Store, truth: str, *, write: bool = True) -> list[Truth]:
    """What annotation files tell of which video, kept in the store where that is to be written. InputError for a broken file."""
    found: list[Truth] = []
    for uri in find_documents(truth, (".json",)):
        read = import_truth(store, uri, write=write)
        if isinstance(read, Refused):
            raise InputError(read.message)
        found += read
    return found


def is_missing(plan: VideoPlan, one: Truth) -> bool:
    """Whether the samples of a video are still to be made."""
    return Artifact(plan.store, "samples", sample_key(plan, one)).manifest() is None


def _saved_as(manner: Manner, what: str) -> Manner:
    """A manner that saves to a file in the folder that --save names, which is made where it is not there."""
    if manner.save is None:
        return manner
    Path(manner.save).mkdir(exist_ok=True)
    return manner._replace(save=str(Path(manner.save) / f"{what}.safetensors"))


def _head_of(store: Store, training: Training) -> tuple[str, Path]:
    """Digest and file on this machine of a head that has been trained; another process may still be about to finish it."""
    began = time.monotonic()
    while (trained := training.finished()) is None and time.monotonic() - began < _PATIENCE_S:
        time.sleep(_WAIT_S)
    if trained is None:
        raise EvaluationError(f"{store.root}/{training.folder} was not finished by the first process")
    digest = weights.keep(store, f"{store.root}/{trained.name}", "--matching-weights")
    return digest, weights.fetch(store, digest)
