"""SPLADE vectors against the formula in plain torch, whatever the batch; identities and loading."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from tiny_checkpoints import build_tiny_masked_lm, vocabulary

from lexhound.encoders.base import EncoderIdentity, SparseEncoder
from lexhound.encoders.bm25.encoder import LexicalEncoder
from lexhound.encoders.bm25.settings import LexicalSettings
from lexhound.encoders.bm25.vocabulary import MemoryVocabulary
from lexhound.encoders.errors import IdentityError, SettingsError, UnknownEncoderError
from lexhound.encoders.load import load_encoder
from lexhound.encoders.sparse.encoder import LearnedEncoder
from lexhound.encoders.sparse.settings import LearnedSettings

TEXTS = [
    "heat transfer in hypersonic flow",
    "",
    "the cat sat on the mat. " * 30,  # longer than the model takes
    "Boundary-layer separation; 42?",
    "wing",
    "日本 \ud800 \0 the flow",
    "laminar flow over a flat plate with heat transfer at high mach number and low pressure",
]
# Float32 rounding moves with the shape of a batch: some 1e-6 here. The module promises 1e-4.
CLOSE = 1e-5


@pytest.fixture(scope="session")
def tiny_masked_lm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_tiny_masked_lm(tmp_path_factory.mktemp("checkpoints") / "tiny-splade")


@pytest.fixture(scope="session")
def encoder(tiny_masked_lm: Path) -> LearnedEncoder:
    return LearnedEncoder(tiny_masked_lm, LearnedSettings(device="cpu", precision="float32"))


def oracle(folder: Path, text: str, max_length: int = 64) -> np.ndarray:
    """The formula over the whole model's logits, one text at a time, as the paper writes it."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModelForMaskedLM.from_pretrained(folder).eval()
    text = text.replace("\ud800", "\ufffd")
    encoded = tokenizer(text, truncation=True, max_length=max_length, return_tensors="pt", return_token_type_ids=False)
    with torch.no_grad():
        logits = model(**encoded).logits
    weights = (torch.log1p(torch.relu(logits)) * encoded["attention_mask"].unsqueeze(-1)).amax(dim=1)[0].numpy()
    special = set(tokenizer.all_special_ids)
    weights[list(special)] = 0.0
    weights[len(tokenizer) :] = 0.0
    if special.issuperset(encoded["input_ids"][0].tolist()):
        weights[:] = 0.0
    return weights


def same(vectors: np.ndarray, expected: np.ndarray) -> None:
    np.testing.assert_allclose(vectors, expected, rtol=0, atol=CLOSE)


@pytest.mark.parametrize("architecture", ["bert", "distilbert", "roberta"])
def test_vectors_equal_the_formula(tmp_path: Path, architecture: str) -> None:
    folder = build_tiny_masked_lm(tmp_path / architecture, seed=3, architecture=architecture, vocabulary_size=208)
    encoder = LearnedEncoder(folder, LearnedSettings(batch_tokens=150, device="cpu", precision="float32"))
    vectors = encoder.encode_documents(TEXTS)
    expected = np.stack([oracle(folder, text) for text in TEXTS])
    assert (expected > 0).any(axis=1).tolist() == [True, False, True, True, True, True, True]
    assert (expected == 0).sum() > 208 * 2  # so that sparsity is really seen
    same(vectors.toarray(), expected)


def test_document_vectors_keep_the_contract(encoder: LearnedEncoder) -> None:
    vectors = encoder.encode_documents(TEXTS)
    assert isinstance(encoder, SparseEncoder)
    assert vectors.shape == (len(TEXTS), len(vocabulary()))
    assert vectors.dtype == np.float32
    assert vectors.has_canonical_format
    assert (vectors.data > 0).all()
    assert encoder.encode_documents([]).shape == (0, len(vocabulary()))
    assert encoder.encode_documents(["", ""]).nnz == 0


