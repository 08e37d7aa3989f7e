"""A body with its outfit on, as one mesh."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tkm.synthetic.bodies.body import Body, BodyModel
from tkm.synthetic.bodies.mesh import Mesh
from tkm.synthetic.people import hair
from tkm.synthetic.people.bags import dressed, make_bag
from tkm.synthetic.people.garments import bottom_region, in_view, sew_bottom, sew_skirt, sew_top, skirt_region, top_region
from tkm.synthetic.people.outfits import Outfit
from tkm.synthetic.people.palette import Cloth, Wardrobe
from tkm.synthetic.people.shoes import Shoe, above_shell, make_shoe, shoe_region
from tkm.synthetic.people.surface import Part, Surface, body_surface, cut, join, lay, part_of
from tkm.types import Float

_WHITE = Cloth((0.86, 0.84, 0.82), gloss=0.3)
_FRAME = Cloth((0.08, 0.07, 0.07), gloss=0.3)
_HIDDEN_M, _UNDER_HAIR_M = 0.03, 0.015  # skin so far inside the edges of cloth, or of hair, is never seen
_SWING_M = 0.14  # more of that for legs in a skirt, which swings
_FACES_A_PART = 4  # least of a piece that is worth a part


def dress(model: BodyModel, body: Body, outfit: Outfit) -> Mesh:
    """The mesh of a person: garments are parts outside the skin.

    Skin near a garment's edge takes its colour; skin that is deep inside one has no triangles, so that it costs nothing and
    comes through nowhere.
    """
    surface = body_surface(model, body)
    size = body.height_m / 1.7
    wardrobe = Wardrobe()
    painted = np.full(len(model.faces), wardrobe.number(outfit.skin), np.uint8)
    middles = model.template_m[model.faces].mean(axis=1)
    hidden = _inside_mouth(middles)
    _paint_face(model, outfit, wardrobe, painted, middles)
    rng = np.random.default_rng(outfit.folds)

    def cover(inside_m: Float, cloth: Cloth) -> None:
        """Of a garment that hides the skin."""
        within_m = inside_m[model.faces].min(axis=1)
        painted[within_m > 0] = wardrobe.number(cloth)
        hidden[within_m > _HIDDEN_M] = True

    def dye(top_m: float, cloth: Cloth) -> None:
        """Of legs up to a height, in what lies on the skin."""
        painted[(bottom_region(surface, top_m, -0.9)[model.faces] > 0).all(axis=1)] = wardrobe.number(cloth)

    if outfit.legs != outfit.skin:
        dye(0.1, outfit.legs)
    if outfit.socks:
        dye(*outfit.socks)
    trousers_m = bottom_region(surface, outfit.bottom.waist_m, outfit.bottom.hem_m) if outfit.bottom else None
    parts = _shoe_parts(surface, outfit.shoe, size, wardrobe, trousers_m)
    cover(shoe_region(surface, outfit.shoe), outfit.shoe.cloth)
    over_m = np.full(len(surface.arm), -1.0, np.float32)  # how far inside what is worn over it a garment's places are
    garments: list[Part] = []
    waist_m = 0.007 + 0.6 * outfit.bottom.thickness_m if outfit.bottom else 0.0
    for layer, top in reversed(list(enumerate(outfit.tops))):  # from the outside inwards
        numbers = {cloth: wardrobe.number(cloth) for cloth in (top.cloth, top.sleeve_cloth, top.trim_cloth)}
        garments.append(sew_top(surface, top, (0.016 * layer, waist_m + 0.012 * layer), size, numbers, rng, over_m))
        over_m = np.maximum(over_m, top_region(surface, top))
    for skirt in outfit.skirts:
        garments.append(sew_skirt(surface, skirt, size, wardrobe.number(skirt.cloth), rng))
        within_m = skirt_region(surface, skirt) - _SWING_M
        hidden |= within_m[model.faces].min(axis=1) > _HIDDEN_M
        over_m = np.maximum(over_m, within_m)
    if outfit.bottom and trousers_m is not None:
        cover(trousers_m, outfit.bottom.cloth)
        numbers = {cloth: wardrobe.number(cloth) for cloth in (outfit.bottom.cloth, outfit.bottom.stripe) if cloth}
        garments.append(sew_bottom(surface, outfit.bottom, size, numbers, rng, over_m))
    for top in reversed(outfit.tops):
        cover(top_region(surface, top), top.cloth)
    parts += garments
    bag_numbers = wardrobe.number(outfit.bag_cloth), wardrobe.number(outfit.strap_cloth)
    parts += make_bag(body, outfit.bag, size, *bag_numbers, dressed(surface, garments))
    head, under_m = _head_parts(surface, outfit, size, wardrobe, rng)
    hidden |= under_m[model.faces].min(axis=1) > _UNDER_HAIR_M
    skin = Part(body.rest_m, model.faces[~hidden], model.skin, painted[~hidden])
    return join([skin, *(part for part in (*parts, *head) if len(part.faces) >= _FACES_A_PART)], wardrobe.materials())


def _shoe_parts(surface: Surface, shoe: Shoe, size: float, wardrobe: Wardrobe, covered_m: Float | None) -> list[Part]:
    numbers = {cloth: wardrobe.number(cloth) for cloth in (shoe.cloth, shoe.sole_cloth, shoe.lace_cloth)}
    piece = cut(surface, np.minimum(in_view(shoe_region(surface, shoe), covered_m), above_shell(surface)))
    upper = lay(piece, np.full(len(piece.arm), (0.01 if shoe.is_boot else 0.006) * size, np.float32), 0.004, 3)
    return [*(make_shoe(surface, side, shoe, size, numbers) for side in ("left", "right")), part_of(upper, numbers[shoe.cloth])]


def _head_parts(
    surface: Surface, outfit: Outfit, size: float, wardrobe: Wardrobe, rng: np.random.Generator
) -> tuple[list[Part], Float]:
    """What is on a head, and (V,) how far the skin is inside its edges."""
    parts = []
    under_m = np.full(len(surface.arm), -1.0, np.float32)
    if outfit.hat != "scarf":
        parts += hair.make_hair(surface, outfit.hair_style, outfit.hat, size, wardrobe.number(outfit.hair), rng)
        if outfit.hair_style != "bald":
            under_m = hair.scalp(surface)
    if outfit.hat != "none":
        under_m = np.maximum(under_m, hair.hat_region(surface, outfit.hat))
        parts += hair.make_hat(surface, outfit.hat, size, wardrobe.number(outfit.hat_cloth))
    dark = Cloth((outfit.hair.colour[0] * 0.75, outfit.hair.colour[1] * 0.75, outfit.hair.colour[2] * 0.75))
    parts.append(hair.brows(surface, wardrobe.number(dark)))
    if outfit.glasses:
        parts.append(hair.glasses(surface, size, wardrobe.number(_FRAME)))
    return parts, under_m


def _inside_mouth(middles: Float) -> NDArray[np.bool_]:
    """(F,) bool: teeth, tongue and palate, by the triangles' middles on the mean body. Nobody opens the mouth."""
    x, y, z = middles.T
    return (np.abs(x) < 0.028) & (y > -0.118) & (y < -0.06) & (z > 0.642) & (z < 0.69)


def _paint_face(model: BodyModel, outfit: Outfit, wardrobe: Wardrobe, painted: NDArray[np.uint8], middles: Float) -> None:
    """Colour the skin's triangles that are lips, beard, scalp, eyes and mouth."""
    bone = model.bone[model.faces[:, 0]]
    head = bone == model.bones.index("head")
    painted[head & hair.lips(middles)] = wardrobe.number(outfit.lips)
    if outfit.beard:
        mixed = np.array(outfit.skin.colour) * (1 - outfit.beard) + np.array(outfit.hair.colour) * outfit.beard
        painted[head & hair.beard(middles)] = wardrobe.number(Cloth((float(mixed[0]), float(mixed[1]), float(mixed[2]))))
    for side in ("L", "R"):
        eye = bone == model.bones.index(f"eye.{side}")
        points = middles[eye]
        front = points[points[:, 1].argmin()]
        offset = np.hypot(points[:, 0] - front[0], points[:, 2] - front[2])
        painted[eye] = np.where(
            (offset < 0.0068) & (points[:, 1] < front[1] + 0.01), wardrobe.number(outfit.iris), wardrobe.number(_WHITE)
        )
