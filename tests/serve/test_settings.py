"""Settings: by flag, environment, file, default, in this order; all of them documented; secrets masked."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from command import environment, run
from typer.main import get_command

from lexhound.serve.cli.app import command_line
from lexhound.serve.errors import UsageError
from lexhound.serve.settings import MASK, Settings, check_exposure, load_settings

NAMES = set(Settings.model_fields)
FLAGS = {parameter.name: parameter for parameter in get_command(command_line()).commands["serve"].params}  # type: ignore[attr-defined]


def test_flag_environment_file_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "lexhound.toml"
    file.write_text('port = 1001\nmax_k = 11\nmax_depth = 500\nworkers = 2\nencoders = ["bm25", "splade"]\n')
    monkeypatch.setenv("LEXHOUND_PORT", "1002")
    monkeypatch.setenv("LEXHOUND_MAX_K", "12")
    monkeypatch.setenv("LEXHOUND_CORS_ORIGINS", "https://a.example, https://b.example")
    found = load_settings({"data": tmp_path, "port": 1003, "max_k": None}, file)
    assert (found.port, found.max_k, found.max_depth, found.workers, found.host) == (1003, 12, 500, 2, "127.0.0.1")
    assert found.cors_origins == ("https://a.example", "https://b.example")
    assert found.encoders == ("bm25", "splade")
    monkeypatch.setenv("LEXHOUND_CONFIG", str(file))
    assert load_settings({"data": tmp_path}).workers == 2


def test_paths_in_a_file_are_relative_to_it(tmp_path: Path) -> None:
    (tmp_path / "lexhound.toml").write_text('data = "data"\nkeys_file = "keys.json"\n')
    found = load_settings({}, tmp_path / "lexhound.toml")
    assert (found.data, found.keys_file) == (tmp_path / "data", tmp_path / "keys.json")


@pytest.mark.parametrize(
    ("flags", "variables", "file", "says"),
    [
        ({}, {}, None, "nothing to serve"),
        ({"data": "x", "port": 70_000}, {}, None, "--port"),
        ({"data": "x"}, {"LEXHOUND_PORT": "many"}, None, "LEXHOUND_PORT"),
        ({"data": "x"}, {"LEXHOUND_LOG_LEVEL": "loud"}, None, "LEXHOUND_LOG_LEVEL"),
        ({"data": "x"}, {}, "port = -1", "lexhound.toml"),
        ({"data": "x"}, {}, "prot = 1", "'prot', which is no setting"),
        ({"data": "x"}, {}, "port = ", "is not TOML"),
        ({"data": "x", "api_key": "short"}, {}, None, "20 characters"),
        ({"data": "x", "max_k": 50, "max_depth": 10}, {}, None, "max_depth must be at least max_k"),
    ],
)
def test_wrong_values_name_the_setting_and_where_it_came_from(
    flags: dict[str, object],
    variables: dict[str, str],
    file: str | None,
    says: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    path = tmp_path / "lexhound.toml"
    if file is not None:
        path.write_text(file)
    with pytest.raises(UsageError) as caught:
        load_settings(flags, None if file is None else path)
    assert says in caught.value.message


def test_print_config_masks_secrets(tmp_path: Path) -> None:
    key = "a-key-of-the-settings-0123456789"
    outcome = run("serve", tmp_path, "--print-config", "--workers", "3", env=environment(LEXHOUND_API_KEY=key))
    assert outcome.code == 0
    shown = outcome.json
    assert set(shown) == NAMES
    assert (shown["workers"], shown["api_key"], shown["data"]) == (3, MASK, str(tmp_path))
    assert key not in outcome.out + outcome.err
    assert key not in repr(Settings(data=tmp_path, api_key=key))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("host", "key", "insecure", "allowed"),
    [
        ("127.0.0.1", None, False, True),
        ("127.8.8.8", None, False, True),
        ("localhost", None, False, True),
        ("::1", None, False, True),
        ("0.0.0.0", None, False, False),  # noqa: S104  what is refused
        ("::", None, False, False),
        ("192.168.0.1", None, False, False),
        ("127.0.0.1.example.com", None, False, False),
        ("0.0.0.0", "k" * 30, False, True),  # noqa: S104
        ("0.0.0.0", None, True, True),  # noqa: S104
    ],
)
def test_exposure(host: str, key: str | None, insecure: bool, allowed: bool) -> None:
    settings = Settings(data=Path(), host=host, api_key=key, insecure=insecure)  # type: ignore[arg-type]
    if allowed:
        check_exposure(settings)
    else:
        with pytest.raises(UsageError, match="without a key"):
            check_exposure(settings)


def test_every_setting_has_a_flag_with_help() -> None:
    assert set(FLAGS) - {"config", "print_config", "help"} == NAMES
    for name, parameter in FLAGS.items():
        assert parameter.help, name
        assert parameter.help.rstrip(")`").endswith("."), name


def test_every_setting_is_documented(root: Path) -> None:
    text = (root / "docs" / "settings.md").read_text("utf-8")
    sections = dict(re.findall(r"^### `(\w+)`\n(.*?)(?=^##|\Z)", text, re.MULTILINE | re.DOTALL))
    assert set(sections) == NAMES
    for name, section in sections.items():
        assert len(section.split()) >= 15, f"{name}: what it means, what to choose"
        if name != "data":
            assert f"--{name.replace('_', '-')}" in section, name
        assert f"LEXHOUND_{name.upper()}" in section, name
        field = Settings.model_fields[name]
        default = field.get_default(call_default_factory=False)
        if isinstance(default, int | float) and not isinstance(default, bool):
            assert f"default {default:.10g}" in section, f"{name}: its default"
    assert "LEXHOUND_CONFIG" in text


def test_command_is_documented(root: Path) -> None:
    text = (root / "docs" / "cli.md").read_text("utf-8")
    for name in ("serve", "keys"):
        assert re.search(rf"^## lexhound {name}$", text, re.MULTILINE)
    outcome = run("serve", "--help")
    assert (outcome.code, outcome.err) == (0, "")
    assert "Usage: lexhound serve" in outcome.out
    assert run("keys", "--help").code == 0


def test_routes_are_documented(root: Path) -> None:
    from lexhound.serve.api.app import ROUTERS

    text = (root / "docs" / "rest.md").read_text("utf-8")
    for router in ROUTERS:
        for route in router.routes:
            path = route.path.replace("{id:path}", "{id}")  # type: ignore[attr-defined]
            for method in route.methods:  # type: ignore[attr-defined]
                assert f"`{method} {path}`" in text, f"{method} {path}"


def test_a_search_does_not_load_the_service() -> None:
    program = (
        "import sys; from lexhound.serve.cli import main; main(['search', '--help']);"
        "import lexhound.serve.cli.commands.search, lexhound.retrieval.collection;"
        "print(sorted({'fastapi', 'pydantic_settings', 'uvicorn', 'httpx', 'prometheus_client'} & set(sys.modules)),"
        " file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True, timeout=60)
    assert done.stderr == b"[]\n"


def test_print_config_is_json_that_a_program_can_read(tmp_path: Path) -> None:
    shown = json.loads(run("serve", tmp_path, "--print-config").out)
    assert shown["port"] == 8080
    assert shown["encoders"] == ["bm25", "lexhound-mini"]
