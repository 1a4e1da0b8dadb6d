"""What a person names on the command line, as data sets: a folder, a file of judged queries, a BEIR set."""

from __future__ import annotations

from pathlib import Path

from lexhound.core.streams import find_compressed
from lexhound.eval.errors import DatasetError, UnknownDatasetError

from .beir import FORUMS
from .dataset import Dataset
from .folder import is_beir_folder, load_folder
from .own import load_judged_file
from .public import FetchOptions, FetchProgress, load_public


def open_dataset(
    name: str | Path,
    *,
    split: str | None = None,
    options: FetchOptions | None = None,
    progress: FetchProgress | None = None,
) -> list[Dataset]:
    """Return the data sets behind a name: usually one; twelve for CQADupStack.

    What exists here comes first: a folder in BEIR's layout (or a folder of CQADupStack's forums), then a
    file of judged queries; whatever is no path is looked up among the public sets. `split` is `test`
    unless the set's published figures rest on another one (MS MARCO: `dev`).

    Raises:
        DatasetError: what is there cannot be used.
        UnknownDatasetError: nothing is there, and no public set has the name (the nearest are suggested).
        DownloadError: the set has to be fetched, and cannot be.
    """
    path = Path(name).expanduser()
    if path.is_dir():
        return _open_folder(path, split or "test")
    if path.is_file():
        return [load_judged_file(path)]
    text = str(name)
    try:
        return load_public(text, split, options, progress)
    except UnknownDatasetError:
        if len(path.parts) > 1 or path.suffix:
            raise DatasetError(f"{path}: there is no such folder or file", "Check the path.") from None
        raise


def _open_folder(folder: Path, split: str) -> list[Dataset]:
    forums = [folder / forum for forum in FORUMS if find_compressed(folder / forum / "queries.jsonl") is not None]
    if forums and not is_beir_folder(folder):
        if len(forums) != len(FORUMS):
            lacking = sorted(set(FORUMS) - {forum.name for forum in forums})
            raise DatasetError(
                f"{folder}: CQADupStack is the mean of its {len(FORUMS)} forums, but {', '.join(lacking)} is not there",
                "Complete the folder, or name one forum's folder to evaluate that one alone.",
            )
        name = folder.resolve().name
        return [load_folder(forum, split, name=f"{name}/{forum.name}", group=name) for forum in forums]
    return [load_folder(folder, split)]
