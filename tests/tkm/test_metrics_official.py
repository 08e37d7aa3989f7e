"""Files of PoseTrack's formats scored as the evaluator scores them, from JSON to the numbers of each column."""

import numpy as np
import pytest

from tests.tkm.official_documents import random_pair
from tests.tkm.official_oracle import official
from tkm.datasets.files import read_document
from tkm.metrics.scores import COLUMNS, pool, score_video

OURS = {"ap": "ap_before_threshold", "ap_precision": "ap_precision", "ap_recall": "ap_recall"}


def scored(pairs, protocol="official"):
    read = [[read_document(document, "x")[0] for document in pair] for pair in pairs]
    return pool([score_video(*sequences, protocol, -np.inf) for sequences in read])


@pytest.mark.parametrize("seed", range(100))
def test_random_files_are_scored_as_plain_loops_score_them(seed):
    rng = np.random.default_rng(seed)
    pairs = [random_pair(rng) for _ in range(rng.integers(1, 4))]
    scores = scored(pairs)
    for name, expected in official(pairs).items():
        if expected is not None:
            found = getattr(scores, OURS.get(name, name))[: COLUMNS.index("Total with truth")]
            np.testing.assert_allclose(found, expected, rtol=0, atol=1e-9, err_msg=name)


def test_files_in_which_nobody_is_annotated_have_the_evaluators_scores_too():
    made = random_pair(np.random.default_rng(0))[0]
    people = "annorect" if "annolist" in made else "annotations"
    for entry in made.get("annolist", [made]):
        entry[people] = []
    scores, expected = scored([(made, made)]), official([(made, made)])
    assert expected["ap"][-1] == expected["motp"][-1] == scores.ap_before_threshold[-2] == scores.motp[-2] == 0
    assert np.isnan([expected["mota"][-1], scores.mota[-2], scores.ap_before_threshold[-1], scores.motp[-1]]).all()
