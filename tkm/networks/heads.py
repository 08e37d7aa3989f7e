"""Trained heads as files: safetensors, with the facts that say what a head is and which pose network it belongs to.

A head answers for the backbone whose features it was trained on and for no other, so its file names that backbone's weights by
their digest. Reading the facts needs no torch, whose import takes seconds: whoever only plans does not wait for it.

Shape legend: K keypoints of the skeleton, D channels of F, H hidden units of a classifier.
"""

from __future__ import annotations

import json
import os
import re
import tempfile
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from tkm.networks.facts import FACTS
from tkm.refinement import Divisor
from tkm.skeleton import skeleton_of
from tkm.weights import WeightsError

if TYPE_CHECKING:
    from torch import nn

HeadKind = Literal["matching", "body", "refinement"]

FORMAT = "2"  # raised when an older file can no longer be read
REDUCED_NETWORKS = ("movenet-thunder",)  # the others have the paper's modules


@dataclass(frozen=True)
class HeadFacts:
    """What a head is.

    kind         what it does
    network      the pose network on whose features it was trained; by it the head is the paper's or the reduced one
    pose_sha256  SHA-256 of that network's weights file, hexadecimal
    skeleton     name of the skeleton whose keypoints it knows
    tau          frames on each side of the window that it was trained over; 0 for a refinement head of single frames
    channels     of F, or of H for a refinement head: of a reduced one those beside the keypoint head's own responses
    hidden       units of the classifiers' first two layers; 0 for a refinement head, which has none
    divisor      of a refinement head over windows: what Eq. 6 was divided by in its training (choice 9 of docs/method.md); `window`
                 where there is nothing to divide
    """

    kind: HeadKind
    network: str
    pose_sha256: str
    skeleton: str
    tau: int
    channels: int
    hidden: int
    divisor: Divisor = "window"

    def __post_init__(self) -> None:
        if self.kind not in get_args(HeadKind):
            raise ValueError(f"HeadFacts.kind must be one of {', '.join(get_args(HeadKind))}, not {self.kind!r}")
        if self.network not in FACTS:
            raise ValueError(f"HeadFacts.network must be one of {', '.join(FACTS)}, not {self.network!r}")
        if not re.fullmatch("[0-9a-f]{64}", self.pose_sha256):
            raise ValueError(f"HeadFacts.pose_sha256 must be 64 hexadecimal digits, not {self.pose_sha256!r}")
        skeleton_of(self.skeleton)
        if self.tau < (0 if self.kind == "refinement" else 1):
            raise ValueError(f"HeadFacts.tau of a {self.kind} head must not be {self.tau}")
        if self.channels < 1 or (self.hidden < 1) != (self.kind == "refinement") or self.hidden < 0:
            raise ValueError(f"a {self.kind} head must not have {self.channels} channels and {self.hidden} hidden units")

        if self.divisor not in get_args(Divisor) or (self.divisor != "window" and (self.kind != "refinement" or not self.tau)):
            raise ValueError(f"HeadFacts.divisor of a {self.kind} head with tau {self.tau} must not be {self.divisor!r}")

    @classmethod
    def usual(
        cls, kind: HeadKind, network: str, pose_sha256: str, skeleton: str, tau: int = 5, divisor: Divisor = "window"
    ) -> HeadFacts:
        """Facts of a head of the usual size: the paper's 256 channels and units, 64 of the reduced one."""
        size = 64 if network in REDUCED_NETWORKS else 256
        hidden = 0 if kind == "refinement" else size
        return cls(kind, network, pose_sha256, skeleton, tau, channels=size, hidden=hidden, divisor=divisor)


def build(facts: HeadFacts) -> nn.Module:
    """A head of these facts with random weights: a `Matching`, a `Body` or a `Refinement`."""
    from tkm.networks.matching import Body, Classifiers, Matching, MatchingModule
    from tkm.networks.reduced import RESPONSES, ReducedMatchingModule, ReducedRefinementModule
    from tkm.networks.refinement import Refinement, RefinementModule

    K = len(skeleton_of(facts.skeleton).keypoints)
    is_reduced = facts.network in REDUCED_NETWORKS
    backbone = FACTS[facts.network]
    features = backbone.feature_channels[0], backbone.feature_strides_px[0]
    if facts.kind == "refinement":
        if is_reduced:
            return Refinement(ReducedRefinementModule(facts.channels), K, facts.channels + RESPONSES)
        return Refinement(RefinementModule(*features, channels=facts.channels), K, facts.channels)
    module = (
        ReducedMatchingModule(facts.channels)
        if is_reduced
        else MatchingModule(*features, channels=facts.channels)
    )
    if facts.kind == "body":
        return Body(module, Classifiers(1, facts.channels, facts.hidden))
    return Matching(module, Classifiers(K, facts.channels, facts.hidden))


def head_bytes(module: nn.Module, facts: HeadFacts) -> bytes:
    """A head as a file's content: equal weights and facts give equal bytes.

    Raises: ValueError where the module is not what `build` makes of these facts.
    """
    from safetensors.torch import save

    state = {name: tensor.detach().cpu().contiguous() for name, tensor in module.state_dict().items()}
    difference = _difference(facts, {name: tuple(tensor.shape) for name, tensor in state.items()})
    if difference:
        raise ValueError(f"the module is no {facts.kind} head for {facts.network}: {difference}")
    return _in_order(save(state, {"tkm_head": FORMAT} | {name: str(value) for name, value in asdict(facts).items()}))


