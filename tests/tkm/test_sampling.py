import numpy as np
import pytest

from tkm.sampling import sample


def constant_rate(fps_numerator: int, fps_denominator: int = 1, frames: int = 300, unit_ns: int = 1) -> np.ndarray:
    pts_ns = np.arange(frames, dtype=np.int64) * 10**9 * fps_denominator // fps_numerator
    return (pts_ns + unit_ns // 2) // unit_ns * unit_ns


def test_default_keeps_every_frame() -> None:
    frames = sample(constant_rate(30))
    assert frames.dtype == np.int64
    np.testing.assert_array_equal(frames, np.arange(300))


def test_frames_is_half_open_and_every_counts_from_its_start() -> None:
    np.testing.assert_array_equal(sample(constant_rate(30), frames=(10, 20), every=4), [10, 14, 18])
    np.testing.assert_array_equal(sample(constant_rate(30), frames=(None, 3)), [0, 1, 2])
    np.testing.assert_array_equal(sample(constant_rate(30), frames=(297, None)), [297, 298, 299])


def test_frames_beyond_the_end_are_nothing() -> None:
    np.testing.assert_array_equal(sample(constant_rate(30), frames=(298, 1000)), [298, 299])
    assert len(sample(constant_rate(30), frames=(300, None), fps=5.0)) == 0
    assert len(sample(np.zeros(0, np.int64))) == 0


@pytest.mark.parametrize("fps", [30.0, 30.5, 60.0, 1000.0])
@pytest.mark.parametrize("unit_ns", [1, 1_000_000], ids=["exact", "rounded to ms"])
def test_the_videos_rate_or_more_keeps_every_frame(fps: float, unit_ns: int) -> None:
    np.testing.assert_array_equal(sample(constant_rate(30, unit_ns=unit_ns), fps=fps), np.arange(300))


def test_ntsc_rate_as_users_write_it_keeps_every_frame() -> None:
    np.testing.assert_array_equal(sample(constant_rate(30000, 1001), fps=29.97), np.arange(300))


@pytest.mark.parametrize("unit_ns", [1, 1_000_000], ids=["exact", "rounded to ms"])
def test_a_divisor_of_the_rate_is_every_nth(unit_ns: int) -> None:
    np.testing.assert_array_equal(sample(constant_rate(30, unit_ns=unit_ns), fps=10.0), np.arange(0, 300, 3))


def test_a_rate_that_does_not_divide_keeps_its_mean() -> None:
    np.testing.assert_array_equal(sample(constant_rate(30, frames=13), fps=20.0), [0, 2, 3, 5, 6, 8, 9, 11, 12])


def test_variable_rate_takes_the_first_frame_at_or_after_each_tick_once() -> None:
    pts_ns = np.array([0, 40, 300, 320, 1000, 1100, 1500]) * 1_000_000
    np.testing.assert_array_equal(sample(pts_ns, fps=4.0), [0, 2, 4, 6])


def test_ticks_count_from_the_first_selected_frame_whatever_the_file_starts_at() -> None:
    pts_ns = constant_rate(30) + 7_123_456_789
    np.testing.assert_array_equal(sample(pts_ns, fps=10.0, frames=(31, 40)), [31, 34, 37])


def test_long_videos_do_not_overflow() -> None:
    pts_ns = np.array([0, 10**15, 10**15 + 20_000_000, 10**15 + 10**9])
    np.testing.assert_array_equal(sample(pts_ns, fps=1.0000001), [0, 1, 3])


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"fps": 5.0, "every": 2}, "fps and every"),
        ({"fps": 0.0}, "fps must be above 0"),
        ({"fps": float("nan")}, "fps must be above 0"),
        ({"every": 0}, "every must be 1 or more"),
        ({"frames": (-5, None)}, "must not be negative"),
        ({"frames": (5, 5)}, "5:5 selects nothing"),
        ({"frames": (None, 0)}, "0:0 selects nothing"),
    ],
)
def test_settings_that_make_no_sense_are_named(settings: dict, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        sample(constant_rate(30), **settings)
