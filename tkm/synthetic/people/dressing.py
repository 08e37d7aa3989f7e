"""A body with its outfit on, as one mesh."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tkm.synthetic.bodies.body import Body, BodyModel
from tkm.synthetic.bodies.mesh import Mesh
from tkm.synthetic.people import hair
from tkm.synthetic.people.bags import make_bag
from tkm.synthetic.people.garments import bottom_region, sew_bottom, sew_skirt, sew_top, top_region
from tkm.synthetic.people.outfits import Outfit
from tkm.synthetic.people.palette import Cloth, Wardrobe
from tkm.synthetic.people.shoes import make_shoe
from tkm.synthetic.people.surface import Part, Surface, body_surface, cut, join, lay, part_of
from tkm.types import Float

_WHITE = Cloth((0.93, 0.92, 0.9), gloss=0.3)
_MOUTH = Cloth((0.25, 0.08, 0.08))
_FRAME = Cloth((0.08, 0.07, 0.07), gloss=0.3)
_FACES_A_PART = 4  # least of a piece that is worth a part


def dress(model: BodyModel, body: Body, outfit: Outfit) -> Mesh:
    """The mesh of a person. Skin stays where it is and takes the colour of the cloth over it; garments are parts outside it."""
    surface = body_surface(model, body)
    size = body.height_m / 1.7
    wardrobe = Wardrobe()
    parts: list[Part] = []
    painted = np.full(len(model.faces), wardrobe.number(outfit.skin), np.uint8)
    middles = model.template_m[model.faces].mean(axis=1)
    _paint_face(model, outfit, wardrobe, painted, middles)
    rng = np.random.default_rng(outfit.folds)

    def cover(inside: Float, cloth: Cloth) -> None:
        painted[(inside[model.faces] > 0).all(axis=1)] = wardrobe.number(cloth)

    if outfit.legs != outfit.skin:
        cover(bottom_region(surface, 0.1, -0.9), outfit.legs)
    if outfit.socks:
        cover(bottom_region(surface, outfit.socks[0], -0.9), outfit.socks[1])
    if outfit.shoe:
        shoe = outfit.shoe
        cover(bottom_region(surface, -0.76, -0.9), shoe.cloth)
        numbers = {cloth: wardrobe.number(cloth) for cloth in (shoe.cloth, shoe.sole_cloth)}
        parts += [make_shoe(surface, side, shoe, size, numbers) for side in ("left", "right")]
        if shoe.shaft_m is not None:
            piece = cut(surface, bottom_region(surface, shoe.shaft_m, -0.765))
            parts.append(part_of(lay(piece, np.full(len(piece.arm), 0.01 * size, np.float32), 0.006, 3), numbers[shoe.cloth]))
    if outfit.bottom:
        cover(bottom_region(surface, outfit.bottom.waist_m, outfit.bottom.hem_m), outfit.bottom.cloth)
        numbers = {cloth: wardrobe.number(cloth) for cloth in (outfit.bottom.cloth, outfit.bottom.stripe) if cloth}
        parts += sew_bottom(surface, outfit.bottom, size, numbers, rng)
    for skirt in outfit.skirts:
        cover(bottom_region(surface, skirt.waist_m, max(skirt.hem_m, -0.03)), skirt.cloth)
        parts.append(sew_skirt(surface, skirt, size, wardrobe.number(skirt.cloth), rng))
    waist_m = 0.007 + 0.6 * outfit.bottom.thickness_m if outfit.bottom else 0.0
    for layer, top in enumerate(outfit.tops):
        if layer == 0:
            cover(top_region(surface, top), top.cloth)
        numbers = {cloth: wardrobe.number(cloth) for cloth in (top.cloth, top.sleeve_cloth, top.trim_cloth)}
        parts += sew_top(surface, top, (0.016 * layer, waist_m + 0.012 * layer), size, numbers, rng)
    parts += _head_parts(surface, outfit, size, wardrobe, rng)
    parts += make_bag(surface, body, outfit.bag, size, wardrobe.number(outfit.bag_cloth), wardrobe.number(outfit.strap_cloth))
    parts.insert(0, Part(body.rest_m, model.faces, model.skin, painted))
    return join([part for part in parts if len(part.faces) >= _FACES_A_PART], wardrobe.materials())


def _head_parts(surface: Surface, outfit: Outfit, size: float, wardrobe: Wardrobe, rng: np.random.Generator) -> list[Part]:
    parts = []
    if outfit.hat != "scarf":
        parts += hair.make_hair(surface, outfit.hair_style, outfit.hat, size, wardrobe.number(outfit.hair), rng)
    if outfit.hat != "none":
        parts += hair.make_hat(surface, outfit.hat, size, wardrobe.number(outfit.hat_cloth))
    dark = Cloth((outfit.hair.colour[0] * 0.75, outfit.hair.colour[1] * 0.75, outfit.hair.colour[2] * 0.75))
    parts.append(hair.brows(surface, wardrobe.number(dark)))
    if outfit.glasses:
        parts.append(hair.glasses(surface, size, wardrobe.number(_FRAME)))
    return parts


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
