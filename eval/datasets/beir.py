"""The sets of the BEIR benchmark: their names, their published places, sizes and checksums.

Names, addresses and MD5 sums are those of the table in the BEIR project's README; the sizes in bytes are
those that the `ir_datasets` package records for the same archives.
"""

from __future__ import annotations

from dataclasses import dataclass

from lexhound.core.suggestions import nearest
from lexhound.eval.errors import UnknownDatasetError

ADDRESS = "https://public.ukp.informatik.tu-darmstadt.de/thakur/BEIR/datasets/{name}.zip"

FORUMS = (
    "android",
    "english",
    "gaming",
    "gis",
    "mathematica",
    "physics",
    "programmers",
    "stats",
    "tex",
    "unix",
    "webmasters",
    "wordpress",
)


@dataclass(frozen=True, slots=True)
class PublicSet:
    """One set of the benchmark.

    Attributes:
        name: BEIR's name for it, also the name of its archive and of the folder inside.
        queries: judged queries of the usual split.
        documents: size of the corpus, as published (rounded).
        md5: of the archive; empty where the set is not public.
        archive_bytes: size of the archive; 0 where the set is not public.
        split: the split that is published figures' basis: `test`, for MS MARCO `dev`.
        parts: sub-folders that are sets of their own, whose mean is the figure (CQADupStack's forums).
        obtain: for sets whose licence forbids copies: who gives them out.
    """

    name: str
    queries: int
    documents: str
    md5: str = ""
    archive_bytes: int = 0
    split: str = "test"
    parts: tuple[str, ...] = ()
    obtain: str = ""

    @property
    def public(self) -> bool:
        """Whether the archive may be downloaded by anyone."""
        return bool(self.md5)

    @property
    def address(self) -> str:
        """Where the archive is published."""
        return ADDRESS.format(name=self.name)


_SETS = (
    PublicSet("msmarco", 6_980, "8.84M", "444067daf65d982533ea17ebd59501e4", 1_082_258_632, split="dev"),
    PublicSet("trec-covid", 50, "171K", "ce62140cb23feb9becf6270d0d1fe6d1", 73_876_720),
    PublicSet("nfcorpus", 323, "3.6K", "a89dba18a62ef92f7d323ec890a0d38d", 2_448_432),
    PublicSet("bioasq", 500, "14.91M", obtain="the BioASQ challenge (task 8b and its PubMed baseline)"),
    PublicSet("nq", 3_452, "2.68M", "d4d3d2e48787a744b6f6e691ff534307", 498_307_926),
    PublicSet("hotpotqa", 7_405, "5.23M", "f412724f78b0d91183a0e86805e16114", 654_025_350),
    PublicSet("fiqa", 648, "57K", "17918ed23cd04fb15047f73e6c3bd9d9", 17_948_027),
    PublicSet("signal1m", 97, "2.86M", obtain="Signal AI (the Signal-1M related tweets collection)"),
    PublicSet("trec-news", 57, "595K", obtain="NIST (the TREC Washington Post collection)"),
    PublicSet("robust04", 249, "528K", obtain="NIST (TREC disks 4 and 5)"),
    PublicSet("arguana", 1_406, "8.67K", "8ad3e3c2a5867cdced806d6503f29b99", 3_773_617),
    PublicSet("webis-touche2020", 49, "382K", "46f650ba5a527fc69e0a6521c5a23563", 227_132_363),
    PublicSet("cqadupstack", 13_145, "457K", "4e41456d7df8ee7760a7f866133bda78", 5_343_728_040, parts=FORUMS),
    PublicSet("quora", 10_000, "523K", "18fb154900ba42a600f84b839c173167", 15_853_968),
    PublicSet("dbpedia-entity", 400, "4.63M", "c2a39eb420a3164af735795df012ac2c", 639_285_131),
    PublicSet("scidocs", 1_000, "25K", "38121350fc3a4d2f48850f6aff52e4a9", 142_471_588),
    PublicSet("fever", 6_666, "5.42M", "5a818580227bfb4b35bb6fa46d9b6c03", 1_236_988_269),
    PublicSet("climate-fever", 1_535, "5.42M", "8b66f0a9126c521bae2bde127b4dc99d", 1_228_666_652),
    PublicSet("scifact", 300, "5K", "5f7d1de60b170fc8027bb7898e2efca1", 2_816_079),
)

CATALOGUE = {entry.name: entry for entry in _SETS}

# What people also call them.
_ALIASES = {
    "touche": "webis-touche2020",
    "touche2020": "webis-touche2020",
    "touche-2020": "webis-touche2020",
    "dbpedia": "dbpedia-entity",
    "trec_covid": "trec-covid",
    "climate_fever": "climate-fever",
    "fiqa-2018": "fiqa",
    "signal-1m": "signal1m",
    "natural-questions": "nq",
    "ms-marco": "msmarco",
}


def find_public(name: str) -> PublicSet:
    """Return the set of that name (letter case does not matter, nor does a leading `beir/`).

    Raises:
        UnknownDatasetError: there is none; the message suggests the nearest names.
    """
    key = name.strip().lower().removeprefix("beir/").removeprefix("beir-")
    entry = CATALOGUE.get(_ALIASES.get(key, key))
    if entry is not None:
        return entry
    near = nearest(key, (*CATALOGUE, *_ALIASES))
    suggestion = f"Did you mean {' or '.join(near)}? " if near else ""
    raise UnknownDatasetError(
        f"{name!r} is neither a folder or file here nor a BEIR set",
        f"{suggestion}The sets are: {', '.join(CATALOGUE)}.",
    )
