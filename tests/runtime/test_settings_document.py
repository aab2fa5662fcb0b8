"""``docs/settings.md`` says what the settings are."""

from __future__ import annotations

from pathlib import Path

from runtime.settings import NAMES
from runtime.settings_document import document
from runtime.settings_sources import variable_of


def test_the_page_is_what_the_models_say(checkout: Path) -> None:
    written = (checkout / "docs" / "settings.md").read_text(encoding="utf-8")
    assert written == document(), "python -m runtime.settings_document > docs/settings.md"


def test_every_setting_is_on_the_page() -> None:
    for name in NAMES:
        assert f"| `{name}` | `{variable_of(name)}` |" in document()
