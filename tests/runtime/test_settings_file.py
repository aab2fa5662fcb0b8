"""The settings file: read as it is meant, refused where others could misuse it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from pydantic import SecretStr

from runtime.errors import SettingsError
from runtime.settings import GROUPS, NAMES, Settings
from runtime.settings_file import MAX_BYTES, PATHS, SECRETS, VARIABLE, named_file, read_file
from runtime.settings_shown import HIDDEN, setting, shown_settings
from runtime.settings_sources import Sources

GIVEN = """\
# The platform of the tests.
host = "0.0.0.0"
"port" = 9000

data = "kept"
mirror = "/srv/mirror"
witness_keys = [
    "a+00+aa",
    "port = 3",
]
facts_by_month = true
query_seconds = 2
reflect_model_arguments = '''
bao://secret/model#arguments'''
openbao_role = "role"
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "platform.toml"
    path.write_text(GIVEN)
    path.chmod(0o644)
    return path


def test_a_file_sets_what_neither_options_nor_the_environment_do(file: Path) -> None:
    found = read_file(file)
    settings = Settings.read(
        {"port": 1, "host": None},
        {"FRACTALOPS_OPENBAO_ROLE": "other", "FRACTALOPS_HOST": ""},
        found,
    )
    assert (settings.port, settings.host, settings.openbao_role) == (1, "0.0.0.0", "other")
    assert (settings.facts_by_month, settings.query_seconds) == (True, 2.0)
    assert settings.witness_keys == ("a+00+aa", "port = 3")


def test_paths_start_at_the_folder_of_the_file(file: Path) -> None:
    settings = Settings.read({}, {}, read_file(file))
    assert settings.data == file.parent / "kept"
    assert settings.mirror == Path("/srv/mirror")


def test_each_value_tells_its_source(file: Path) -> None:
    environment = {"FRACTALOPS_MIRROR": "/mnt"}
    sources = Sources({"operator": "ada"}, environment, read_file(file))
    shown = {each.name: each for each in shown_settings(sources)}
    assert set(shown) == {*NAMES, "system_principal", "audit_principal"}
    for name, value, source in (
        ("operator", "ada", "option"),
        ("mirror", "/mnt", "environment:FRACTALOPS_MIRROR"),
        ("host", "0.0.0.0", f"{file}:2"),
        ("port", 9000, f"{file}:3"),
        ("facts_by_month", True, f"{file}:11"),
        ("reflect_model_arguments", "bao://secret/model#arguments", f"{file}:13"),
        ("temporal_queue", "fractalops", "default"),
        ("system_principal", "policy", "fixed"),
    ):
        assert (shown[name].value, shown[name].source) == (value, source)


def test_a_line_within_a_text_states_nothing(file: Path) -> None:
    file.write_text('organisation = """\nport = 1\n"""\nport = 2\n')
    assert read_file(file).place("port") == f"{file}:4"


def test_secrets_are_hidden_whatever_sets_them(file: Path) -> None:
    file.write_text('facts = "clickhouse://default:geheim@facts.example/"\n')
    file.chmod(0o600)
    sources = Sources({}, {"FRACTALOPS_TOKEN": "geheim"}, read_file(file))
    shown = shown_settings(sources)
    for name in ("facts", "token"):
        assert setting(shown, name).value == HIDDEN
        assert setting(shown, name).secret
    assert "geheim" not in repr(shown)
    assert (setting(shown, "checkpoints").value, setting(shown, "checkpoints").secret) == (
        None,
        True,
    )


def test_what_settings_are_paths_and_which_are_secrets() -> None:
    fields = {name: field for group in GROUPS for name, field in group.model_fields.items()}
    assert {name for name, field in fields.items() if "Path" in str(field.annotation)} == PATHS
    of_secrets = {
        name for name, field in fields.items() if SecretStr.__name__ in str(field.annotation)
    }
    assert of_secrets == SECRETS
    assert len(fields) == len(NAMES)
    assert all(field.description for field in fields.values())


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("prot = 1", "1: 'prot' is no setting; did you mean port?"),
        ("\nopenbao-role = 'x'", "2: 'openbao-role' is no setting; did you mean openbao_role?"),
        ("qwxz = 1", "'qwxz' is no setting: docs"),
        ("[openbao]\nrole = 'x'", "openbao. is a table; settings stand at the top"),
        ("port = 70000", r"1: port \(FRACTALOPS_PORT\): .*65535, not 70000"),
        ("facts_days = true", "1: facts-days .*it is no yes or no"),
        ("port = 1\nport = 2", "no TOML: Cannot overwrite a value"),
        ("port = ", "no TOML: Invalid value"),
        ("data = 1979-05-27", "data.*not datetime"),
        ("x = " + "[" * 30_000, "no TOML"),
        ("#" * (MAX_BYTES + 1), f"at most {MAX_BYTES} bytes"),
    ],
)
def test_a_file_that_is_wrong_is_refused_with_what_to_mend(
    file: Path, text: str, said: str
) -> None:
    file.write_text(text)
    with pytest.raises(SettingsError, match=said) as caught:
        Settings.read({}, {}, read_file(file))
    assert str(file) in str(caught.value)


def test_bytes_that_are_no_text(file: Path) -> None:
    file.write_bytes(b"host = '\xff'")
    with pytest.raises(SettingsError, match="byte 8 is not UTF-8"):
        read_file(file)


@pytest.mark.parametrize(
    ("mode", "text", "said"),
    [
        (0o664, "port = 1", "others may change .*chmod go-w"),
        (0o602, "port = 1", "others may change"),
        (0o640, "port = 1\ntoken = 'geheim'", "2: others may read .*token is a secret: chmod 600"),
        (0o604, "facts = 'geheim'", "others may read"),
    ],
)
def test_what_others_may_do_to_a_file(file: Path, mode: int, text: str, said: str) -> None:
    file.write_text(text)
    file.chmod(mode)
    with pytest.raises(SettingsError, match=said) as caught:
        read_file(file)
    assert "geheim" not in str(caught.value)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives a file away")
def test_a_file_of_somebody_else_sets_nothing(file: Path) -> None:
    os.chown(file, 12345, -1)
    with pytest.raises(SettingsError, match="belongs to another user"):
        read_file(file)


def test_what_is_no_file_keeps_nobody_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(SettingsError, match="is no file"):
        read_file(tmp_path / "pipe")
    with pytest.raises(SettingsError, match="No such file"):
        read_file(tmp_path / "missing")


def test_an_option_names_the_file_before_the_environment(file: Path, tmp_path: Path) -> None:
    assert named_file(None, {}) is None
    assert named_file(None, {VARIABLE: ""}) is None
    found = named_file(None, {VARIABLE: str(file)})
    assert found is not None
    assert found.path == file
    with pytest.raises(SettingsError, match="missing"):
        named_file(tmp_path / "missing", {VARIABLE: str(file)})


def test_a_setting_is_found_by_any_of_its_names() -> None:
    shown = shown_settings(Sources())
    for name in ("openbao_role", "openbao-role", "FRACTALOPS_OPENBAO_ROLE"):
        assert setting(shown, name).name == "openbao_role"
    with pytest.raises(SettingsError, match="did you mean openbao_role"):
        setting(shown, "openbao_rol")
