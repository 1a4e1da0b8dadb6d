"""Corpora of folders: text, Markdown and HTML files."""

from __future__ import annotations

import gzip
import os
import re
from pathlib import Path

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from lexhound.retrieval.corpus import BadRow, open_corpus
from lexhound.retrieval.corpus.folder import FolderCorpus
from lexhound.retrieval.corpus.markdown import markdown
from lexhound.retrieval.corpus.markup import Extracted, FrontMatterError, decode, html
from lexhound.retrieval.documents.document import Document
from lexhound.retrieval.errors import CorpusError


def make(folder: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder


def test_folder(tmp_path: Path) -> None:
    make(
        tmp_path,
        {
            "b.txt": b"\xef\xbb\xbfplain\r\ntext\n",
            "a/notes.md": b"# Notes\n\nSome *words*.\n",
            "a/page.HTML": b"<title>Page</title><p>Words</p>",
            "a/deep/er/x.htm": b"<h1>Deep</h1>er",
            "a-b.markdown": b"no heading",
            "empty.txt": b"",
            "z.txt.gz": gzip.compress(b"zipped"),
            "z.md.zst": zstandard.compress(b"# Z\nzipped"),
            ".hidden.txt": b"hidden",
            ".git/x.txt": b"hidden",
            "picture.png": b"\x89PNG",
            "data.csv": b"id,text\n",
            "README": b"no suffix",
        },
    )
    corpus = open_corpus(tmp_path)
    expected = [
        Document("a/deep/er/x.htm", "er", "Deep"),
        Document("a/notes.md", "Some words.", "Notes"),
        Document("a/page.HTML", "Words", "Page"),
        Document("a-b.markdown", "no heading", "a-b"),
        Document("b.txt", "plain\r\ntext", "b"),
        Document("empty.txt", "", "empty"),
        Document("z.md.zst", "zipped", "Z"),
        Document("z.txt.gz", "zipped", "z"),
    ]
    for _ in range(2):
        assert list(corpus) == expected
        assert corpus.bytes_read == corpus.total_bytes
    assert corpus.total_bytes == sum((tmp_path / document.id).stat().st_size for document in expected)
    assert list(open_corpus(tmp_path, format="folder")) == expected
    assert corpus.name == str(tmp_path)
    assert corpus.where == str(tmp_path / "z.txt.gz")


def test_bad_files_are_named_and_passed_over(tmp_path: Path) -> None:
    make(
        tmp_path,
        {
            "a.txt": b"fine",
            "b.txt": b"caf\xe9",
            "c.txt.gz": gzip.compress(b"x" * 1000)[:-9],
            "d.txt.zst": b"not zstd",
            "e/" + "x" * 200 + "/" + "y" * 200 + "/" + "z" * 200 + ".txt": b"id too long",
            "f\n.txt": b"line break in the id",
            "g.md": b"---\nn: 1\nm: [a\n---\nfine",
        },
    )
    (tmp_path / "h.txt").symlink_to(tmp_path / "nowhere")
    (tmp_path / "i.txt").mkdir()
    (tmp_path / "loop").symlink_to(tmp_path)
    with open(os.fsencode(tmp_path) + b"/j\xff.txt", "wb"):  # noqa: PTH123
        pass
    found = list(open_corpus(tmp_path))
    assert [row.id for row in found if isinstance(row, Document)] == ["a.txt"]
    bad = [row for row in found if isinstance(row, BadRow)]
    assert [(Path(row.file).name[:6], row.line) for row in bad] == [
        ("b.txt", None),
        ("c.txt.", None),
        ("d.txt.", None),
        ("z" * 6, None),
        ("f\n.txt", None),
        ("g.md", 4),
        ("j\\udcf", None),
    ]
    assert bad[0].where == str(tmp_path / "b.txt")
    for row, reason in zip(
        bad,
        [
            "not UTF-8: byte 4 is 0xe9",
            "the gzip data is truncated",
            "does not hold zstd data",
            "has 608 bytes; at most 512 are allowed",
            "contains the control character U+000A",
            "the front matter is not YAML: did not find expected ',' or ']'",
            "half of a surrogate pair",
        ],
        strict=True,
    ):
        assert reason in row.reason
        assert str(row).encode()


def test_overlong_file(tmp_path: Path) -> None:
    make(tmp_path, {"a.txt": b"x" * 100, "b.txt": b"x" * 101, "c.txt.gz": gzip.compress(b"x" * 10**6)})
    first, second, third = FolderCorpus(tmp_path, "f", max_row_bytes=100)
    assert isinstance(first, Document)
    for row in (second, third):
        assert isinstance(row, BadRow)
        assert row.reason == "longer than 100 bytes"


def test_folders_with_nothing_to_read(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match=r"holds nothing to read.* Check that this is the right folder\."):
        open_corpus(tmp_path)
    make(tmp_path, {"train.jsonl.gz": b"", "part.parquet": b"", ".hidden/x.txt": b""})
    with pytest.raises(CorpusError, match=r"It does hold part\.parquet, train\.jsonl\.gz: name that file"):
        open_corpus(tmp_path)


def test_field_names_make_no_sense_for_a_folder(tmp_path: Path) -> None:
    make(tmp_path, {"a.txt": b"fine"})
    with pytest.raises(CorpusError, match="no fields to choose from"):
        open_corpus(tmp_path, id_field="name")


MARKDOWN = """\
Intro with a [link](http://x.y/z "title"), ![an image](i.png), `code` and **bold _and_ italic**.

A *Title*
=========

> quoted snake_case_name and 2 * 3 * 4
> > twice

- item __one__
* item two [ref][1]

---

```python
# not a heading
x = a*b*c
```

~~~
```
~~~

[1]: http://example.org
## Second ##
<https://example.org/page> end


"""


def test_markdown() -> None:
    extracted = markdown(MARKDOWN)
    assert extracted.title == "A Title"
    assert extracted.text == (
        "Intro with a link, an image, code and bold and italic.\n\n"
        "quoted snake_case_name and 2 * 3 * 4\ntwice\n\n"
        "- item one\n* item two ref\n\n"
        "# not a heading\nx = a*b*c\n\n"
        "```\n\n"
        "Second\nhttps://example.org/page end"
    )


@pytest.mark.parametrize(
    ("text", "extracted"),
    [
        ("# One\n# Two\ntext", Extracted("One", "Two\ntext")),
        ("text\n\n### Deep ###\nmore", Extracted("Deep", "text\n\nmore")),
        ("#hashtag\ntext", Extracted("", "#hashtag\ntext")),
        ("#\ntext", Extracted("", "text")),
        ("# #\n## C# ##\ntext", Extracted("C#", "text")),
        ("Under\n---\ntext", Extracted("Under", "text")),
        ("", Extracted("", "")),
        (
            "**bold *inner* end** and <b>tags</b> &amp; AT&amp;T&copy; ~~old~~",
            Extracted("", "bold inner end and tags & AT&T© old"),
        ),
        ("a<br>b<!-- remark --> c\\*d\\*", Extracted("", "a\nb c*d*")),
        ("- one\n  - two\n\n    more\n1. three\n   # Four", Extracted("Four", "- one\n  - two\n\nmore\n1. three")),
        ("| a | **b** |\n|---|---|\n| c \\| d | e |\n\nend", Extracted("", "a | b\nc | d | e\n\nend")),
        ("<div>\n<p>One <i>two</i></p>\n<script>var x;</script>\n</div>\n\nend", Extracted("", "One two\n\nend")),
        ("[a][1] [b] ![c *d*][1]\n\n[1]: http://x 'y'\n[b]: http://z", Extracted("", "a b c d")),
        (
            "    x = *a*\n\n      y\n\n> - quoted\n> ```\n> # code\n> ```",
            Extracted("", "x = *a*\n\n  y\n\n- quoted\n# code"),
        ),
        ("One *of*\ntwo\n===\r\nA  \r\nB", Extracted("One of two", "A\nB")),
        ("---\nnever closed", Extracted("", "never closed")),
        ("---\ntext between rules\n---\nmore", Extracted("text between rules", "more")),
        ("----\na: b\n---\nmore", Extracted("a: b", "more")),
    ],
)
def test_markdown_text_and_titles(text: str, extracted: Extracted) -> None:
    assert markdown(text) == extracted


@pytest.mark.parametrize(
    ("matter", "title", "metadata"),
    [
        (
            "title: The title\nyear: 1990\ncode: 007\nlang: 'en'\n# remark\n",
            "The title",
            {"year": 1990, "code": "007", "lang": "en"},
        ),
        ("title: T\ntags: [a, b]", "T", {"tags": ["a", "b"]}),
        ("tags:\n  - a\n  - b: {c: 1.5}", "H", {"tags": ["a", {"b": {"c": 1.5}}]}),
        (
            "date: 2026-01-31\nat: 2026-01-31 10:00:00\nlength: 1:30",
            "H",
            {"date": "2026-01-31", "at": "2026-01-31 10:00:00", "length": "1:30"},
        ),
        (
            "draft: true\nold: False\ncountry: no\non: yes",
            "H",
            {"draft": True, "old": False, "country": "no", "on": "yes"},
        ),
        (
            "a: -3\nb: 2.50\nc: 1e3\nd: 0x1F\ne: .inf\nf: 1_000",
            "H",
            {"a": -3, "b": 2.5, "c": 1000.0, "d": "0x1F", "e": ".inf", "f": "1_000"},
        ),
        ("a:\nb: ~\nc: 'null'\nd: \"\"", "H", {"a": None, "b": None, "c": "null", "d": ""}),
        (
            "text: |\n  two\n  lines\nfolded: >-\n  one\n  line\n1990: x\n",
            "H",
            {"text": "two\nlines\n", "folded": "one line", "1990": "x"},
        ),
        (
            "title: 1984\nauthor: &who {name: Lin}\neditor: *who",
            "1984",
            {"author": {"name": "Lin"}, "editor": {"name": "Lin"}},
        ),
        ("title: [no, text]", "H", {"title": ["no", "text"]}),
        ("title: ''\nid: !!str 12", "H", {"title": "", "id": "12"}),
        ("# nothing", "H", {}),
        ("", "H", {}),
    ],
)
def test_front_matter(matter: str, title: str, metadata: dict[str, object]) -> None:
    rest = "# H\ntext"
    found = markdown(f"---\n{matter}\n---  \n{rest}")
    assert found == Extracted(title, "text" if title == "H" else "H\ntext", metadata)
    assert found == markdown(f"---\n{matter}\n...\n{rest}")
    assert Document("a", found.text, found.title, found.metadata).metadata == metadata


@pytest.mark.parametrize(
    ("matter", "line", "message"),
    [
        ("a: 1\nb: [1, 2\nc: 3", 4, "not YAML"),
        ("a: 1\nb: c: d", 3, "mapping values are not allowed"),
        ("\ta: 1", 2, "cannot start any token"),
        ("a: 1\nb: \x00", 3, "character"),
        ("a: 1\n\na: 2", 4, "the field 'a' twice"),
        ("a: !!python/object:os.system 1", 2, "python/object"),
        ("a: !mine 1", 2, "!mine"),
        ("a: !!int x", 2, "'x' in the front matter is not a number"),
        ("? [a, b]\n: 1", 2, "no plain name"),
        ("a: &a [*a]", 2, "32 levels"),
        ("a: " + "[" * 5000 + "]" * 5000, 2, "nesting depth"),
        (
            "\n".join(["a0: &a0 [x]"] + [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 9)]),
            2,
            "10,000 values",
        ),
    ],
)
def test_front_matter_that_cannot_be_read_is_told_with_its_line(matter: str, line: int, message: str) -> None:
    with pytest.raises(FrontMatterError, match=message) as caught:
        markdown(f"---\n{matter}\n---\ntext")
    assert caught.value.line == line


