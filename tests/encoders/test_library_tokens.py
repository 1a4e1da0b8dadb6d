"""Tokens that another version of tokenizers would make are refused: learned encoders, dense ones, tables of queries."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tiny_checkpoints import build_tiny_embedding_model, build_tiny_masked_lm, build_tiny_term_weighting

from lexhound.encoders.base import EncoderIdentity
from lexhound.encoders.dense.encoder import DenseEncoder
from lexhound.encoders.dense.static_queries import StaticQueryEmbeddings, fit
from lexhound.encoders.errors import IdentityError
from lexhound.encoders.sparse.encoder import LearnedEncoder, _fingerprint

MESSAGE = r"tokens that are stored are those of tokenizers 0\.1, and tokenizers \S+, which is here, makes others"


def by_another_version(identity: EncoderIdentity) -> EncoderIdentity:
    parts = {name: "0" if "tokens" in name else digest for name, digest in identity.parts.items()}
    assert parts != identity.parts
    return replace(identity, parts=parts, libraries={"tokenizers": "0.1"})


@pytest.mark.parametrize("kind", ["splade", "deepimpact"])
def test_a_learned_encoder(kind: str, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    made = build_tiny_masked_lm(folder) if kind == "splade" else build_tiny_term_weighting(folder, kind)
    identity = LearnedEncoder(made).identity
    assert set(identity.libraries) == {"tokenizers"}
    assert len(LearnedEncoder(made, identity=identity).encode_query("heat flow")[0])
    layout = LearnedEncoder(made).layout

    def whole(changed: EncoderIdentity) -> EncoderIdentity:
        return replace(changed, fingerprint=_fingerprint(layout, dict(changed.settings), changed.parts))

    older = {name: digest for name, digest in identity.parts.items() if "tokens" not in name}
    LearnedEncoder(made, identity=whole(replace(identity, parts=older, libraries={}))).encode_query("heat flow")
    other = whole(by_another_version(identity))
    with pytest.raises(IdentityError, match=MESSAGE):
        LearnedEncoder(made, identity=other).encode_documents(["heat"])
    with pytest.raises(IdentityError, match=MESSAGE):
        LearnedEncoder(made, identity=other).encode_query("heat")


def test_a_dense_encoder_and_its_table(tmp_path: Path) -> None:
    made = build_tiny_embedding_model(tmp_path / "model")
    encoder = DenseEncoder(made)
    identity = encoder.identity
    assert DenseEncoder(made, identity=identity).encode_query("heat").shape == (32,)
    with pytest.raises(IdentityError, match=MESSAGE):
        DenseEncoder(made, identity=by_another_version(identity)).encode_query("heat")
    texts = ["heat flow", "a wing", "the drag of a plate"] * 10
    fit(encoder, texts, encoder.encode_documents(texts)).save(tmp_path / "table")
    assert np.isfinite(StaticQueryEmbeddings.open(tmp_path / "table").encode_queries(["heat"])).all()
    about = tmp_path / "table" / "query_table.json"
    values = json.loads(about.read_bytes())
    del values["checksums"][about.name]  # as earlier versions wrote it; it would tell the change too
    about.write_text(json.dumps(values | {"tokens": "0", "tokenizers": "0.1"}))
    with pytest.raises(
        IdentityError, match=r"was made with tokenizers 0\.1, and .*Make it again with `lexhound fit-static-queries"
    ):
        StaticQueryEmbeddings.open(tmp_path / "table")
    del values["tokens"], values["tokenizers"]  # earlier versions had none
    about.write_text(json.dumps(values))
    StaticQueryEmbeddings.open(tmp_path / "table")
