"""Settings come from what was given, the environment and the defaults, in this order."""

from __future__ import annotations

from pathlib import Path

import pytest

from ontology.ids import DEFAULT_BASE
from runtime.errors import SettingsError
from runtime.serving_settings import MEBIBYTE
from runtime.settings import Settings


def test_the_defaults() -> None:
    settings = Settings.read({}, {})
    assert (settings.host, settings.port, settings.data) == ("127.0.0.1", 8080, Path("data"))
    assert settings.base == DEFAULT_BASE
    assert settings.time_lock_seconds == 24 * 3600
    assert settings.mirror is None
    assert settings.witness_keys == ()
    assert settings.query_workers >= 1


def test_what_is_given_wins_over_the_environment() -> None:
    environment = {
        "FRACTALOPS_PORT": "9000",
        "FRACTALOPS_HOST": "0.0.0.0",
        "FRACTALOPS_DATA": "/srv/data with blank",
        "FRACTALOPS_QUERY_SECONDS": "2.5",
        "FRACTALOPS_WITNESS_KEYS": "w1+00+aa w2+00+bb",
        "FRACTALOPS_MIRROR": "/mnt/mirror",
        "FRACTALOPS_ORGANISATION": "",
        "OTHER": "x",
    }
    settings = Settings.read({"port": 0, "host": None, "unheard_of": 1}, environment)
    assert (settings.port, settings.host) == (0, "0.0.0.0")
    assert settings.data == Path("/srv/data with blank")
    assert settings.query_seconds == 2.5
    assert settings.witness_keys == ("w1+00+aa", "w2+00+bb")
    assert settings.mirror == Path("/mnt/mirror")
    assert settings.organisation == "organisation"


def test_the_environment_of_the_process_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FRACTALOPS_PORT", "7777")
    assert Settings.read({}).port == 7777


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("port", "70000"),
        ("port", "-1"),
        ("port", "http"),
        ("base", "ftp://graph.example.org"),
        ("base", "http://graph.example.org/"),
        ("base", "http://graph example"),
        ("organisation", "Acme Inc"),
        ("operator", "-x"),
        ("time_lock_seconds", "-1"),
        ("query_workers", "0"),
        ("query_memory", "5"),
        ("query_seconds", "0"),
        ("proposal_bytes", "1"),
        ("steward_seconds", "soon"),
        ("temporal", "http://temporal.example:7233"),
        ("temporal", "temporal.example"),
        ("temporal_queue", "a queue"),
        ("temporal_tls", "perhaps"),
    ],
)
def test_a_value_that_cannot_be_is_named(name: str, value: str) -> None:
    with pytest.raises(SettingsError) as caught:
        Settings.read({}, {f"FRACTALOPS_{name.upper()}": value})
    assert f"{name.replace('_', '-')} (FRACTALOPS_{name.upper()})" in str(caught.value)
    assert value in str(caught.value)


def test_secrets_are_shown_nowhere() -> None:
    secrets = {
        "FRACTALOPS_FACTS": "clickhouse://default:geheim@facts.example:8123/default",
        "FRACTALOPS_GLITCHTIP_TOKEN": "geheim",
        "FRACTALOPS_TEMPORAL_API_KEY": "geheim",
    }
    settings = Settings.read({}, secrets)
    for shown in (str(settings), repr(settings), settings.model_dump_json(), str(vars(settings))):
        assert "geheim" not in shown
    assert settings.facts is not None
    assert settings.facts.get_secret_value() == secrets["FRACTALOPS_FACTS"]
    with pytest.raises(SettingsError) as caught:
        Settings.read({"facts": ["geheim"]}, {})
    assert "geheim" not in str(caught.value)


def test_settings_do_not_change() -> None:
    settings = Settings.read({}, {})
    with pytest.raises(ValueError, match="frozen"):
        settings.port = 1
    assert settings.proposal_bytes == 32 * MEBIBYTE


@pytest.mark.parametrize(
    ("given", "days"),
    [
        ({}, 30),
        ({"dormant_after_days": "90"}, 90),
        ({"dormant_after_days": "0"}, 0),
        ({"facts_days": "31"}, 30),
        # Facts that are gone can't tell what wasn't seen.
        ({"facts_days": "30"}, 0),
        ({"facts_days": "7", "dormant_after_days": "6"}, 6),
    ],
)
def test_nothing_is_dormant_that_facts_can_t_tell(given: dict[str, str], days: int) -> None:
    assert Settings.read(given, {}).dormant_days() == days


def test_a_model_is_off_unless_it_is_named() -> None:
    settings = Settings.read({}, {})
    assert (settings.reflect_model, settings.model_arguments()) == (None, {})
    environment = {
        "FRACTALOPS_REFLECT_MODEL": "langchain_x.chat:ChatX",
        "FRACTALOPS_REFLECT_MODEL_ARGUMENTS": '{"model": "small", "api_key": "geheim"}',
    }
    settings = Settings.read({}, environment)
    assert settings.reflect_model == "langchain_x.chat:ChatX"
    assert settings.model_arguments() == {"model": "small", "api_key": "geheim"}
    assert "geheim" not in repr(settings)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("reflect_model", "os.system"),
        ("reflect_model", "os:system:x"),
        ("reflect_model_arguments", "secret"),
        ("reflect_model_arguments", '["secret"]'),
        ("reflect_seconds", "-1"),
    ],
)
def test_a_setting_of_reflection_that_is_wrong_is_named_and_not_repeated(
    name: str, value: str
) -> None:
    with pytest.raises(SettingsError, match=name.replace("_", "-")) as caught:
        Settings.read({name: value}, {})
    assert "secret" not in str(caught.value)


def test_secrets_may_be_references() -> None:
    environment = {
        "FRACTALOPS_CHECKPOINTS": "bao://secret/fractalops/postgres#dsn",
        "FRACTALOPS_REFLECT_MODEL_ARGUMENTS": "bao://secret/fractalops/model#arguments",
        "FRACTALOPS_FACTS": "clickhouse://u:p@facts.example.org/",
    }
    settings = Settings.read({}, environment)
    assert {name: str(found) for name, found in settings.references().items()} == {
        "checkpoints": "bao://secret/fractalops/postgres#dsn",
        "reflect_model_arguments": "bao://secret/fractalops/model#arguments",
    }
    resolved = settings.resolved(
        {"checkpoints": "postgresql://u:geheim@db/", "reflect_model_arguments": '{"api_key": "k"}'}
    )
    assert resolved.checkpoints is not None
    assert resolved.checkpoints.get_secret_value() == "postgresql://u:geheim@db/"
    assert resolved.model_arguments() == {"api_key": "k"}
    assert resolved.references() == {}
    assert "geheim" not in repr(resolved)


def test_what_a_reference_means_is_checked_and_not_told() -> None:
    settings = Settings.read({"reflect_model_arguments": "bao://secret/model#arguments"}, {})
    with pytest.raises(SettingsError, match=r"REFLECT_MODEL_ARGUMENTS.*JSON object") as raised:
        settings.resolved({"reflect_model_arguments": "geheim"})
    assert "geheim" not in str(raised.value)
    assert raised.value.__cause__ is None
    with pytest.raises(SettingsError, match=r"CHECKPOINTS.*MOUNT/PATH#FIELD") as raised:
        Settings.read({"checkpoints": "bao://geheim"}, {}).references()
    assert "geheim" not in str(raised.value)