def test_deep_nesting_is_no_crash() -> None:
    assert markdown("> " * 90 + "deep").text == "deep"
    assert markdown("> " * 10_000 + "deeper\n\nend").text == "end"
    assert "deep" in markdown("[" * 10_000 + "deep").text


HTML = """<!DOCTYPE html><html><head><title> The
  title </title><style>p { color: red }</style><script>var a = "<p>";</script></head>
<body><nav><a href="/">Home</a></nav><h1>Heading</h1><p>H<sub>2</sub>O &amp; <b>bold</b>ly</p>
<ul><li>one<li>two</ul><table><tr><td>1<td>2</table>a<br>b<!-- remark --><script>x()</script>
<pre>line 1
  line 2</pre><noscript>no</noscript><template>no</template></body></html>"""


def test_html() -> None:
    assert html(HTML) == Extracted("The title", "Heading\nH2O & boldly\none\ntwo\n1\n2\na\nb\nline 1\nline 2")


@pytest.mark.parametrize(
    ("text", "extracted"),
    [
        ("<h1>A <i>b</i></h1><p>text</p>", Extracted("A b", "text")),
        ("<title></title><h1>A</h1>text", Extracted("A", "text")),
        ("just text", Extracted("", "just text")),
        ("", Extracted("", "")),
        ("<frameset><frame src=x></frameset>", Extracted("", "")),
        ("<svg><title>No</title></svg>text", Extracted("", "text")),
        ("<p>unclosed <div><b>tags", Extracted("", "unclosed\ntags")),
        ("<head><title>T</title></head>a&nbsp;b\u00a0c", Extracted("T", "a b c")),
    ],
)
def test_html_titles_and_oddities(text: str, extracted: Extracted) -> None:
    assert html(text) == extracted


