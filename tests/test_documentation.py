"""Documentation is checked against the code: links, examples, commands, names of modules and files."""

from __future__ import annotations

import ast
import importlib.util
import re
import shlex
from pathlib import Path

import pytest
from repository import ROOT
from typer.main import get_command

from lexhound.serve.cli.app import command_line

PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md")), *sorted((ROOT / "bench").glob("*.md"))]
# What was measured or released is told with the names of its day.
CURRENT = [page for page in PAGES if page.name not in {"RESULTS.md", "CHANGELOG.md"}]
COMMANDS = dict(get_command(command_line()).commands)  # type: ignore[attr-defined]


def name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def code_blocks(text: str, language: str | None = None) -> list[str]:
    """The fenced blocks of a language; without one, all indented blocks and shell blocks."""
    if language is not None:
        return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    return re.findall(r"(?:^    .*\n)+", text, re.MULTILINE)


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", page.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_lead_somewhere(page: Path) -> None:
    for target, anchor in re.findall(r"\]\(([^)#:\s]*)(?:#([^)]*))?\)", page.read_text("utf-8")):
        linked = page.parent / target if target else page
        assert linked.exists(), target
        if anchor:
            assert anchor in anchors(linked), f"{target}#{anchor}"


@pytest.mark.parametrize(
    "page", ["README.md", "docs/python.md", pytest.param("docs/integrations.md", marks=pytest.mark.model)]
)
def test_python_examples_run(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "samples").symlink_to(ROOT / "samples")
    blocks = code_blocks((ROOT / page).read_text("utf-8"), "python")
    assert blocks
    for block in blocks:
        exec(compile(block, page, "exec"), {})  # noqa: S102  our own examples


def test_every_python_example_parses() -> None:
    for page in CURRENT:
        for block in code_blocks(page.read_text("utf-8"), "python"):
            ast.parse(block, name(page))


@pytest.mark.parametrize("page", CURRENT, ids=name)
def test_commands_in_examples_exist_with_their_options(page: Path) -> None:
    for block in code_blocks(page.read_text("utf-8")):
        for line in block.replace("\\\n", " ").splitlines():
            for command in re.findall(
                r"(?:^|[;&|] |\$ )\s*(?:\S*/)?lexhound ([a-z-]+ [^;|]*?)(?=$|;|\||#)", line.strip()
            ):
                words = shlex.split(command.replace("`", ""))
                assert words[0] in COMMANDS, line
                chosen = COMMANDS[words[0]]
                chosen = getattr(chosen, "commands", {}).get(words[1] if len(words) > 1 else "", chosen)
                known = {option for parameter in chosen.params for option in parameter.opts} | {"--help", "--"}
                used = {word.partition("=")[0] for word in words[1:] if re.fullmatch(r"--?[a-z][\w-]*(=.*)?", word)}
                assert used <= known, f"{line}: {used - known}"


@pytest.mark.parametrize("page", CURRENT, ids=name)
def test_names_of_modules_are_those_of_the_package(page: Path) -> None:
    """`lexhound.room.module.Name` in the text: the module is there, and it has the name."""
    for dotted in set(re.findall(r"\blexhound(?:\.[A-Za-z_]\w*)+", page.read_text("utf-8"))):
        parts = dotted.split(".")
        if dotted in {"lexhound.json", "lexhound.toml", "lexhound.service"}:  # files
            continue
        found = _split(parts)
        assert found is not None, dotted
        module, rest = found
        if rest:
            source = Path(str(importlib.util.find_spec(module).origin)).read_text("utf-8")  # type: ignore[union-attr]
            assert re.search(rf"\b{rest[0]}\b", source), dotted


def _split(parts: list[str]) -> tuple[str, list[str]] | None:
    """The longest beginning that is a module, and what is left: at most a class and its member."""
    for end in range(len(parts), 0, -1):
        try:
            spec = importlib.util.find_spec(".".join(parts[:end]))
        except ModuleNotFoundError:
            continue
        if spec is not None:
            return (".".join(parts[:end]), parts[end:]) if len(parts) - end <= 2 else None
    return None


@pytest.mark.parametrize("page", CURRENT, ids=name)
def test_files_that_are_named_are_there(page: Path) -> None:
    """`index/inverted/scales.py`, `docs/format.md`: paths from the top of the repository, or beside the page."""
    for path in re.findall(r"`([\w.-]+(?:/[\w.-]+)+\.(?:py|md|toml|sh))`", page.read_text("utf-8")):
        assert (ROOT / path).exists() or (page.parent / path).exists(), path