def test_special_tokens_never_become_terms(encoder: LearnedEncoder) -> None:
    vectors = encoder.encode_documents([*TEXTS, "[SEP] flow [MASK] [CLS] [PAD] [UNK]"])
    assert set(vectors.indices) > {len(vocabulary()) - 1}
    assert not set(vectors.indices) & {0, 1, 2, 3, 4}


def test_progress_is_told_after_every_batch(tiny_masked_lm: Path) -> None:
    encoder = LearnedEncoder(tiny_masked_lm, LearnedSettings(device="cpu", precision="float32", batch_tokens=64))
    told: list[tuple[float, int]] = []
    vectors = encoder.encode_documents(TEXTS, lambda share: told.append((share, encoder.tokens_encoded)))
    assert len(told) >= 2
    assert told == sorted(told)
    assert told[-1] == (1.0, encoder.tokens_encoded)
    for share, tokens in told:
        assert share == tokens / encoder.tokens_encoded
    same(vectors.toarray(), encoder.encode_documents(TEXTS).toarray())


def test_a_vector_does_not_depend_on_its_batch(tiny_masked_lm: Path, encoder: LearnedEncoder) -> None:
    together = encoder.encode_documents(TEXTS).toarray()
    for row, text in enumerate(TEXTS):
        same(encoder.encode_documents([text]).toarray()[0], together[row])
    small = LearnedEncoder(tiny_masked_lm, LearnedSettings(batch_tokens=70, device="cpu", precision="float32"))
    same(small.encode_documents(TEXTS[::-1]).toarray()[::-1], together)


def test_queries_are_encoded_as_documents_are(encoder: LearnedEncoder) -> None:
    expected = encoder.encode_documents(TEXTS).toarray()
    for row, (terms, weights) in enumerate(encoder.encode_queries(TEXTS)):
        assert (terms.dtype, weights.dtype) == (np.int32, np.float32)
        assert (np.diff(terms) > 0).all()
        dense = np.zeros(expected.shape[1], np.float32)
        dense[terms] = weights
        same(dense, expected[row])
    terms, weights = encoder.encode_query(TEXTS[0])
    np.testing.assert_array_equal(terms, np.flatnonzero(expected[0]))
    same(weights, expected[0][terms])
    assert encoder.encode_queries([]) == []


def test_the_heaviest_terms_are_kept(tiny_masked_lm: Path, encoder: LearnedEncoder) -> None:
    pruned = LearnedEncoder(tiny_masked_lm, LearnedSettings(top_k=5, query_top_k=2, device="cpu", precision="float32"))
    for row, whole in enumerate(encoder.encode_documents(TEXTS).toarray()):
        vector = pruned.encode_documents([TEXTS[row]]).toarray()[0]
        kept = np.flatnonzero(vector)
        assert len(kept) == (5 if whole.any() else 0)
        same(vector[kept], whole[kept])
        assert set(kept) == set(np.argsort(-whole, kind="stable")[: len(kept)])
    assert [len(terms) for terms, _ in pruned.encode_queries(TEXTS)] == [2, 0, 2, 2, 2, 2, 2]


def test_long_texts_are_cut(tiny_masked_lm: Path) -> None:
    short = LearnedEncoder(
        tiny_masked_lm, LearnedSettings(max_length=6, device="cpu", precision="float32")
    )  # four tokens and two special
    one, other = short.encode_documents(["heat transfer in flow", "heat transfer in flow over a wing"]).toarray()
    same(one, other)
    same(one, oracle(tiny_masked_lm, "heat transfer in flow over a wing", max_length=6))
    same(short.encode_documents(["heat transfer in flow " + "word " * 200_000]).toarray()[0], one)


def test_encoding_is_safe_from_several_threads(encoder: LearnedEncoder) -> None:
    from concurrent.futures import ThreadPoolExecutor

    expected = encoder.encode_documents(TEXTS).toarray()
    with ThreadPoolExecutor(4) as pool:
        for vectors in pool.map(lambda _: encoder.encode_documents(TEXTS).toarray(), range(12)):
            same(vectors, expected)


