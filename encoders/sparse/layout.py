"""The document encoder and the query encoder of a sparse encoder (Nguyen et al., "A Unified Framework for Learned
Sparse Retrieval", ECIR 2023, section 3).
"""

from __future__ import annotations

from dataclasses import Field, asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from lexhound.encoders.checkpoints.hub import SURFACE_MATCH_FILE, files_hash
from lexhound.encoders.latent.token_latents import LatentSaturation

from .exact_terms import ExactTermBoost

KINDS = ("mlm", "regression", "table", "autoencoder")


@dataclass(frozen=True, slots=True)
class EncoderLayout:
    """The document encoder or the query encoder, as a folder describes it.

    `lexhound_encoder.json` has the same keys, but for `written` (exact_terms) and `shares` (surface_match).

    Attributes:
        kind: "mlm" (a language model's head over the vocabulary), "regression" (one weight a token of the text),
            "table" (one weight a token of the vocabulary, no model) or "autoencoder" (latents of a text's dense vector,
            or of its tokens' states: `lexhound.encoders.latent`).
        folder: where its files lie, relative to the encoder's folder; "" is that folder itself.
        pooling: "max", "sum" or "cls" of an mlm encoder; "max", "sum" or "first" of a regression encoder: how the
            occurrences of a token are pooled. Of an autoencoder: "mean", "cls" or "lasttoken", how tokens become the
            dense vector; or "sum", whose latents are those of each token, summed over the text.
        activation: one of `encoders.runtime.pooling.ACTIVATIONS`; None for the usual one (log1p_relu of an mlm
            encoder, relu of a regression encoder).
        weights: of a table, the file in `folder` that holds them; None for 1 each (presence).
        counted: of a table, whether a token that occurs n times weighs n**power times as much.
        power: see `counted`; below 1, words that a long query repeats do not drown the others.
        common: of a table of idf weights with a prior, leave tokens that more than this share of documents hold out of
            a query, where a rarer one remains: they cost the most and say the least. 0 for all tokens.
        surface_match: of a table with a prior, whether `shares.safetensors` in `folder` holds each token's
            surface-match ratio (`encoders.sparse.exact_terms`); without it every ratio is 1.
        prior: of a table of idf weights, or of latents of tokens that have an idf, how many documents it counts for
            beside those of the collection that is searched, whose own document frequencies then make the weights
            (`encoders.sparse.live_idf`); 0 for the table as it stands, and for latents that idf does not weigh.
        echo: of an mlm encoder, give the text twice and pool over the second copy: in a decoder-only model the first
            copy's tokens do not see what follows (Springer et al., "Repetition Improves Language Model Embeddings",
            2024; Doshi et al., "Mistral-SPLADE", 2024, section 3).
        adapter: folder of a LoRA adapter, relative to the encoder's folder, merged into the model's weights.
        expansion: folder of a masked language model whose `expansion_terms` likeliest terms that the text lacks are
            appended before the weights of its tokens are computed (exp-MLP; Zhuang & Zuccon, "TILDEv2", 2021, section
            3).
        dense: of an mlm encoder whose states were also trained to make dense vectors, how they are pooled ("mean"); see
            `lexhound.encoders.dense.layout`. None where they mean nothing.
        top_k, query_top_k: how many of a document's and of a query's heaviest terms are kept where the settings do not
            say; None for all.
        exact_terms: of an mlm encoder, the BM25 boost of a text's exact terms; None for none.
        latents: of an autoencoder, the folder of its weights, relative to the encoder's folder. Of an mlm document
            encoder and a table, the autoencoder of tokens whose latents follow the words, as terms of their own.
        latent_terms: of latents beside words, how many of a text's heaviest are kept; None for all.
        latent_weight: of a table, what the latents of a query are multiplied by beside its words.
        latent_prior: of a table, the `prior` of its latents.
        unit: of an autoencoder, whether the dense vector is brought to unit length first.
        token_k: of latents of tokens, how many a token keeps; None for the autoencoder's own number.
        saturation: of latents of tokens, how those of a document saturate; None for plain sums.
        prompt: put before every text.
        max_length: longest input in tokens, where the folder says one.
        lower_case: whether texts are lower-cased before they become tokens.
    """

    kind: str
    folder: str = ""
    pooling: str = "max"
    activation: str | None = None
    weights: str | None = None
    counted: bool = False
    power: float = 1.0
    common: float = 0.0
    surface_match: bool = field(default=False, metadata={"key": "shares"})
    prior: int = 0
    echo: bool = False
    adapter: str | None = None
    expansion: str | None = None
    expansion_terms: int = 128
    dense: str | None = None
    top_k: int | None = None
    query_top_k: int | None = None
    exact_terms: ExactTermBoost | None = field(default=None, metadata={"key": "written"})
    latents: str | None = None
    latent_terms: int | None = None
    latent_weight: float = 1.0
    latent_prior: int = 0
    unit: bool = False
    token_k: int | None = None
    saturation: LatentSaturation | None = None
    prompt: str = ""
    max_length: int | None = None
    lower_case: bool = False

    @property
    def of_tokens(self) -> bool:
        """Whether terms are latents of tokens' states."""
        return self.kind == "autoencoder" and self.pooling == "sum"

    @property
    def beside_words(self) -> bool:
        """Whether latents of tokens' states follow the words of a vocabulary."""
        return self.kind in ("mlm", "table") and self.latents is not None

    def as_dict(self) -> dict[str, Any]:
        """Return what differs from the defaults, for `lexhound_encoder.json` and fingerprints."""
        return {
            key_of(each): value
            for each, value in zip(fields(self), asdict(self).values(), strict=True)
            if value != each.default
        }

    def hash(self, root: Path) -> str:
        """Return a hex SHA-256 over the encoder's files."""
        if self.kind == "table":
            tables = [self.weights or "", *([SURFACE_MATCH_FILE] if self.surface_match else [])]
            latents = [] if self.latents is None else [files_hash(root / self.latents)[:32]]
            return "-".join([files_hash(root / self.folder, tables)[:32], *latents])
        folders = [self.folder, *(part for part in (self.adapter, self.expansion, self.latents) if part is not None)]
        boost = [] if self.exact_terms is None else [self.exact_terms.identity]
        return "-".join([*(files_hash(root / folder)[:32] for folder in folders), *boost])


def key_of(each: Field[Any]) -> str:
    """Return the key of a field of `EncoderLayout` in `lexhound_encoder.json`."""
    return str(each.metadata.get("key", each.name))


@dataclass(frozen=True, slots=True)
class Layout:
    """The document encoder and the query encoder in the folder `root`.

    Attributes:
        before: how earlier versions read the same folder, where that makes other vectors; collections made so go on so.
    """

    root: Path
    document: EncoderLayout
    query: EncoderLayout
    before: Layout | None = None

    @property
    def family(self) -> str:
        """What a person would call it; also the kind of its identity."""
        if self.document.echo:
            return "decoder"
        if self.document.beside_words:
            return "words-and-latents"
        if self.document.kind == "mlm":
            return {"mlm": "splade", "table": "inference-free"}.get(self.query.kind, "mixed")
        return {"regression": "term-weighting", "autoencoder": "latent"}.get(self.document.kind, "table")


FAMILIES = ("splade", "inference-free", "term-weighting", "decoder", "table", "mixed", "latent", "words-and-latents")
