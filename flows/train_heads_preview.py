"""What a training of heads would do: for --dry-run, and before servers start. Nothing is computed or written."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from flows.again import wanted_again
from flows.train import state
from flows.train_heads import for_network, given_head, is_missing, pairs_of, truths_of
from storage.documents import find_documents
from storage.runs import split_address
from storage.store import Store
from tasks.head_params import MatchingTrainParams, RefinementTrainParams, TemporalTrainParams
from tasks.samples import SampleSet, sample_set
from tasks.train_heads import pair_order, refinement_order
from tkm.networks.heads import load_head


def check_data(results: Sequence[str], truth: str, videos: Sequence[str], matching_weights: str | None) -> None:
    """Raise InputError, StoreError or WeightsError, which name the option or address, for what is mistyped or cannot be used."""
    find_documents(truth, (".json",))
    for address in results:
        root, run = split_address(address)
        store = Store(root)
        store.reach()
        wanted_again(store, run, "estimate", (), videos)
    if matching_weights is not None:
        load_head(given_head(None, matching_weights)[1], "matching")


def preview_temporal(
    store: Store, params: TemporalTrainParams, results: Sequence[str], truth: str, videos: Sequence[str], matching: str | None
) -> Iterator[str]:
    """A line on the samples, and one on each training of `flows.train_heads.train_temporal`, as far as can be told."""
    sets, line = _there(results, truth, videos)
    yield line
    if not sets:
        return
    chosen, head = for_network(params, sets), None
    if chosen.tau and matching is not None:
        head = given_head(None, matching)
    elif chosen.tau:
        order = pair_order("matching", sets, chosen.only(MatchingTrainParams))
        yield state(store, order)
        trained = order.training(store).finished()
        if trained is None:
            yield f"training of refinement: {chosen.schedule.epochs} epochs would be trained, under that matching head"
            return
        head = given_head(None, f"{store.root}/{trained.name}")
    yield state(store, refinement_order(sets, chosen.only(RefinementTrainParams), head))


def preview_body(
    store: Store, params: MatchingTrainParams, results: Sequence[str], truth: str, videos: Sequence[str]
) -> Iterator[str]:
    """The same of `flows.train_heads.train_body`."""
    sets, line = _there(results, truth, videos)
    yield line
    if sets:
        yield state(store, pair_order("body", sets, for_network(params, sets)))


def _there(results: Sequence[str], truth: str, videos: Sequence[str]) -> tuple[list[SampleSet], str]:
    """The samples of all videos, none where some are still to be made, and a line on that."""
    pairs = [
        pair
        for address in results
        for pair in pairs_of(address, truths_of(Store(split_address(address)[0]), truth, write=False), truth, videos)
    ]
    missing = sum(is_missing(*pair) for pair in pairs)
    if missing:
        return [], f"samples: {missing} of {len(pairs)} videos would be made; after that it can be told which trainings are new"
    sets = [sample_set(*pair) for pair in pairs]
    return sets, f"samples: all of {len(pairs)} videos are there, of {sum(one.people for one in sets)} people"