def test_spans_and_term_texts(encoder: LearnedEncoder) -> None:
    text = "Flowing heat\ud800, the Wing [SEP]"
    spans = [(text[start:end], encoder.term_text(term)) for start, end, term in encoder.spans(text)]
    assert spans == [("Flow", "flow"), ("ing", "##ing"), ("heat", "heat"), (",", ","), ("the", "the"), ("Wing", "wing")]
    assert len(encoder.spans("flow " * 500)) == 500  # also where the vector no longer looks
    for missing in (-1, len(vocabulary())):
        with pytest.raises(IndexError):
            encoder.term_text(missing)


# Identity and loading


def test_identity_names_the_files_and_what_changes_vectors(tiny_masked_lm: Path, tmp_path: Path) -> None:
    identity = LearnedEncoder(tiny_masked_lm, LearnedSettings(batch_tokens=40)).identity
    assert (identity.kind, identity.name) == ("splade", str(tiny_masked_lm.resolve()))
    assert identity.vocabulary_size == len(vocabulary())
    assert EncoderIdentity.from_json(identity.to_json()) == identity

    moved = Path(shutil.copytree(tiny_masked_lm, tmp_path / "moved"))
    (moved / "README.md").write_text("notes")
    assert LearnedEncoder(moved, LearnedSettings(batch_tokens=9)).identity.same_vectors(identity)
    assert not LearnedEncoder(moved, LearnedSettings(top_k=9)).identity.same_vectors(identity)
    other = LearnedEncoder(build_tiny_masked_lm(tmp_path / "other", seed=1)).identity
    assert not other.same_vectors(identity)


def test_load_by_name_and_by_identity(tiny_masked_lm: Path) -> None:
    first = load_encoder(tiny_masked_lm, learned_settings=LearnedSettings(top_k=7, query_top_k=3))
    again = load_encoder(first.identity, learned_settings=LearnedSettings(batch_tokens=1))
    assert isinstance(again, LearnedEncoder)
    assert again.identity == first.identity
    assert (again.settings.top_k, again.settings.batch_tokens) == (7, 1)
    assert isinstance(load_encoder(str(tiny_masked_lm)), LearnedEncoder)

    lexical = load_encoder("bm25", vocabulary=MemoryVocabulary(), lexical_settings=LexicalSettings(k1=2))
    assert isinstance(lexical, LexicalEncoder)
    assert lexical.settings.k1 == 2
    again = load_encoder(lexical.identity, vocabulary=MemoryVocabulary())
    assert again.identity == lexical.identity


def test_an_identity_whose_files_changed_is_refused(tmp_path: Path) -> None:
    folder = build_tiny_masked_lm(tmp_path / "model")
    identity = load_encoder(folder).identity
    build_tiny_masked_lm(folder, seed=5)
    changed = load_encoder(identity)
    assert isinstance(changed, LearnedEncoder)
    with pytest.raises(IdentityError, match="no longer the encoder"):
        changed.prepare()


def test_identities_that_nothing_here_can_load() -> None:
    with pytest.raises(UnknownEncoderError, match="'dense'"):
        load_encoder(EncoderIdentity("dense", "x", "f"))
    with pytest.raises(IdentityError, match="settings of bm25"):
        load_encoder(EncoderIdentity("bm25", "bm25", "f", None, {"colour": 1}), vocabulary=MemoryVocabulary())
    with pytest.raises(SettingsError, match="no vocabulary"):
        load_encoder("bm25")
    with pytest.raises(UnknownEncoderError, match="no name"):
        load_encoder(" ")


@pytest.mark.parametrize(
    "values",
    [
        {"max_length": 2},
        {"batch_tokens": 0},
        {"top_k": 0},
        {"query_top_k": -1},
        {"top_k": 1.5},
        {"device": "tpu"},
        {"ratio": 1},
        {"query_ratio": -0.1},
        {"long_texts": "guess"},
        {"precision": "int4"},
        {"pooling": "mean"},
        {"activation": "tanh"},
        {"trust_remote_code": 1},
    ],
)
def test_settings_out_of_range(values: dict[str, object]) -> None:
    (name,) = values
    with pytest.raises(SettingsError, match=f"^{name} is"):
        LearnedSettings(**values)  # type: ignore[arg-type]


