"""Settings: options over environment over file over defaults; what is wrong is named."""

from pathlib import Path
from typing import Any

import pytest

from flows.settings import SettingsError, load_settings


def settings_file(folder: Path, text: str) -> Path:
    path = folder / "settings.toml"
    path.write_text(text)
    return path


def test_options_win_over_environment_over_file_over_defaults(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    track = '[track]\nsimilarity = "oks"\niou_gate = 0.3\n'
    file = settings_file(tmp_path, f"{track}[detect]\nnms_iou = 0.5\n[engine]\nworkers = 7\n")
    monkeypatch.setenv("TKM_TRACK__IOU_GATE", "0.4")
    monkeypatch.setenv("TKM_ENGINE__WORKERS", "3")
    chosen = load_settings({"engine": {"workers": "2"}}, file)
    assert chosen.engine.workers == 2
    assert chosen.track.iou_gate == 0.4
    assert chosen.track.similarity == "oks"
    assert chosen.detect.nms_iou == 0.5
    assert chosen.engine.retries == load_settings({}).engine.retries


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"track": {"similarity": "cosine"}}, "track.similarity"),
        ({"detect": {"score_threshold": "high"}}, "detect.score_threshold"),
        ({"detect": {"score_treshold": 0.5}}, "detect.score_treshold"),
        ({"index": {"fps": "2", "every": "3"}}, "fps and every"),
        ({"index": {"frames": "9:3"}}, "frames 9:3"),
        ({"index": {"frames": "abc"}}, "index.frames"),
        ({"engine": {"workers": 0}}, "engine.workers"),
        ({"engine": {"dask": "localhost"}}, "engine.dask"),
        ({"index": {"every": "2.5"}}, "index.every: must be a valid integer"),
        ({"engine": {"max_failures": "-1"}}, "engine.max_failures"),
        ({"detect": {"timeout_s": "0"}}, "detect.timeout_s: must be greater than 0"),
        ({"trackk": {}}, "trackk: there is no such setting; did you mean track?"),
        ({"track": {"iou_gat": 0.3}}, r"did you mean track\.iou_gate\?"),
        ({"track": 3}, "track: must be a section"),
    ],
)
def test_what_is_wrong_is_named(options: dict[str, Any], named: str) -> None:
    with pytest.raises(SettingsError, match=named):
        load_settings(options)


def test_a_file_that_is_missing_or_not_toml_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"missing\.toml"):
        load_settings({}, tmp_path / "missing.toml")
    with pytest.raises(SettingsError, match="not TOML"):
        load_settings({}, settings_file(tmp_path, "[track\n"))


def test_splitting_shots_is_an_option_a_section_and_a_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not load_settings({}).shots.split
    assert load_settings({}, settings_file(tmp_path, "[shots]\nsplit = true\n")).shots.split
    monkeypatch.setenv("TKM_SHOTS__SPLIT", "true")
    assert load_settings({}).shots.split
    assert not load_settings({"shots": {"split": False}}).shots.split


def test_none_switches_the_greying_off() -> None:
    assert load_settings({"estimate": {"grey_margin": "none"}}).estimate.grey_margin is None
