import dataclasses
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from tkm.networks.heads import HeadFacts, build, check_fits, load_head, read_facts, save_head
from tkm.networks.matching import Body, Classifiers, Matching
from tkm.networks.refinement import Refinement
from tkm.weights import WeightsError

POSE = "0123456789abcdef" * 4
OTHER = "fedcba9876543210" * 4
FEATURES = {
    "movenet-thunder": ((3, 64, 64), (40, 64, 64), (56, 32, 32), (168, 16, 16), (24, 64, 64)),
    "resnet-50": ((2048, 2, 2),),
    "hrnet-w32": ((32, 6, 4),),
}
RESPONSES = {"movenet-thunder": 2 * ((17, 64, 64),), "resnet-50": (), "hrnet-w32": ()}


def small(kind: str, network: str = "movenet-thunder", **changes) -> HeadFacts:
    hidden = 0 if kind == "refinement" else 4
    return dataclasses.replace(HeadFacts(kind, network, POSE, "coco_17", tau=5, channels=8, hidden=hidden), **changes)


def saved(folder: Path, facts: HeadFacts) -> Path:
    torch.manual_seed(0)
    path = folder / f"{facts.kind}.safetensors"
    save_head(path, build(facts), facts)
    return path


def rewritten(path: Path, metadata: dict[str, str] | None = None, **tensors: Tensor) -> Path:
    """The file with other metadata or tensors, as another program might write it."""
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        facts = file.metadata()
    save_file(load_file(path) | tensors, path, facts if metadata is None else metadata)
    return path


@pytest.mark.parametrize("network", FEATURES)
@pytest.mark.parametrize("kind", ["matching", "body", "refinement"])
def test_a_head_comes_back_from_its_file_as_it_was(tmp_path, kind, network):
    torch.manual_seed(0)
    facts = small(kind, network, divisor="weights" if kind == "refinement" else "window")
    head = build(facts).eval()
    features, responses = (tuple(torch.rand(1, *shape) for shape in of[network]) for of in (FEATURES, RESPONSES))
    cell = torch.randint(6 * 4, (1, 17, 3))
    save_head(tmp_path / "head", head, facts)  # of whatever name, as in a cache
    loaded, loaded_facts = load_head(tmp_path / "head", kind)
    assert loaded_facts == facts == read_facts(tmp_path / "head")
    assert not loaded.training
    assert all(parameter.requires_grad for parameter in loaded.parameters())
    with torch.no_grad():
        if isinstance(head, Refinement):
            a = head.scalars(features, responses, cell)
            assert a.shape == (1, 17, 3)
            assert torch.equal(loaded.scalars(features, responses, cell), a)
            assert torch.equal(loaded.bias, head.bias)
        else:
            assert isinstance(head, Matching if kind == "matching" else Body)
            F, loaded_F = (
                one.at(features, cell) if kind == "matching" else one.vector(features) for one in (head, loaded)
            )
            assert F.shape == ((1, 17, 3, 8) if kind == "matching" else (1, 8))
            assert torch.equal(loaded_F, F)
            pair = torch.randn(2, 17 if kind == "matching" else 1, 8)
            assert torch.equal(loaded.classifiers(*pair), head.classifiers(*pair))
    assert [path.name for path in tmp_path.iterdir()] == ["head"]


def test_heads_are_of_the_papers_size_for_its_backbones_and_reduced_for_movenet():
    paper, reduced = (HeadFacts.usual("matching", network, POSE, "coco_17") for network in ("resnet-152", "movenet-thunder"))
    assert (paper.channels, paper.hidden, paper.tau) == (256, 256, 5)
    assert (reduced.channels, reduced.hidden) == (64, 64)
    assert HeadFacts.usual("refinement", "hrnet-w48", POSE, "posetrack_15", tau=0).hidden == 0
    assert build(small("matching", skeleton="posetrack_15")).classifiers.third.bias.shape == (15, 2)


def test_a_refinement_head_of_single_frames_has_nothing_to_divide():
    assert small("refinement", divisor="weights").divisor == HeadFacts.usual(
        "refinement", "hrnet-w48", POSE, "coco_17", divisor="weights"
    ).divisor
    with pytest.raises(ValueError, match="divisor of a refinement head with tau 0"):
        small("refinement", tau=0, divisor="weights")


def test_a_head_in_half_precision_loads_in_float32(tmp_path):
    path = saved(tmp_path, small("matching"))
    halves = {name: tensor.half() for name, tensor in load_file(path).items() if tensor.is_floating_point()}
    head, _ = load_head(rewritten(path, **halves), "matching")
    assert {parameter.dtype for parameter in head.parameters()} == {torch.float32}


def test_equal_heads_have_equal_bytes(tmp_path):
    facts = small("matching")
    (tmp_path / "again").mkdir()
    assert {saved(folder, facts).read_bytes() for folder in (tmp_path, tmp_path / "again") for _ in range(4)} == {
        (tmp_path / "matching.safetensors").read_bytes()
    }


def test_saving_over_a_head_replaces_it(tmp_path):
    path = saved(tmp_path, small("matching"))
    save_head(path, build(small("matching", tau=3)), small("matching", tau=3))
    assert read_facts(path).tau == 3


def test_a_module_that_is_not_what_its_facts_say_is_not_saved(tmp_path):
    with pytest.raises(ValueError, match=r"no matching head for movenet-thunder: classifiers.*shape \(17, 4, 6\)"):
        save_head(tmp_path / "head", Matching(build(small("matching")).module, Classifiers(17, 3, 4)), small("matching"))
    with pytest.raises(ValueError, match="no body head"):
        save_head(tmp_path / "head", build(small("refinement")), small("body"))
    assert not list(tmp_path.iterdir())


