"""Users' weights files of a run: kept in its store, put where they are used, and tried, before anything is computed with them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import partial
from typing import Any

from flows.again import Wanted, distinct_params
from flows.settings import SettingsError, stage_params
from storage.store import Store
from storage.weights import fetch, keep
from tasks.heads import HeadsError, Role, check_weights, option, unused, with_weights
from tasks.pipeline import PIPELINE
from tasks.stage import Params


def kept_weights(store: Store | None, chosen: Any) -> dict[Role, str]:
    """Digests, by role, of the files that settings name, which are put into the store, if one is given, and this machine's cache.

    InputError, which names option and file, where one cannot be read.
    """
    return {role: keep(store, address, option(role)) for role, address in chosen.weights.files().items()}


def chosen_params(
    store: Store, wanted: Wanted, chosen: Any, *, write: bool = True
) -> tuple[dict[str, Params], tuple[str, ...]]:
    """Parameters by stage of a run under these settings, users' weights among them, and notes on files that nothing uses.

    Weights are put into the store, unless not to `write`. Raises SettingsError where a file is needed and not given, or cannot be
    used as asked, InputError where one cannot be read, WeightsError where one does not fit.
    """
    digests = kept_weights(store if write else None, chosen)
    params = stage_params(chosen)
    given: Mapping[str, Params] = next(iter(wanted.given.values()), {})  # boxes, or poses, of each of the videos or of none
    try:
        used = with_weights({**params, **given}, digests)
    except HeadsError as error:
        raise SettingsError(str(error)) from error
    check_weights(used, partial(fetch, store), chosen.weights.files())
    own = {name: params[name] for name in given}
    return {**used, **own}, tuple(unused(used, digests))


def check_again(store: Store, wanted: Wanted, chosen: Any, anew: Collection[str] = ()) -> None:
    """See, as `chosen_params`, that weights fit what earlier runs' videos are run again under, once for all that share them.

    Where nothing changes, that those are there which the stages use that are to be computed `anew`: StoreError before what the
    store holds of them is withdrawn.
    """
    for params in distinct_params(wanted):
        if not anew:
            check_weights(params, partial(fetch, store), chosen.weights.files())
        for stage in (stage for stage in PIPELINE if stage.name in anew and stage.is_active(params)):
            for digest in stage.weights(params).values():
                fetch(store, digest)
