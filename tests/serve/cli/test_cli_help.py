"""Every command and every option has help, an example, and its place in docs/cli.md."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from command import environment, run, run_process
from typer.main import get_command

from lexhound.retrieval.corpus import FORMATS
from lexhound.serve.cli.app import command_line
from lexhound.serve.cli.corpus_options import CorpusFormat

GROUP = get_command(command_line())
COMMANDS = dict(GROUP.commands)  # type: ignore[attr-defined]
EXPECTED = {
    "index",
    "add",
    "delete",
    "search",
    "facets",
    "suggest",
    "get",
    "info",
    "tune-fusion",
    "fit-static-queries",
    "verify",
    "compact",
    "alias",
    "synonyms",
    "reranker",
    "backup",
    "restore",
    "export",
    "import",
    "move",
    "eval",
    "compare",
    "encode",
    "inspect",
    "train",
    "warm",
}


SERVICE = {"serve", "keys", "mcp"}  # have tests of their own


def test_all_commands_are_there() -> None:
    assert set(COMMANDS) == EXPECTED | SERVICE | {"distil-queries"}  # the former name of fit-static-queries


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_command_has_purpose_help_and_example(name: str) -> None:
    command = COMMANDS[name]
    purpose = command.help.split("\n\n")[0]
    assert "\n" not in purpose
    assert purpose.endswith(".")
    assert len(purpose) <= 80
    assert re.search(rf"Example:\n\s+(\S+ .*\| )?lexhound {name} ", command.help)
    for parameter in command.params:
        assert parameter.help, f"{name}: {parameter.name} has no help"
        assert parameter.help.rstrip(")`").endswith((".", "en")), f"{name}: {parameter.name}"
    assert any("--json" in parameter.opts for parameter in command.params)


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_documentation_has_every_option(name: str, root: Path) -> None:
    text = (root / "docs" / "cli.md").read_text("utf-8")
    section = re.search(rf"^## lexhound {name}\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    assert section is not None
    known = {option for parameter in COMMANDS[name].params for option in parameter.opts if option.startswith("-")}
    known -= {"--help", "-h"}
    written = set(re.findall(r"(?<![\w-])--?[a-z][a-z0-9-]*", section.group(1)))
    assert known <= written
    others = {option for each in EXPECTED for parameter in COMMANDS[each].params for option in parameter.opts}
    assert written <= others | {"-40"}, "an option that does not exist is documented"


def test_documentation_has_the_conventions(root: Path) -> None:
    text = (root / "docs" / "cli.md").read_text("utf-8")
    for word in ("LEXHOUND_DEBUG", "NO_COLOR", "--version", "| 0 |", "| 1 |", "| 2 |", "| 130 |"):
        assert word in text


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_help_is_printed(name: str) -> None:
    outcome = run(name, "-h")
    assert outcome.code == 0
    assert outcome.err == ""
    assert f"Usage: lexhound {name}" in outcome.out


def test_overview() -> None:
    outcome = run("--help", env=environment(COLUMNS="120"))
    assert outcome.code == 0
    for group in ("Make and change", "Ask", "Look after", "Measure"):
        assert group in outcome.out
    assert "130 interrupted" in outcome.out
    without = run(env=environment(COLUMNS="120"))
    assert without.code == 2
    assert without.out.rstrip() == outcome.out.rstrip()
    assert without.err == ""


def test_version() -> None:
    outcome = run_process("--version")
    assert outcome.code == 0
    assert re.fullmatch(r"lexhound \d+\.\d+\.\d+\S*\n", outcome.out)


def test_formats_are_those_of_the_library() -> None:
    assert {format.value for format in CorpusFormat} == set(FORMATS)


def test_help_loads_nothing_of_the_library() -> None:
    program = (
        "import sys; from lexhound.serve.cli import main; main(['search', '--help']);"
        "print(sorted({'numpy', 'numba', 'scipy', 'lexhound.retrieval'} & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True, timeout=60)
    assert done.stderr == b"[]\n"
