"""Where users' weights files go: which stages use which file under given parameters, what is missing, and whether the files fit.

A weights file plays a role: `pose` and `detector` are networks, `matching`, `body` and `refinement` are trained heads on the pose
network's features. A digest stands in the parameters of exactly the stages that use it, so that another head computes those and
what rests on them again, and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, get_args

from tasks.stage import Params
from tkm import weights
from tkm.networks.heads import HeadFacts, HeadKind, check_fits, load_head, read_facts
from tkm.refinement import Divisor
from tkm.skeleton import skeleton_of
from tkm.weights import WeightsError

Role = Literal["pose", "detector", "matching", "body", "refinement"]
ROLES: tuple[Role, ...] = get_args(Role)
HEADS: tuple[HeadKind, ...] = get_args(HeadKind)
_ByStage = Mapping[str, Params]
_Place = tuple[str, str]  # a stage, and its parameter in which a digest stands
_PLACES: dict[Role, tuple[_Place, ...]] = {
    "pose": (("estimate", "weights"),),
    "detector": (("detect", "weights"),),
    "matching": (("embed", "matching"), ("track", "head"), ("paths", "matching"), ("refine", "matching")),
    "body": (("embed", "body"), ("track", "head")),
    "refinement": (("embed", "refinement"), ("refine", "refinement")),
}
_STAGES: dict[Role, str] = {"pose": "estimate", "detector": "detect"}  # of the networks
_EMBEDDED: dict[Role, str] = {"pose": "movenet-thunder", "detector": "nanodet"}  # the networks that need no file
_EMBEDDED_DIGESTS = {weights.digest(name) for name in ("matching", "body", "refinement", "self-refinement")}
_TRAINED_BY: dict[HeadKind, str] = {"matching": "temporal", "body": "body", "refinement": "temporal"}  # kinds of `tkm train`


class HeadsError(ValueError):
    """A weights file is needed and not given, or cannot be used as asked; the message names the option and says what to do."""


def option(role: Role) -> str:
    """Option of the command line by which a file is given: `--pose-weights`."""
    return f"--{role}-weights"


def with_weights(params: _ByStage, digests: Mapping[Role, str]) -> dict[str, Params]:
    """Parameters by stage in which every digest stands where its file is used, and nowhere else.

    Heads that no file is given for are the embedded ones, where the poses are the embedded network's. What needs a head that is
    not there, and that nobody has asked for, is left out: then `oks` tracks and nothing is refined.

    Args: params, by stage name, whatever digests they had; digests, SHA-256 of the files there are, by role.
    Raises: HeadsError where a file is needed and not there, or is for a network that takes none.
    """
    digests = {**_embedded(params, digests), **digests}
    params = _without_heads(params, digests)
    used = _uses(params)
    needed = [kind for kind in HEADS if used[kind]]
    if needed and _param(params, "poses", "sha256"):
        raise HeadsError(
            f"{_why(params, needed[0])} looks at features of people's pictures, and poses that are given from a file have none: "
            "leave --detections out, or give boxes only"
        )
    for kind in needed:
        if kind not in digests:
            raise HeadsError(
                f"{_why(params, kind)} needs a {kind} head that was trained for {_param(params, 'estimate', 'network')} with "
                f"these weights, and none is embedded: give one by {option(kind)} FILE; "
                f"`tkm train {_TRAINED_BY[kind]}` makes one (docs/training.md)"
            )
    for role in _STAGES:
        if used[role]:
            _check_network(params, role, is_given=role in digests)
    values: dict[_Place, str | None] = {place: None for places in _PLACES.values() for place in places}
    for role, digest in digests.items():
        values |= dict.fromkeys(used[role], digest)
    stages = {stage for stage, _ in values}
    return {**params, **{name: _with(params[name], {f: v for (s, f), v in values.items() if s == name}) for name in stages}}


def has_embedded_heads(params: _ByStage, roles: Iterable[str]) -> bool:
    """Whether the package has heads for the poses of these parameters: those of the embedded network.

    Args: roles, of the files that are given in place of what is embedded.
    """
    return bool(_param(params, "estimate", "network") == _EMBEDDED["pose"]) and "pose" not in set(roles)


def _embedded(params: _ByStage, digests: Mapping[Role, str]) -> dict[Role, str]:
    """Digests of the heads in the package, where these parameters' poses are the embedded network's own."""
    if not has_embedded_heads(params, digests):
        return {}
    refinement = "refinement" if _param(params, "paths", "tau") else "self-refinement"
    names: dict[Role, str] = {"matching": "matching", "body": "body", "refinement": refinement}
    return {role: weights.digest(name) for role, name in names.items()}


def _without_heads(params: _ByStage, digests: Mapping[Role, str]) -> dict[str, Params]:
    """Parameters in which what needs a head that is not there, and that nobody has asked for, is left out."""
    is_posed = not _param(params, "poses", "sha256")
    found = dict(params)
    track, refine = params["track"], params["refine"]
    is_asked = "similarity" in track.model_fields_set or _param(params, "track", "by_confidence")  # which is for tkm alone
    if not is_asked and not (is_posed and "matching" in digests):
        found["track"] = type(track)(**{**track.model_dump(include=track.model_fields_set), "similarity": "oks"})
    needed: tuple[Role, ...] = ("refinement", "matching") if _param(params, "paths", "tau") else ("refinement",)
    if "on" not in refine.model_fields_set and not (is_posed and all(role in digests for role in needed)):
        found["refine"] = type(refine)(**{**refine.model_dump(include=refine.model_fields_set), "on": False})
    return found


def _check_network(params: _ByStage, role: Role, *, is_given: bool) -> None:
    """Raise HeadsError where a network has no weights, or is given some and takes only its own."""
    network = _param(params, _STAGES[role], "network")
    if network != _EMBEDDED[role] and not is_given:
        raise HeadsError(
            f"{network} has no embedded weights: give its file by {option(role)} FILE (docs/networks.md says which load), or "
            f"leave the network at {_EMBEDDED[role]}"
        )
    if network == "nanodet" and is_given:
        raise HeadsError(
            f"{option(role)} is not for nanodet, which has its own: name the network that the file is of by --detect-network"
        )


def digests_of(params: _ByStage) -> dict[Role, str]:
    """The digests that stand in parameters, by role: what `with_weights` has put there."""
    found: dict[Role, str] = {}
    for role in ROLES:
        digests = [_param(params, stage, field) for stage, field in _PLACES[role] if stage != "track"]  # which has either head
        found |= {role: digest for digest in digests if digest}  # noqa: B035 - all of a role are one
    return found


def with_other_weights(before: _ByStage, after: _ByStage, given: Mapping[Role, str]) -> dict[str, Params]:
    """Parameters `after` a change with the digests given, and for other roles those that were there `before`.

    Another network takes nothing of the one before it. Raises HeadsError as `with_weights`.
    """
    # Embedded heads are chosen anew: they go with the network and with tau.
    kept = {role: digest for role, digest in digests_of(before).items() if digest not in _EMBEDDED_DIGESTS}
    for role, stage in _STAGES.items():
        if _param(before, stage, "network") != _param(after, stage, "network"):
            kept.pop(role, None)
    return with_weights(after, {**kept, **given})


def unused(params: _ByStage, roles: Iterable[Role]) -> list[str]:
    """A sentence on each file that is given and that nothing uses under these parameters."""
    used = _uses(params)
    why = {
        "pose": "poses are given",
        "detector": "boxes or poses are given",
        "matching": "that takes --track-similarity tkm, or --refine with --paths-tau above 0",
        "body": "that takes --track-similarity tbm",
        "refinement": "that takes --refine",
    }
    return [f"{option(role)} is not used: {why[role]}" for role in roles if not used[role]]


def check_weights(params: _ByStage, locate: Callable[[str], Path], given: Mapping[Role, str]) -> None:
    """See that all weights files of these parameters fit what they are used for, before anything is computed with them.

    Heads must be of the pose network, its very weights and its skeleton; a refinement head of single frames goes with
    --paths-tau 0, one of windows with more and with the --refine-divisor of its training. The files of `given` (role -> address)
    are loaded whole, and networks built of them.

    Args: locate, the file on this machine of a digest.
    Raises: WeightsError, which names option and file.
    """
    digests, used = digests_of(params), _uses(params)
    # Imported where files are loaded: torch comes with both.
    if "detector" in given and used["detector"]:
        from tkm.networks import faster_rcnn_files

        network, deformable = str(_param(params, "detect", "network")), bool(_param(params, "detect", "deformable"))
        with _named(path := locate(digests["detector"]), f"{option('detector')} {given['detector']}"):
            faster_rcnn_files.load(network, path, deformable=deformable)
    if "pose" in given and used["pose"]:
        from tkm.networks import checkpoints

        network, skeleton = str(_param(params, "estimate", "network")), str(_param(params, "estimate", "skeleton"))
        caffe_style = bool(_param(params, "estimate", "caffe_style"))
        with _named(path := locate(digests["pose"]), f"{option('pose')} {given['pose']}"):
            checkpoints.pose_network(path, network, skeleton_of(skeleton), caffe_style=caffe_style)
    for kind in (kind for kind in HEADS if used[kind]):
        path = locate(digests[kind])
        where = f"{option(kind)} {given[kind]}" if kind in given else f"the run's {kind} head {digests[kind][:8]}"
        with _named(path, where):
            facts = load_head(path, kind)[1] if kind in given else read_facts(path)
            _check_head(params, kind, facts, where)


@contextmanager
def _named(path: Path, where: str) -> Iterator[None]:
    """Errors speak of the file as the user knows it, not of its copy on this machine."""
    try:
        yield
    except WeightsError as error:
        raise WeightsError(str(error).replace(str(path), where)) from error


def _check_head(params: _ByStage, kind: HeadKind, facts: HeadFacts, where: str) -> None:
    network = str(_param(params, "estimate", "network"))
    pose_sha256 = str(_param(params, "estimate", "weights") or weights.digest(network))
    skeleton = str(_param(params, "estimate", "skeleton"))
    check_fits(facts, where=where, kind=kind, network=network, pose_sha256=pose_sha256, skeleton=skeleton)
    if kind == "refinement":
        _check_scale(facts, int(_param(params, "paths", "tau")), _param(params, "refine", "divisor"), where)


def _check_scale(facts: HeadFacts, tau: int, divisor: Divisor, where: str) -> None:
    """Raise WeightsError where a refinement head learned responses of another scale than Eq. 6 has under these parameters."""
    if (facts.tau == 0) != (tau == 0):
        trained = f"over windows of {facts.tau} frames on each side" if facts.tau else "on single frames"
        setting, used, wanted = "--paths-tau", str(tau), str(facts.tau)
    elif tau and facts.divisor != divisor:
        trained = "with sums divided by " + ("the window's length" if facts.divisor == "window" else "1 + the sum of W")
        setting, used, wanted = "--refine-divisor", divisor, facts.divisor
    else:
        return
    remedy = f"give {setting} {wanted}, or a head that was trained the other way"
    raise WeightsError(f"{where} was trained {trained}, and {setting} is {used}: it would answer at another scale; {remedy}")


def _uses(params: _ByStage) -> dict[Role, set[tuple[str, str]]]:
    """By role, the places where its digest is used under these parameters."""
    is_tkm, is_tbm = (_param(params, "track", "similarity") == one for one in ("tkm", "tbm"))
    is_refined = bool(_param(params, "refine", "on"))
    is_windowed = is_refined and int(_param(params, "paths", "tau")) > 0
    is_posed = not _param(params, "poses", "sha256")
    is_boxed = is_posed and not _param(params, "boxes", "sha256")
    nowhere: set[str] = set()
    of_matching = ({"embed", "track"} if is_tkm else nowhere) | ({"embed", "paths", "refine"} if is_windowed else nowhere)
    stages: dict[Role, set[str]] = {
        "pose": {"estimate"} if is_posed else nowhere,
        "detector": {"detect"} if is_boxed else nowhere,
        "matching": of_matching,
        "body": {"embed", "track"} if is_tbm else nowhere,
        "refinement": {"embed", "refine"} if is_refined else nowhere,
    }
    return {role: {place for place in _PLACES[role] if place[0] in stages[role]} for role in ROLES}


def _why(params: _ByStage, role: Role) -> str:
    """What asks for a head, as the beginning of a sentence."""
    similarity = _param(params, "track", "similarity")
    if role == "body" or (role == "matching" and similarity == "tkm"):
        return f"--track-similarity {similarity}"
    return "--refine" if role == "refinement" else "--refine with --paths-tau above 0"


def _param(params: _ByStage, stage: str, name: str) -> Any:
    return getattr(params[stage], name)


def _with(params: Params, fields: Mapping[str, str | None]) -> Params:
    return type(params)(**{**params.model_dump(), **fields})
