"""Where secrets come from: what is said of settings that don't fit together."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import pytest

from graph_api.assembly_secrets import login_of, open_secrets, transit_of, variables
from runtime.errors import OpenBaoDenied, SettingsError
from runtime.openbao_login import SERVICE_ACCOUNT, AppRole, TokenLogin
from runtime.settings import Settings
from stewards.errors import JobRefused

REFERENCE = "bao://secret/fractalops/glitchtip#token"


def read(**given: object) -> Settings:
    return Settings.read(given, {})


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"profile": "production"}, "FRACTALOPS_OPENBAO and FRACTALOPS_OPENBAO_ROLE and"),
        ({"profile": "production", "openbao": "https://b", "openbao_role": "r"}, "set FRACTALOPS_"),
        ({"glitchtip_token": REFERENCE}, "glitchtip-token refers to bao://secret/fractalops"),
        ({"openbao": "https://bao"}, "FRACTALOPS_OPENBAO_ROLE.* role id that logs in by approle"),
        ({"openbao": "https://bao", "openbao_auth": "jwt"}, "role name that logs in by jwt"),
        ({"openbao": "https://bao", "openbao_role": "r"}, "the role's secret id, or"),
        (
            {"openbao": "https://bao", "openbao_role": "r", "openbao_auth": "jwt"},
            r"the file with the token \(JWT\)",
        ),
    ],
)
def test_what_lacks_is_named(given: dict[str, object], said: str) -> None:
    with ExitStack() as closing, pytest.raises(SettingsError, match=said):
        open_secrets(read(**given), closing)


def test_without_openbao_settings_stay_as_they_are() -> None:
    settings = read(glitchtip_token="geheim")
    with ExitStack() as closing:
        assert open_secrets(settings, closing) == (settings, None)
    assert transit_of(settings, None) is None
    with pytest.raises(SettingsError, match="FRACTALOPS_OPENBAO_LOG_KEY"):
        transit_of(read(openbao_log_key="log"), None)


def test_the_logins(tmp_path: Path) -> None:
    file = tmp_path / "secret-id"
    file.write_text("geheim\n")
    given = read(openbao_role="r", openbao_secret_id="s", openbao_wrapped=True)
    login = login_of(given)
    assert isinstance(login, AppRole)
    assert (login.role, login.secret(), login.wrapped, login.mount) == ("r", "s", True, "approle")
    login = login_of(read(openbao_role="r", openbao_file=file, openbao_auth_mount="ours"))
    assert isinstance(login, AppRole)
    assert (login.secret(), login.wrapped, login.mount) == ("geheim", False, "ours")
    file.write_text("")
    with pytest.raises(OpenBaoDenied, match="is empty"):
        login.secret()
    found = login_of(read(openbao_role="r", openbao_auth="kubernetes"))
    assert found == TokenLogin("kubernetes", "r", SERVICE_ACCOUNT, "kubernetes")


def test_a_variable_that_a_job_names() -> None:
    held = {"POSTHOG_TOKEN": "geheim", "GLITCHTIP_TOKEN": REFERENCE, "ODD_KEY": "bao://geheim"}
    value = variables(None, held)
    assert (value("POSTHOG_TOKEN"), value("NO_TOKEN")) == ("geheim", None)
    with pytest.raises(JobRefused, match=r"GLITCHTIP_TOKEN.*set FRACTALOPS_OPENBAO"):
        value("GLITCHTIP_TOKEN")
    with pytest.raises(JobRefused, match=r"ODD_KEY.*MOUNT/PATH#FIELD") as raised:
        value("ODD_KEY")
    assert "geheim" not in str(raised.value)
