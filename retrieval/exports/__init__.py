"""A collection in the form of another engine: `export_collection`; see docs/export.md."""

from .header import FORMATS, ExportHeader, read_header
from .importing import ImportReport, import_export
from .writing import ExportReport, export_collection

__all__ = [
    "FORMATS",
    "ExportHeader",
    "ExportReport",
    "ImportReport",
    "export_collection",
    "import_export",
    "read_header",
]
