"""Who people are: numbered, each with a body and clothes, and some with a twin who wears the same."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tkm.synthetic.bodies.body import Body, BodyModel, shape_body
from tkm.synthetic.bodies.mesh import Mesh
from tkm.synthetic.people.dressing import dress
from tkm.synthetic.people.outfits import Outfit, draw_outfit
from tkm.synthetic.spec import DOMAINS

PEOPLE = 3_000_000  # numbers that `cast` draws from; a multiple of the number of domains
_STREAM = 0x70656F70  # keeps the people's random numbers apart from those of others that count from 0


@dataclass(frozen=True)
class Person:
    """A dressed person.

    number     who it is: below PEOPLE, or for a twin the number of whom it looks like plus PEOPLE, so that number % PEOPLE tells
               whose clothes these are, and number % len(DOMAINS) the domain of either
    phenotype  `tkm.synthetic.bodies.body.PHENOTYPES`
    years      age
    outfit     what it wears
    body       the shape at rest
    mesh       the same with clothes on
    """

    number: int
    phenotype: tuple[float, ...]
    years: float
    outfit: Outfit
    body: Body
    mesh: Mesh


def make_person(model: BodyModel, number: int) -> Person:
    """The person of a number: the same one whenever it is asked for."""
    rng = np.random.default_rng([_STREAM, number])
    woman = bool(rng.random() < 0.5)
    years = float(rng.uniform(5, 16)) if rng.random() < 0.14 else float(np.clip(18 + rng.gamma(2.0, 13.0), 18, 80))
    phenotype = _draw_phenotype(rng, woman, years)
    return _person(model, number, phenotype, years, draw_outfit(rng, woman, years))


def make_twin(model: BodyModel, person: Person, rng: np.random.Generator) -> Person:
    """Someone in the same clothes, of almost the same build; `number` is the person's plus PEOPLE."""
    off = rng.normal(0, [0.0, 0.01, 0.04, 0.04, 0.012, 0.05])
    values = np.clip(np.array(person.phenotype) + off, 0, 1)
    return _person(model, person.number + PEOPLE, tuple(values.tolist()), person.years, person.outfit)


def _person(model: BodyModel, number: int, phenotype: tuple[float, ...], years: float, outfit: Outfit) -> Person:
    body = shape_body(model, phenotype)
    return Person(number, phenotype, years, outfit, body, dress(model, body, outfit))


def _draw_phenotype(rng: np.random.Generator, woman: bool, years: float) -> tuple[float, ...]:
    """Values of `tkm.synthetic.bodies.body.PHENOTYPES`."""
    gender = rng.uniform(0.85, 1.0) if woman else rng.uniform(0.0, 0.15)
    age = np.interp(years, [1, 10, 18, 25, 90], [0, 1 / 3, 0.61, 2 / 3, 1])
    muscle = np.clip(rng.normal(0.5 if not woman else 0.42, 0.15), 0.1, 0.95)
    weight = np.clip(rng.normal(0.5, 0.17) + 0.1 * np.clip((years - 30) / 40, 0, 1), 0.12, 1.0)
    height = np.clip(rng.normal(0.37 if woman else 0.395, 0.055), 0.27, 0.52)
    return (float(gender), float(age), float(muscle), float(weight), float(height), float(rng.uniform(0.3, 0.8)))


def cast(
    model: BodyModel, count: int, twins: float, domain: str, rng: np.random.Generator
) -> tuple[tuple[Person, ...], tuple[int | None, ...]]:
    """The people of a clip.

    Args:
        model: the bodies.
        count: how many people.
        twins: share of them who have a twin, in [0, 1]. Pairs are whole, so their number is drawn to be right on average.
        domain: one of `tkm.synthetic.spec.DOMAINS`; no two have a person in common.
        rng: draws who comes.

    Returns:
        The people, no two with one number, in random order, and for each the index of the twin or None.
    """
    wanted = count * min(max(twins, 0.0), 1.0) / 2
    pairs = min(int(wanted) + int(rng.random() < wanted - int(wanted)), count // 2)
    numbers = rng.choice(PEOPLE // len(DOMAINS), count - pairs, replace=False) * len(DOMAINS) + DOMAINS.index(domain)
    people = [make_person(model, int(number)) for number in numbers]
    people += [make_twin(model, person, rng) for person in people[:pairs]]
    twin_of = [*range(count - pairs, count), *[None] * (count - 2 * pairs), *range(pairs)]
    order = rng.permutation(count)
    place = np.argsort(order)
    twin = tuple(None if twin_of[n] is None else int(place[twin_of[n]]) for n in order)
    return tuple(people[n] for n in order), twin
