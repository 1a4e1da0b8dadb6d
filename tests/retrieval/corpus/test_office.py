"""PDF and Word files in a folder, made by the libraries that read them, or by hand."""

from __future__ import annotations

from pathlib import Path

import docx
import pypdf
import pytest

from lexhound.retrieval import Document
from lexhound.retrieval.corpus import BadRow, office, open_corpus


def write_pdf(path: Path, lines: list[str], title: str = "", password: str = "") -> None:
    """Write a PDF of one page a line, in a font that every reader has."""
    objects = ["<< /Type /Catalog /Pages 2 0 R >>"]
    kids = " ".join(f"{4 + 2 * number} 0 R" for number in range(len(lines)))
    objects.append(f"<< /Type /Pages /Kids [{kids}] /Count {len(lines)} >>")
    objects.append("<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>")
    for number, line in enumerate(lines):
        stream = f"BT /F1 12 Tf 72 720 Td ({line}) Tj ET" if line else ""
        objects.append(
            f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents {5 + 2 * number} 0 R"
            " /Resources << /Font << /F1 3 0 R >> >> >>"
        )
        objects.append(f"<< /Length {len(stream)} >>\nstream\n{stream}\nendstream")
    content = b"%PDF-1.4\n"
    offsets = []
    for number, text in enumerate(objects, 1):
        offsets.append(len(content))
        content += f"{number} 0 obj\n{text}\nendobj\n".encode()
    start = len(content)
    content += f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n".encode()
    content += b"".join(f"{offset:010} 00000 n \n".encode() for offset in offsets)
    content += f"trailer << /Size {len(objects) + 1} /Root 1 0 R >>\nstartxref\n{start}\n%%EOF\n".encode()
    path.write_bytes(content)
    if title or password:
        writer = pypdf.PdfWriter(clone_from=path)
        if title:
            writer.add_metadata({"/Title": title})
        if password:
            writer.encrypt(password, algorithm="RC4-128")
        writer.write(path)


def write_docx(path: Path) -> None:
    document = docx.Document()
    document.add_heading("Boundary layers", 1)
    document.add_paragraph("Heat transfer in a boundary layer.")
    table = document.add_table(rows=1, cols=2)
    table.rows[0].cells[0].text, table.rows[0].cells[1].text = "year", "1958"
    document.save(str(path))


def test_a_folder_of_office_files(tmp_path: Path) -> None:
    write_pdf(tmp_path / "a.pdf", ["Hypersonic flow", "Second page"], title="Flows")
    write_pdf(tmp_path / "b.PDF", ["Untitled text"])
    write_docx(tmp_path / "c.docx")
    (tmp_path / "d.txt").write_text("plain")
    assert list(open_corpus(tmp_path)) == [
        Document("a.pdf", "Hypersonic flow\n\nSecond page", "Flows"),
        Document("b.PDF", "Untitled text", "b"),
        Document("c.docx", "Boundary layers\n\nHeat transfer in a boundary layer.\n\nyear\t1958", "Boundary layers"),
        Document("d.txt", "plain", "d"),
    ]


def test_files_that_cannot_be_read_are_bad_rows(tmp_path: Path) -> None:
    write_pdf(tmp_path / "a-scan.pdf", [""])
    write_pdf(tmp_path / "b-locked.pdf", ["locked"], password="x")  # noqa: S106
    write_pdf(tmp_path / "c-cut.pdf", ["text"])
    (tmp_path / "c-cut.pdf").write_bytes((tmp_path / "c-cut.pdf").read_bytes()[:40])
    (tmp_path / "d.docx").write_bytes(b"PK no zip")
    (tmp_path / "e.pdf").write_bytes(b"")
    rows = list(open_corpus(tmp_path))
    assert all(isinstance(row, BadRow) for row in rows)
    for row, says in zip(rows, ("no text", "password", "PDF", "Word", "PDF"), strict=True):
        assert isinstance(row, BadRow)
        assert says in row.reason, row
        assert row.hint


def test_without_the_packages_they_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_pdf(tmp_path / "a.pdf", ["text"])
    write_docx(tmp_path / "b.docx")
    (tmp_path / "d.txt").write_text("plain")
    monkeypatch.setattr(office, "find_spec", lambda name: None)
    corpus = open_corpus(tmp_path)
    assert [row.id for row in corpus if isinstance(row, Document)] == ["d.txt"]
    (notice,) = corpus.notices()
    assert "2 files are of a kind that is not read: 1 .docx, 1 .pdf" in notice or "1 .pdf, 1 .docx" in notice
    assert "pip install 'lexhound[documents]'" in notice