def test_a_device_that_is_not_there(tiny_masked_lm: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(SettingsError, match="no cuda device"):
        LearnedEncoder(tiny_masked_lm, LearnedSettings(device="cuda")).prepare()


def test_windows_miss_nothing_of_a_long_text(tiny_masked_lm: Path) -> None:
    windows = LearnedEncoder(
        tiny_masked_lm, LearnedSettings(max_length=6, long_texts="windows", device="cpu", precision="float32")
    )  # four tokens and two special
    parts = ["heat transfer in flow", "wind of the tunnel", "low pressure"]
    found = windows.encode_documents([" ".join(parts), parts[1], ""]).toarray()
    same(found[0], np.stack([oracle(tiny_masked_lm, part) for part in parts]).max(axis=0))
    same(found[1], oracle(tiny_masked_lm, parts[1]))
    assert not found[2].any()


def test_light_terms_are_dropped(tiny_masked_lm: Path, encoder: LearnedEncoder) -> None:
    settings = LearnedSettings(ratio=0.6, query_ratio=0.9, top_k=30, device="cpu", precision="float32")
    pruned = LearnedEncoder(tiny_masked_lm, settings)
    whole = encoder.encode_documents(TEXTS).toarray()
    found = pruned.encode_documents(TEXTS).toarray()
    for row, (before, after) in enumerate(zip(whole, found, strict=True)):
        kept = (before >= 0.6 * before.max()) & (before > 0)
        assert 0 < (after > 0).sum() <= min(30, kept.sum()) or not before.any()
        same(after[after > 0], before[after > 0])
        terms, _ = pruned.encode_query(TEXTS[row])
        np.testing.assert_array_equal(terms, np.flatnonzero((before >= 0.9 * before.max()) & (before > 0)))


def test_bfloat16_stays_close(tiny_masked_lm: Path, encoder: LearnedEncoder) -> None:
    half = LearnedEncoder(tiny_masked_lm, LearnedSettings(device="cpu", precision="bfloat16"))
    exact = encoder.encode_documents(TEXTS).toarray().astype(np.float64)
    found = half.encode_documents(TEXTS).toarray()
    for before, after in zip(exact, found, strict=True):
        if before.any():
            assert before @ after / np.linalg.norm(before) / np.linalg.norm(after) > 0.999


def test_a_megabyte_of_one_word(encoder: LearnedEncoder) -> None:
    long, whole = encoder.encode_documents(["flow " * 200_000, "flow " * 62]).toarray()
    same(long, whole)
    terms, _ = encoder.encode_query("x" * 1_000_000)
    assert not len(terms)  # one word that is too long for a WordPiece


def test_memory_that_does_not_suffice(tiny_masked_lm: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from lexhound.encoders.errors import EncoderError
    from lexhound.encoders.sparse.bert import BertEncoder

    scarce = LearnedEncoder(tiny_masked_lm, LearnedSettings(device="cpu", precision="float32"))
    whole = BertEncoder.states
    sizes = []

    def states(self: BertEncoder, pieces: list[list[int]]) -> tuple[list[list[int]], np.ndarray]:
        sizes.append(len(pieces))
        if len(pieces) > limit:
            raise MemoryError
        return whole(self, pieces)

    monkeypatch.setattr(BertEncoder, "states", states)
    limit = 2
    same(scarce.encode_documents(TEXTS).toarray(), np.stack([oracle(tiny_masked_lm, text) for text in TEXTS]))
    assert max(sizes) > 2
    limit = 0
    with pytest.raises(EncoderError, match="not enough memory to encode a single text"):
        scarce.encode_documents(TEXTS)