def test_a_head_of_another_kind_is_refused_by_name(tmp_path):
    path = saved(tmp_path, small("body"))
    with pytest.raises(WeightsError, match=f"{path} is a body head, and a matching head is needed"):
        load_head(path, "matching")


def test_files_that_are_no_heads_are_refused_with_their_names(tmp_path):
    missing, text, damaged, plain = (tmp_path / name for name in ("missing", "text", "damaged", "plain"))
    text.write_text("a note")
    damaged.write_bytes(saved(tmp_path, small("body")).read_bytes()[:-100])
    save_file({"weight": torch.zeros(3)}, plain)
    what_is_wrong = (missing, "there is no"), (text, "damaged or no safe"), (damaged, "damaged"), (plain, "not those of a head")
    for path, what in what_is_wrong:
        with pytest.raises(WeightsError, match=what) as error:
            read_facts(path)
        assert str(path) in str(error.value)


def test_a_pickle_is_no_head(tmp_path):
    torch.save(build(small("body")).state_dict(), tmp_path / "head.pth")
    with pytest.raises(WeightsError, match="safetensors"):
        load_head(tmp_path / "head.pth", "body")


def test_facts_that_are_missing_or_cannot_be_are_refused(tmp_path):
    path = saved(tmp_path, small("matching"))
    facts = {"tkm_head": "2"} | {name: str(value) for name, value in dataclasses.asdict(small("matching")).items()}
    wrong = (
        ({"tkm_head": "1"}, "format 1"),
        ({"network": "vgg-16"}, "vgg-16"),
        ({"kind": "colour"}, "colour"),
        ({"skeleton": "stick_man"}, "stick_man"),
        ({"pose_sha256": "123"}, "pose_sha256"),
        ({"tau": "0"}, "tau"),
        ({"tau": "five"}, "five"),
        ({"hidden": "0"}, "hidden"),
        ({"divisor": "mean"}, "divisor.*mean"),
        ({"divisor": "weights"}, "divisor of a matching head"),
        ({"channels": "9"}, r"module\.project\.weight has shape \(8, (\d+)\) instead of \(9, \1\)"),
        ({"skeleton": "posetrack_15"}, "instead of"),
        ({"network": "resnet-50"}, "lacks module"),
    )
    for change, what in wrong:
        with pytest.raises(WeightsError, match=what) as error:
            load_head(rewritten(path, facts | change), "matching")
        assert str(path) in str(error.value)
    with pytest.raises(WeightsError, match="does not say its skeleton"):
        load_head(rewritten(path, {name: value for name, value in facts.items() if name != "skeleton"}), "matching")


def test_a_head_whose_training_diverged_is_refused(tmp_path):
    path = rewritten(saved(tmp_path, small("refinement")), **{"response.bias": torch.full((17,), torch.nan)})
    with pytest.raises(WeightsError, match=r"not finite in response\.bias"):
        load_head(path, "refinement")


def test_a_head_fits_the_pose_network_weights_and_skeleton_that_it_was_trained_for_and_no_other():
    facts = small("matching")
    fitting = {"kind": "matching", "network": "movenet-thunder", "pose_sha256": POSE, "skeleton": "coco_17"}
    check_fits(facts, where="--matching-weights head.safetensors", **fitting)
    for change, what in (
        ({"kind": "body"}, "is a matching head, and a body head is needed"),
        ({"network": "hrnet-w32"}, "features of movenet-thunder, and poses come from hrnet-w32"),
        ({"pose_sha256": OTHER}, "weights 01234567, and poses come from the weights fedcba98"),
        ({"skeleton": "posetrack_15"}, "skeleton coco_17, and poses have posetrack_15"),
    ):
        with pytest.raises(WeightsError, match=what) as error:
            check_fits(facts, where="--matching-weights head.safetensors", **fitting | change)
        assert str(error.value).startswith("--matching-weights head.safetensors ")


def test_reading_the_facts_needs_no_torch(tmp_path):
    path = saved(tmp_path, small("body"))
    program = (
        "import sys; from pathlib import Path; from tkm.networks.heads import read_facts; "
        f"print(read_facts(Path({str(path)!r})).kind, 'torch' in sys.modules)"
    )
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert found.split() == ["body", "False"]


def test_the_training_loop_of_the_docs_makes_a_head_that_has_learned_something(tmp_path, monkeypatch):
    page = (Path(__file__).parents[2] / "docs" / "networks.md").read_text()
    (loop,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    torch.manual_seed(0)
    crops = torch.randint(0, 256, (2, 2, 256, 256, 3), dtype=torch.uint8)
    cells = torch.randint(0, 64 * 64, (2, 2, 17, 1))
    batch = (*crops, *cells, torch.tensor([[0], [1]]).expand(-1, 17))
    monkeypatch.chdir(tmp_path)
    exec(loop, names := {"batches": [batch] * 8})
    head, facts = load_head(tmp_path / "matching.safetensors", "matching")
    assert facts == names["facts"]
    wanted = names["head"].eval().classifiers.state_dict()
    assert all(torch.equal(head.classifiers.state_dict()[name], wanted[name]) for name in wanted)
    assert names["loss"] < 0.69, "less than what a coin would lose, on pairs that it has seen"
