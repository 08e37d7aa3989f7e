"""Heads for tests: files of real networks that have learned nothing, and classifiers that know what a test is about."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import torch

from tkm import weights
from tkm.networks.heads import HeadFacts, HeadKind, build, save_head
from tkm.networks.matching import Classifiers

MOVENET = weights.digest("movenet-thunder")


def save_random_head(path: Path, kind: HeadKind, seed: int = 0, tau: int = 5, **facts: Any) -> Path:
    """A head for the embedded pose network, or for that of other facts, written to a path."""
    usual = {"network": "movenet-thunder", "pose_sha256": MOVENET, "skeleton": "coco_17"}
    own = HeadFacts.usual(kind, **{**usual, **facts}, tau=tau)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        head = build(own)
        for buffer in head.buffers():  # features of every channel then are of about the same size, as in a trained head
            if buffer.is_floating_point():
                buffer.uniform_(0.5, 1.5)
    save_head(path, head, own)
    return path


def on_this_machine(path: Path) -> str:
    """Digest of a head file after copying it to where workers find it: this machine's cache, whatever that is in a test."""
    content = path.read_bytes()
    sha256 = hashlib.sha256(content).hexdigest()
    weights.cache_folder().mkdir(parents=True, exist_ok=True)
    (weights.cache_folder() / sha256).write_bytes(content)
    return sha256


def recognisers(keypoints: int, people: int) -> Classifiers:
    """Classifiers that say "the same" of two features where, and only where, both are the unit vector of one person."""
    classifiers = Classifiers(keypoints, people, hidden=people)
    unit = torch.eye(people).expand(keypoints, people, people)
    with torch.no_grad():
        classifiers.first.weight.copy_(torch.cat([unit, unit], dim=2))
        classifiers.first.bias.fill_(-1)
        classifiers.second.weight.copy_(unit)
        classifiers.second.bias.zero_()
        classifiers.third.weight.copy_(torch.tensor([[0.0], [20.0]]).expand(keypoints, 2, people))
        classifiers.third.bias.copy_(torch.tensor([0.0, -10.0]).expand(keypoints, 2))
    return classifiers
