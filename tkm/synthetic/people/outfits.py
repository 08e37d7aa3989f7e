"""What a person looks like beside the body's shape: skin, hair, and clothes that people wear together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from tkm.synthetic.bodies.mesh import Pattern
from tkm.synthetic.people import palette
from tkm.synthetic.people.garments import ELBOW_M, WRIST_M, Bottom, Skirt, Top
from tkm.synthetic.people.palette import Cloth, Colour, pick, top_colour
from tkm.synthetic.people.shoes import Shoe


@dataclass(frozen=True)
class Outfit:
    """All that a person wears and is coloured like.

    skin, hair, iris, lips   materials
    hair_style, hat, bag     one of `hair.HAIR`, of `hair.HATS`, of `bags.BAGS`
    beard                    share of the hair's colour over the skin, 0 for none
    tops                     from the skin outwards, at least one
    bottom, skirts           trousers or None; skirts, from the inside outwards: a coat's lower part is one, too
    legs                     what shows between skirt or shorts and shoes: skin or tights
    socks                    up to a height on the mean body, or None
    folds                    seed of how the cloth falls
    """

    skin: Cloth
    hair: Cloth
    iris: Cloth
    lips: Cloth
    hair_style: str
    hat: str
    hat_cloth: Cloth
    beard: float
    glasses: bool
    tops: tuple[Top, ...]
    bottom: Bottom | None
    skirts: tuple[Skirt, ...]
    legs: Cloth
    socks: tuple[float, Cloth] | None
    shoe: Shoe
    bag: str
    bag_cloth: Cloth
    strap_cloth: Cloth
    folds: int


def draw_outfit(rng: np.random.Generator, woman: bool, years: float) -> Outfit:
    """An outfit for a woman or a man of an age."""
    child = years < 13
    tone = int(rng.integers(len(palette.SKIN)))
    skin = Cloth(pick(rng, palette.SKIN[tone : tone + 1]), gloss=0.05)
    hair = Cloth(_hair_colour(rng, tone, years), gloss=0.08)
    tops, bottom, skirts = _clothes(rng, woman, child)
    bare_legs = bool(skirts) and bottom is None
    tights = bare_legs and not child and rng.random() < 0.35
    legs = Cloth(pick(rng, (palette.DARK[0], palette.DARK[1], palette.DARK[3]))) if tights else skin
    short = bare_legs or (bottom is not None and bottom.hem_m > -0.6)
    sock = Cloth(pick(rng, (palette.SOLE[0], palette.SOLE[0], palette.DARK[0], palette.NEUTRAL[3])))
    socks = (
        (float(rng.choice([-0.68, -0.62, -0.45], p=[0.5, 0.35, 0.15])), sock)
        if short and not tights and rng.random() < 0.6
        else None
    )
    style = _hair_style(rng, woman, child, years, tone)
    hat = str(rng.choice(["none", "cap", "beanie"], p=[0.86, 0.09, 0.05]))
    if woman and not child and rng.random() < 0.05:
        hat = "scarf"
    if hat != "none" and style in ("afro", "quiff", "curly", "bun"):
        style = "short"
    bag = str(rng.choice(["none", "backpack", "shoulder", "hand"], p=[0.7, 0.13, 0.1, 0.07] if not child else [0.75, 0.25, 0, 0]))
    return Outfit(
        skin=skin, hair=hair, iris=Cloth(pick(rng, palette.IRIS), gloss=0.3), lips=_lips(rng, skin.colour, woman and not child),
        hair_style=style, hat=hat, hat_cloth=Cloth(top_colour(rng)),
        beard=float(rng.choice([0, 0.3, 0.85], p=[0.5, 0.25, 0.25])) if not woman and years > 20 else 0.0,
        glasses=bool(rng.random() < (0.1 if years < 45 else 0.3)), tops=tops, bottom=bottom, skirts=skirts, legs=legs,
        socks=socks,
        shoe=_shoe(rng, woman, child), bag=bag,
        bag_cloth=Cloth(pick(rng, (*palette.LEATHER, *palette.DARK, *palette.BRIGHT[::3]))),
        strap_cloth=Cloth(pick(rng, (*palette.LEATHER[:3], *palette.DARK[:4]))), folds=int(rng.integers(2**31)),
    )  # fmt: skip


def _hair_colour(rng: np.random.Generator, tone: int, years: float) -> Colour:
    if rng.random() < np.clip((years - 42) / 35, 0, 0.9):
        return pick(rng, palette.GREY_HAIR)
    if rng.random() < 0.03:
        return pick(rng, palette.DYED_HAIR)
    return pick(rng, palette.HAIR[:3] if tone >= 6 else palette.HAIR[:5] if tone >= 3 else palette.HAIR)


def _hair_style(rng: np.random.Generator, woman: bool, child: bool, years: float, tone: int) -> str:
    if woman:
        styles, weights = ("long", "bob", "ponytail", "bun", "short", "curly", "afro"), [0.32, 0.2, 0.2, 0.1, 0.1, 0.05, 0.03]
    else:
        styles, weights = ("short", "quiff", "buzz", "curly", "bald", "afro", "bun"), [0.45, 0.18, 0.15, 0.08, 0.08, 0.04, 0.02]
    chosen = str(rng.choice(styles, p=weights))
    if not woman and not child and years > 50 and rng.random() < 0.2:
        return "bald"
    if tone >= 8 and chosen in ("quiff", "short") and rng.random() < 0.5:
        return "buzz" if not woman else "afro"
    return "short" if child and chosen == "bald" else chosen


def _lips(rng: np.random.Generator, skin: Colour, paint: bool) -> Cloth:
    redder = np.array(skin) * [0.82, 0.58, 0.58]
    if paint and rng.random() < 0.35:
        redder = 0.5 * redder + 0.5 * np.array(palette.BRIGHT[int(rng.choice([0, 10, 12]))])
    return Cloth((float(redder[0]), float(redder[1]), float(redder[2])), gloss=0.12)


def _shoe(rng: np.random.Generator, woman: bool, child: bool) -> Shoe:
    kind = str(rng.choice(["sneaker", "leather", "boot"], p=[0.64, 0.21, 0.15]))
    sport = pick(rng, (*palette.DARK, *palette.NEUTRAL[:6], *palette.NEUTRAL[:2], *palette.BRIGHT[::2], *palette.BLUE))
    leather = pick(rng, palette.LEATHER)
    if kind == "sneaker" or child:
        sole = pick(rng, palette.SOLE[:3] if rng.random() < 0.8 else palette.SOLE)
        laces = Cloth(pick(rng, (palette.SOLE[0], palette.DARK[1])), sport, Pattern.STRIPES, 0.018, (0.0, 1.0, 0.0))
        return Shoe(0.026, 0.095, float(rng.choice([-0.745, -0.7], p=[0.8, 0.2])), False, Cloth(sport), Cloth(sole), laces)
    cloth, sole_cloth = Cloth(leather, gloss=0.15), Cloth(pick(rng, palette.SOLE[2:4]))
    if kind == "leather":
        return Shoe(0.016, 0.085, -0.75, False, cloth, sole_cloth, Cloth(_shade(leather, 0.7)))
    shaft_m = float(rng.choice([-0.64, -0.55, -0.42], p=[0.6, 0.25, 0.15])) if woman else -0.62
    return Shoe(0.024, 0.1, shaft_m, True, cloth, sole_cloth, cloth)


def _clothes(rng: np.random.Generator, woman: bool, child: bool) -> tuple[tuple[Top, ...], Bottom | None, tuple[Skirt, ...]]:
    if rng.random() < 0.08:
        return _sports_kit(rng)
    if woman and rng.random() < 0.16:
        return _dress(rng)
    skirt = woman and rng.random() < 0.18
    tucked = bool(skirt or rng.random() < 0.15)
    tops: tuple[Top, ...] = (_top(rng, woman, tucked),)
    skirts: tuple[Skirt, ...] = ()
    bottom = None
    if skirt:
        skirts = (_skirt(rng),)
    else:
        bottom = _bottom(rng, woman, child)
    if bottom and tucked:
        tops = (replace(tops[0], hem_m=bottom.waist_m - 0.02),)
        bottom = replace(bottom, thickness_m=max(bottom.thickness_m, 0.016))
    elif skirt:
        tops = (replace(tops[0], hem_m=skirts[0].waist_m - 0.02),)
    kind = rng.random()
    if kind < 0.14 and not tucked:
        tops = (replace(tops[0], hem_m=max(tops[0].hem_m, 0.06), thickness_m=0.009, flare_m=0.004), _jacket(rng))
    elif kind < 0.2:
        coat, tail = _coat(rng)
        tops, skirts = (replace(tops[0], thickness_m=0.008, flare_m=0.0), coat), (*skirts, tail)
    return tops, bottom, skirts


def _top(rng: np.random.Generator, woman: bool, tucked: bool) -> Top:
    kinds = ("tee", "long", "shirt", "hoodie", "polo", "tank")
    kind = str(rng.choice(kinds, p=[0.36, 0.2, 0.16, 0.12, 0.07, 0.09] if woman else [0.38, 0.16, 0.18, 0.15, 0.1, 0.03]))
    hem_m = 0.15 if tucked else float(rng.uniform(0.02, 0.1))
    cloth = palette.patterned(rng, top_colour(rng), {"tee": 0.22, "long": 0.3, "shirt": 0.4, "polo": 0.25}.get(kind, 0.1))
    other = Cloth(top_colour(rng))
    slack_m = 0.0 if tucked else float(rng.uniform(0.004, 0.02))
    top = Top(hem_m, 0.18, 0.012, 0.0, 0.0, float(rng.uniform(0.009, 0.018)), slack_m, cloth, cloth, other, "none")
    if kind == "tee":
        sleeves = other if rng.random() < 0.12 else cloth
        plain = cloth.pattern == Pattern.PLAIN and sleeves == cloth
        trim = str(rng.choice(["none", "band", "block"], p=[0.84, 0.08, 0.08])) if plain else "none"
        return replace(
            top,
            sleeve_m=float(rng.uniform(0.12, ELBOW_M - 0.02)),
            vee=float(rng.choice([0, 0, 0.04])),
            sleeve_cloth=sleeves,
            trim=trim,
        )
    if kind == "long":
        length_m = float(rng.choice([WRIST_M, WRIST_M - 0.02, ELBOW_M + 0.1]))
        trim = str(rng.choice(["none", "band", "block"], p=[0.8, 0.1, 0.1])) if cloth.pattern == Pattern.PLAIN else "none"
        return replace(top, sleeve_m=length_m, trim=trim)
    if kind == "shirt":
        length_m = float(rng.choice([WRIST_M, ELBOW_M + 0.05, ELBOW_M - 0.03], p=[0.5, 0.25, 0.25]))
        return replace(top, sleeve_m=length_m, neck_m=-0.012, vee=float(rng.uniform(0.03, 0.08)), trim="placket",
                       trim_cloth=Cloth(_shade(cloth.colour, 0.85)))  # fmt: skip
    if kind == "hoodie":
        trim = str(rng.choice(["none", "block"], p=[0.85, 0.15])) if cloth.pattern == Pattern.PLAIN else "none"
        return replace(top, sleeve_m=WRIST_M, neck_m=-0.02, thickness_m=float(rng.uniform(0.02, 0.03)),
                       hem_m=min(hem_m, 0.08), flare_m=0.006, trim=trim)  # fmt: skip
    if kind == "polo":
        return replace(top, sleeve_m=0.17, neck_m=-0.01, vee=0.04)
    return replace(top, sleeve_m=-1.0, neck_m=0.06, thickness_m=0.008)


def _shade(colour: Colour, by: float) -> Colour:
    return (colour[0] * by, colour[1] * by, colour[2] * by)


def _jacket(rng: np.random.Generator) -> Top:
    cloth = Cloth(
        pick(rng, (*palette.DARK, *palette.TROUSERS, *palette.DENIM, *palette.BRIGHT[::4])), gloss=float(rng.uniform(0.02, 0.12))
    )
    open_m = float(rng.choice([0.0, 0.03, 0.07]))
    return Top(float(rng.uniform(0.0, 0.09)), WRIST_M, -0.01, 0.05, open_m, float(rng.uniform(0.026, 0.036)), 0.008, cloth, cloth,
               Cloth(_shade(cloth.colour, 0.6)), "none" if open_m else "placket")  # fmt: skip


def _coat(rng: np.random.Generator) -> tuple[Top, Skirt]:
    cloth = Cloth(pick(rng, (*palette.DARK, *palette.NEUTRAL[3:], *palette.TROUSERS[-2:])))
    top = Top(0.12, WRIST_M, -0.015, 0.06, 0.0, 0.03, 0.0, cloth, cloth, Cloth(_shade(cloth.colour, 0.7)), "placket")
    return top, Skirt(0.16, float(rng.uniform(-0.35, -0.12)), 0.038, 0.07, 0.01, cloth)


def _skirt(rng: np.random.Generator) -> Skirt:
    cloth = palette.patterned(rng, pick(rng, (*palette.TROUSERS, *palette.DENIM, *palette.SOFT, *palette.BRIGHT)), 0.25)
    narrow = rng.random() < 0.3
    hem_m = float(rng.choice([-0.2, -0.32, -0.42, -0.58], p=[0.25, 0.35, 0.25, 0.15]))
    return Skirt(0.2, hem_m, 0.008, 0.0 if narrow else float(rng.uniform(0.05, 0.14)), 0.0 if narrow else 0.018, cloth)


def _dress(rng: np.random.Generator) -> tuple[tuple[Top, ...], None, tuple[Skirt, ...]]:
    skirt = _skirt(rng)
    cloth = palette.patterned(rng, top_colour(rng), 0.4)
    sleeve_m = float(rng.choice([-1.0, 0.14, ELBOW_M, WRIST_M], p=[0.4, 0.35, 0.1, 0.15]))
    top = Top(0.21, sleeve_m, 0.06 if sleeve_m < 0 else 0.015, 0.03, 0.0, 0.009, 0.0, cloth, cloth, cloth, "none")
    return (top,), None, (replace(skirt, waist_m=0.235, cloth=cloth),)


def _bottom(rng: np.random.Generator, woman: bool, child: bool) -> Bottom:
    kinds, weights = ("jeans", "trousers", "shorts", "leggings", "joggers"), [0.42, 0.27, 0.15, 0.01, 0.15]
    if woman:
        weights = [0.42, 0.2, 0.1, 0.2, 0.08]
    kind = str(rng.choice(kinds, p=weights))
    if kind == "shorts" or (child and rng.random() < 0.25):
        colour = pick(rng, (*palette.TROUSERS, *palette.DENIM, *palette.BRIGHT[::4]))
        return Bottom(
            0.16,
            float(rng.uniform(-0.4, -0.2)),
            0.014,
            float(rng.uniform(0.008, 0.022)),
            palette.patterned(rng, colour, 0.12),
            None,
        )
    if kind == "jeans":
        return Bottom(0.16, float(rng.uniform(-0.77, -0.72)), float(rng.uniform(0.007, 0.013)),
                      float(rng.choice([0.002, 0.01, 0.02])),                      Cloth(pick(rng, palette.DENIM)),
                      None)  # fmt: skip
    if kind == "leggings":
        return Bottom(
            0.19,
            float(rng.uniform(-0.73, -0.6)),
            0.005,
            0.0,
            Cloth(pick(rng, (*palette.DARK, palette.DARK[0], *palette.BLUE[5:]))),
            None,
        )
    cloth = Cloth(pick(rng, palette.TROUSERS))
    if kind == "joggers":
        stripe = Cloth(pick(rng, (palette.SOLE[0], *palette.BRIGHT))) if rng.random() < 0.5 else None
        return Bottom(0.15, -0.74, 0.018, 0.004, cloth, stripe)
    return Bottom(0.17, -0.77, float(rng.uniform(0.012, 0.018)), float(rng.uniform(0.01, 0.026)), cloth, None)


def _sports_kit(rng: np.random.Generator) -> tuple[tuple[Top, ...], Bottom, tuple[Skirt, ...]]:
    colours: Sequence[Colour] = (*palette.BRIGHT, *palette.BLUE[-2:], palette.SOLE[0])
    first, second = pick(rng, colours), pick(rng, (*colours[:4], palette.SOLE[0], palette.DARK[0]))
    striped = rng.random() < 0.35
    cloth = Cloth(first, second, Pattern.STRIPES, float(rng.uniform(0.06, 0.12)), (1.0, 0.0, 0.0)) if striped else Cloth(first)
    top = Top(0.05, 0.19, 0.012, 0.03, 0.0, 0.015, 0.014, cloth, Cloth(second) if rng.random() < 0.4 else cloth, Cloth(second),
              "none" if striped else str(rng.choice(["none", "band"])))  # fmt: skip
    return (top,), Bottom(0.15, float(rng.uniform(-0.32, -0.22)), 0.016, 0.02, Cloth(second), Cloth(first)), ()