def test_encodings() -> None:
    assert decode("é".encode("utf-16")) == "é"
    assert decode(b"\xef\xbb\xbfx") == "x"
    page = b'<meta http-equiv="Content-Type" content="text/html; charset=ISO-8859-1"><p>caf\xe9'
    assert decode(page, html=True).endswith("café")
    assert decode(page.replace(b"ISO-8859-1", b"utf-8").replace(b"\xe9", "é".encode()), html=True).endswith("é")
    for content, is_html in ((page, False), (b"caf\xe9", True), (b"<meta charset=no-such>\xe9", True)):
        with pytest.raises(UnicodeDecodeError):
            decode(content, html=is_html)


@given(st.text(max_size=60) | st.text("#*_`[]()<>-=~> \n!:\"'a&/ph1", max_size=60))
def test_any_text_is_markdown_and_html(text: str) -> None:
    if not text.startswith("---") and "\0" not in text and not re.search("&.*;", text):
        found = markdown(text)
        # Marks are taken away, nothing is added or moved: both are what is left of the input.
        for part in (found.title, found.text):
            characters = iter(text)
            assert all(character in characters for character in part if not character.isspace())
    assert isinstance(html(text), Extracted)


@pytest.mark.slow
@pytest.mark.parametrize("mark", ["`", "*", "_", "#", ">", "[", "![", "](", "<", "- ", "# ", " ", "<b>", "&"])
def test_long_runs_of_marks_take_no_time(mark: str) -> None:
    # Each would take hours if a pattern backtracked over the whole run again and again; the suite's timeout tells.
    run = mark * 50_000
    for text in (run, f"# {run}x", f"a {run} b"):
        markdown(text)
        html(text)