def save_head(path: Path, module: nn.Module, facts: HeadFacts) -> None:
    """Write a head; whoever looks sees no file, the one before, or the whole new one.

    Raises: ValueError as `head_bytes`; OSError where the file cannot be written.
    """
    content = head_bytes(module, facts)
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
        temporary = Path(file.name)
        try:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
            temporary.chmod(0o644)  # temporary files are their owner's alone
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise


def _in_order(content: bytes) -> bytes:
    """A safetensors file with its header sorted: the library writes metadata in another order each time, and a head is known by
    the digest of its bytes.
    """
    end = 8 + int.from_bytes(content[:8], "little")
    header = json.dumps(json.loads(content[8:end]), sort_keys=True, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)  # tensors begin at a multiple of eight bytes
    return len(header).to_bytes(8, "little") + header + content[end:]


def read_facts(path: Path) -> HeadFacts:
    """The facts of a head file.

    Raises: WeightsError for a file that is missing, damaged, or no head that this version can read.
    """
    from safetensors import SafetensorError, safe_open

    wanted = "a head is a safetensors file, see docs/networks.md"
    if not path.is_file():
        raise WeightsError(f"there is no head file {path}: {wanted}")
    try:
        with safe_open(path, framework="np") as file:
            metadata = file.metadata() or {}
    except SafetensorError as error:
        raise WeightsError(f"{path} is damaged or no safetensors file ({error}): {wanted}") from error
    if "tkm_head" not in metadata:
        raise WeightsError(f"{path} holds weights, but not those of a head: {wanted}")
    if metadata["tkm_head"] != FORMAT:
        version = metadata["tkm_head"]
        raise WeightsError(f"head file {path} has format {version}, and this version of tkm reads {FORMAT}: use the one it is of")
    try:
        values: dict[str, Any] = {field.name: metadata[field.name] for field in fields(HeadFacts)}
        return HeadFacts(**values | {name: int(values[name]) for name in ("tau", "channels", "hidden")})
    except KeyError as error:
        raise WeightsError(f"head file {path} does not say its {error.args[0]}: train it again") from error
    except ValueError as error:
        raise WeightsError(f"head file {path} says what cannot be: {error}") from error


def load_head(path: Path, kind: HeadKind) -> tuple[nn.Module, HeadFacts]:
    """A head of this kind in evaluation mode, float32 on the CPU, and its facts.

    Raises: WeightsError for a file that is missing, damaged, no head, or one of another kind.
    """
    import torch
    from safetensors.torch import load_file

    facts = read_facts(path)
    if facts.kind != kind:
        raise WeightsError(f"{path} is a {facts.kind} head, and a {kind} head is needed here")
    state = {name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in load_file(path).items()}
    difference = _difference(facts, {name: tuple(tensor.shape) for name, tensor in state.items()})
    if difference:
        raise WeightsError(f"{path} is not the {kind} head for {facts.network} that it says it is: {difference}")
    broken = next((name for name, tensor in state.items() if not tensor.isfinite().all()), None)
    if broken:
        raise WeightsError(f"head file {path} has numbers that are not finite in {broken}: its training diverged, train it again")
    with torch.device("meta"):
        module = build(facts)
    module.load_state_dict(state, assign=True)
    return module.eval(), facts


def check_fits(facts: HeadFacts, *, where: str, kind: HeadKind, network: str, pose_sha256: str, skeleton: str) -> None:
    """See that a head is of this kind and was trained for this pose network, with these weights, and this skeleton.

    `where` names the file, and the option it came by, in the error.
    Raises: WeightsError that says which of these it is not.
    """
    if facts.kind != kind:
        raise WeightsError(f"{where} is a {facts.kind} head, and a {kind} head is needed here")
    if facts.network != network:
        raise WeightsError(f"{where} was trained on features of {facts.network}, and poses come from {network}: choose that one")
    if facts.pose_sha256 != pose_sha256:
        raise WeightsError(
            f"{where} was trained on features of {facts.network} with the weights {facts.pose_sha256[:8]}, and poses come from "
            f"the weights {pose_sha256[:8]}: a head answers for no other, give those or train it anew"
        )
    if facts.skeleton != skeleton:
        raise WeightsError(f"{where} was trained for the skeleton {facts.skeleton}, and poses have {skeleton}: train it for that")


def _difference(facts: HeadFacts, shapes: dict[str, tuple[int, ...]]) -> str:
    """How the names and shapes of a state differ from those of a head of these facts, in words; empty where they do not."""
    import torch

    with torch.device("meta"):
        wanted = {name: tuple(tensor.shape) for name, tensor in build(facts).state_dict().items()}
    for name in [*wanted, *shapes]:
        if name not in shapes:
            return f"it lacks {name}"
        if name not in wanted:
            return f"it has {name}, which such a head does not"
        if wanted[name] != shapes[name]:
            return f"{name} has shape {shapes[name]} instead of {wanted[name]}"
    return ""
