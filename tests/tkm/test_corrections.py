"""Corrections: what people changed becomes edits, and the edits make the same of the run, or of another run of the video."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tkm.corrections import DELETED, Edit, Tracked, correct, derive
from tkm.types import Int


def walkers(tracks: int = 3, frames: int = 10) -> Tracked:
    """People side by side, 100 px from each other, who go 2 px to the right in every frame."""
    frame, track = np.repeat(np.arange(frames), tracks), np.tile(np.arange(tracks), frames)
    x = (100.0 * track + 2 * frame).astype(np.float32)
    box = np.stack([x, 0 * x, x + 50, 0 * x + 100], axis=1).astype(np.float32)
    xy_px = np.stack([np.stack([x + 10 + k, 0 * x + 20 * k], axis=1) for k in range(3)], axis=1).astype(np.float32)
    return Tracked(frame.astype(np.int64), track.astype(np.int64), box, xy_px, np.full((len(x), 3), 0.5, np.float32))


def corrected(people: Tracked, label: Int) -> tuple[Tracked, Int, tuple[Edit, ...]]:
    edits = derive(people, label, people.xy_px)
    after, rows, outcomes = correct(people, edits)
    assert all(outcome.is_applied for outcome in outcomes), [outcome.why for outcome in outcomes]
    return after, rows, edits


def same_groups(a: Int, b: Int) -> bool:
    return len(np.unique(a)) == len(np.unique(b)) == len(np.unique(np.stack([a, b]), axis=1).T)


def test_nothing_changed_is_no_edit() -> None:
    people = walkers()
    assert derive(people, people.track_id, people.xy_px + np.float32(0.3)) == ()


def test_other_numbers_for_the_same_tracks_are_no_edit() -> None:
    people = walkers()
    assert derive(people, 7 - people.track_id, people.xy_px) == ()


def test_two_people_who_were_swapped_are_swapped_back() -> None:
    people = walkers()
    label = people.track_id.copy()
    late = people.frame >= 4
    label[late & (people.track_id == 0)], label[late & (people.track_id == 1)] = 1, 0
    after, rows, edits = corrected(people, label)
    assert [edit.kind for edit in edits] == ["split", "split", "merge", "merge"]
    assert len(after) == len(people)
    assert same_groups(after.track_id, label[rows])


def test_tracks_of_any_labels_come_out_as_people_left_them() -> None:
    rng = np.random.default_rng(0)
    for _ in range(30):
        people = walkers(tracks=4, frames=8)
        label = np.concatenate([rng.permutation(4) if rng.random() < 0.3 else np.arange(4) for _ in range(8)]).astype(np.int64)
        label[rng.random(len(label)) < 0.1] = DELETED
        after, rows, _ = corrected(people, label)
        assert sorted(rows) == np.flatnonzero(label != DELETED).tolist()
        assert same_groups(after.track_id, label[rows])


def test_a_moved_and_a_hidden_keypoint_are_so_and_all_else_stays() -> None:
    people = walkers()
    xy_px = people.xy_px.copy()
    xy_px[4, 1], xy_px[5, 2] = (3, 4), np.nan
    after, _, outcomes = correct(people, derive(people, people.track_id, xy_px))
    assert [outcome.is_applied for outcome in outcomes] == [True, True]
    np.testing.assert_array_equal(after.xy_px, xy_px)
    assert after.score[4, 1] == 1
    assert np.isnan(after.score[5, 2])
    assert (after.score == 0.5).sum() == people.score.size - 2


def test_edits_find_the_people_of_a_run_with_other_ids_and_boxes() -> None:
    people = walkers()
    label = np.where((people.track_id == 2) & (people.frame >= 5), 9, people.track_id)
    edits = derive(people, label, people.xy_px)
    other = replace(people, track_id=people.track_id + 40, box_xyxy_px=people.box_xyxy_px + np.float32(6))
    after, rows, outcomes = correct(other, edits)
    assert outcomes[0].is_applied
    assert outcomes[0].track_id == 42
    assert same_groups(after.track_id, label[rows])


def test_an_edit_on_whom_nobody_resembles_any_more_tells_so_and_changes_nothing() -> None:
    people = walkers()
    edits = derive(people, np.where(people.track_id == 1, DELETED, people.track_id), people.xy_px)
    without = people.rows(people.track_id != 1)
    after, _, (outcome,) = correct(without, edits)
    assert not outcome.is_applied
    assert "nobody in frame 0 is where the person was" in outcome.why
    np.testing.assert_array_equal(after.track_id, without.track_id)


def test_an_anchor_that_fits_two_people_names_neither() -> None:
    people = walkers()
    edits = derive(people, np.where(people.track_id == 1, DELETED, people.track_id), people.xy_px)
    crowd = replace(people, box_xyxy_px=np.tile(people.box_xyxy_px[1] + np.float32(3), (len(people), 1)))
    _, rows, (outcome,) = correct(crowd, edits)
    assert "two people in frame 0" in outcome.why
    assert len(rows) == len(people)


def test_tracks_that_are_in_one_frame_are_not_merged() -> None:
    people = walkers(tracks=2)
    apart = people.rows(((people.track_id == 0) & (people.frame < 5)) | ((people.track_id == 1) & (people.frame >= 5)))
    edits = derive(apart, np.zeros(len(apart), np.int64), apart.xy_px)
    after, _, (outcome,) = correct(people, edits)
    assert outcome.why == "both tracks are in frame 0: they are two people"
    np.testing.assert_array_equal(after.track_id, people.track_id)


def test_two_people_of_a_frame_with_one_label_are_refused() -> None:
    people = walkers()
    with pytest.raises(ValueError, match="frame 0 has two people of track 5"):
        derive(people, np.full(len(people), 5, np.int64), people.xy_px)


def test_a_deleted_track_that_is_somebody_else_at_its_end_stays() -> None:
    people = walkers(frames=6)
    edits = derive(people, np.where(people.track_id == 1, DELETED, people.track_id), people.xy_px)
    is_swapped = (people.track_id < 2) & (people.frame >= 2)
    swapped = replace(people, track_id=np.where(is_swapped, 1 - people.track_id, people.track_id))
    after, rows, (outcome,) = correct(swapped, edits)
    assert outcome.why == "who is deleted is of another track in frame 5"
    assert len(rows) == len(after) == len(people)


def test_no_track_is_merged_that_goes_on_over_a_split_that_does_not_apply() -> None:
    """Track 1 was two people: the second, from frame 4 on, is who is track 2 later. Later, nobody is seen where it was split."""
    people = walkers(tracks=1, frames=10)
    people = replace(people, track_id=np.where(people.frame < 7, 1, 2))
    label = np.where(people.frame < 4, 1, 2)
    edits = derive(people, label, people.xy_px)
    assert [edit.kind for edit in edits] == ["split", "merge"]
    missed = people.rows(people.frame != 4)
    after, _, outcomes = correct(missed, edits)
    assert [outcome.is_applied for outcome in outcomes] == [False, False]
    assert "goes on over frame 4, where a split does not apply" in outcomes[1].why
    np.testing.assert_array_equal(after.track_id, missed.track_id)