def test_decisions_are_numbered_listed_and_of_one_form() -> None:
    folder = ROOT / "docs" / "decisions"
    records = sorted(folder.glob("[0-9]*.md"))
    assert [record.name[:4] for record in records] == [f"{number:04}" for number in range(1, len(records) + 1)]
    listed = re.findall(r"^\| \[\d{4}\]\(([^)]+)\)", (folder / "README.md").read_text("utf-8"), re.MULTILINE)
    assert listed == [record.name for record in records]
    for record in records:
        text = record.read_text("utf-8")
        assert text.startswith(f"# {record.name[:4]} ")
        headings = re.findall(r"^## (.*)$", text, re.MULTILINE)
        assert (headings[:2], headings[-2:]) == (["Question", "Decision"], ["Consequences", "Ask again when"]), record


def architecture_table(heading: str) -> list[list[str]]:
    """The cells of the first table below a heading of ARCHITECTURE.md, without its head."""
    below = (ROOT / "ARCHITECTURE.md").read_text("utf-8").partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    rows = [line for line in below.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows[2:]]


def test_the_map_of_changes_leads_to_files() -> None:
    rows = architecture_table("I want to change X")
    assert len(rows) >= 20
    for what, target in rows:
        paths = re.findall(r"`([\w./-]+/[\w./-]+)`", target)
        assert paths, what
        for path in paths:
            assert (ROOT / path).is_file(), f"{what}: {path}"


def test_the_map_of_rooms_has_every_package() -> None:
    described = re.findall(r"`([\w/]+)/`", " ".join(row[0] for row in architecture_table("The rooms")))
    rooms = [link.name for link in (ROOT / "src" / "lexhound").iterdir() if link.is_symlink()]
    assert set(rooms) <= set(described)
    for path in described:
        assert (ROOT / path / "__init__.py").is_file(), path
    for room in ("index", "encoders", "retrieval", "serve"):
        for package in (ROOT / room).iterdir():
            if (package / "__init__.py").exists():
                assert f"{room}/{package.name}" in described, package


# Words that gave way to the field's standard terms, and these terms.
RETIRED = {
    "bring": "import",
    "bury": "tombstone",
    "care": "maintenance",
    "catalogue": "registry",
    "dial": "recall calibration",
    "distil": "fit static query embeddings",
    "draft": "update",
    "echo": "repeated input",
    "entries": "codes",
    "envelope": "middleware",
    "forms": "surface tokens",
    "forwarding": "write proxy",
    "gate": "admission control",
    "marks": "highlights",
    "pieces": "token ids, document batches",
    "representation": "field",
    "reweigh": "compute weights",
    "router": "centroid index",
    "seqs": "internal ids",
    "side": "field, query or document encoder",
    "sides": "fields, query and document encoder",
    "slack": "bound factor",
    "tidy": "vacuum",
    "turned": "rotated",
    "weigh": "compute weights",
    "weighed": "computed weights",
    "weighing": "computation of weights",
    "written": "exact terms",
}
# Where such a word means something else.
ALLOWED = {
    "encoders/text/tokenizer.py:pieces": "parts of a long text",
    "index/array_files.py:written": "arrays that are on the disk",
}
# Still to be renamed.
LEFT = {}


_DEFINED = re.compile(r"^[ \t]*(?:class|(?:async +)?def) +([A-Za-z]\w*)", re.MULTILINE)


def _public_names() -> dict[str, str]:
    """Return every name of a module, public class or public function of the rooms, with the file that has it."""
    names = {}
    for room in (link for link in (ROOT / "src" / "lexhound").iterdir() if link.is_symlink()):
        for path in sorted((ROOT / room.name).rglob("*.py")):
            where = name(path)
            names[f"{where}:{path.stem}"] = path.stem
            for defined in _DEFINED.findall(path.read_text("utf-8")):
                names[f"{where}:{defined}"] = defined
    return names


def _words(identifier: str) -> set[str]:
    return {word.lower() for word in re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", identifier).split("_")}


def test_retired_words_stay_out_of_names() -> None:
    names = _public_names()
    assert len(names) > 1000
    retired = {place: sorted(_words(found) & set(RETIRED)) for place, found in names.items()}
    back = {place: words for place, words in retired.items() if words and place not in ALLOWED.keys() | LEFT}
    assert not back, {place: [RETIRED[word] for word in words] for place, words in back.items()}
    assert {place for place in ALLOWED if not retired.get(place)} == set(), "allowed, but gone"
