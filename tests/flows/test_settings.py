"""Settings: options over environment over file over defaults; what is wrong is named."""

import os
from pathlib import Path
from typing import Any

import pytest

from flows.settings import SettingsError, load_settings, refuse_secrets, stage_params, use_s3
from storage import s3
from tasks.given import GivenParams
from tasks.heads import HeadsError, with_weights


def settings_file(folder: Path, text: str) -> Path:
    path = folder / "settings.toml"
    path.write_text(text)
    return path


def test_options_win_over_environment_over_file_over_defaults(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    track = '[track]\nsimilarity = "iou"\niou_gate = 0.3\n'
    file = settings_file(tmp_path, f"{track}[detect]\nnms_iou = 0.5\n[engine]\nworkers = 7\n")
    monkeypatch.setenv("TKM_TRACK__IOU_GATE", "0.4")
    monkeypatch.setenv("TKM_ENGINE__WORKERS", "3")
    chosen = load_settings({"engine": {"workers": "2"}}, file)
    assert chosen.engine.workers == 2
    assert chosen.track.iou_gate == 0.4
    assert chosen.track.similarity == "iou"
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


def test_weights_are_named_by_options_variables_and_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = settings_file(tmp_path, '[weights]\npose = "a.pth"\nbody = "b.safetensors"\nmatching = "c.safetensors"\n')
    monkeypatch.setenv("TKM_WEIGHTS__POSE", "s3://bucket/pose.pth")
    weights = load_settings({"weights": {"matching": "mine"}}, file).weights
    assert weights.files() == {"pose": "s3://bucket/pose.pth", "matching": "mine", "body": "b.safetensors"}
    assert load_settings({}).weights.detector is None
    with pytest.raises(SettingsError, match=r"did you mean weights\.matching\?"):
        load_settings({"weights": {"maching": "mine"}})
    with pytest.raises(SettingsError, match=r"weights\.pose"):
        load_settings({"weights": {"pose": ""}})


def test_what_is_asked_for_by_file_or_environment_is_no_mere_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    poses = {"poses": GivenParams(sha256="0" * 64)}  # which heads cannot look at
    by_default = with_weights({**stage_params(load_settings({})), **poses}, {})
    assert by_default["track"].model_dump()["similarity"] == "oks"
    file = settings_file(tmp_path, '[track]\nsimilarity = "tkm"\n')
    with pytest.raises(HeadsError, match=r"--track-similarity tkm looks at features"):
        with_weights({**stage_params(load_settings({}, file)), **poses}, {})
    monkeypatch.setenv("TKM_REFINE__ON", "true")
    with pytest.raises(HeadsError, match=r"--refine with --paths-tau above 0 looks at features"):
        with_weights({**stage_params(load_settings({})), **poses}, {})
    off = with_weights(stage_params(load_settings({"refine": {"on": False}})), {})
    assert not off["refine"].model_dump()["on"], "an option wins, and is set too"


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


S3_FILE = '[s3]\nendpoint_url = "https://file:9000"\naccess_key_id = "ID"\nsecret_access_key = "from-the-file"\n'


@pytest.fixture
def own_environment(no_aws: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """An environment that settings may change: the test's own, also what they have put into it before."""
    monkeypatch.setattr(os, "environ", os.environ.copy())
    monkeypatch.setattr(s3, "_applied", {})


def test_s3_comes_from_options_environment_and_file(
    tmp_path: Path, own_environment: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = settings_file(tmp_path, S3_FILE)
    os.environ |= {"TKM_S3__REGION": "eu-1", "TKM_S3__ENDPOINT_URL": "https://environment", "AWS_SESSION_TOKEN": "of others"}
    use_s3(load_settings({"s3": {"endpoint_url": "http://option:9"}}, file))
    expected = {
        "AWS_ENDPOINT_URL_S3": "http://option:9",
        "AWS_DEFAULT_REGION": "eu-1",
        "AWS_ACCESS_KEY_ID": "ID",
        "AWS_SECRET_ACCESS_KEY": "from-the-file",
    }
    assert {name: os.environ.get(name) for name in expected} == expected
    assert "AWS_SESSION_TOKEN" not in os.environ, "keys came with the token of other credentials"
    before = dict(os.environ)
    use_s3(load_settings({}))  # as the flow does, to which nothing of this is passed
    assert dict(os.environ) == before


def test_a_profile_takes_the_place_of_keys_that_were_there(own_environment: None) -> None:
    os.environ |= {"AWS_ACCESS_KEY_ID": "old", "AWS_SECRET_ACCESS_KEY": "old"}
    use_s3(load_settings({"s3": {"profile": "mine"}}))
    assert os.environ["AWS_PROFILE"] == "mine"
    assert "AWS_ACCESS_KEY_ID" not in os.environ


@pytest.mark.parametrize(
    ("section", "named"),
    [
        ({"endpoint_url": "localhost:9000"}, "s3.endpoint_url: give http"),
        ({"endpoint_url": "http://me:hush@host"}, "s3.endpoint_url: give http"),
        ({"endpoint_url": "http://"}, "s3.endpoint_url: give http"),
        ({"secret_access_key": "hush"}, "s3: access_key_id and secret_access_key go together"),
        ({"access_key_id": "a", "secret_access_key": "b", "session_token": ["hush"]}, "s3.session_token"),
        ({"session_token": "hush"}, "s3: session_token goes with"),
        ({"secret": "hush"}, "s3.secret: there is no such setting"),
        ({"profile": ""}, "s3.profile"),
        ("hush", "s3: "),
    ],
)
def test_what_is_wrong_with_s3_is_named_without_secrets(section: object, named: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load_settings({"s3": section})  # type: ignore[dict-item]
    assert named in str(caught.value)
    assert "hush" not in f"{caught.value} {caught.value.__cause__}"


def test_settings_show_no_secrets_when_they_are_printed(tmp_path: Path) -> None:
    chosen = load_settings({}, settings_file(tmp_path, S3_FILE))
    assert "from-the-file" not in f"{chosen!r} {chosen.model_dump_json()}"


def test_a_flow_refuses_secrets_among_its_parameters() -> None:
    refuse_secrets({"s3": {"region": "eu-1"}})
    with pytest.raises(SettingsError, match="TKM_S3__SECRET_ACCESS_KEY") as caught:
        refuse_secrets({"s3": {"secret_access_key": "hush"}})
    assert "hush" not in str(caught.value)
