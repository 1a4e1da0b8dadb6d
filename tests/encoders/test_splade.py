"""SPLADE vectors against the formula in plain torch, whatever the batch; and checkpoints that are none."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from lexhound.encoders.base import EncoderIdentity, SparseEncoder
from lexhound.encoders.errors import (
    CheckpointError,
    IdentityError,
    MissingExtraError,
    SettingsError,
    UnknownEncoderError,
)
from lexhound.encoders.lexical import LexicalEncoder, LexicalSettings
from lexhound.encoders.load import load_encoder
from lexhound.encoders.splade import SpladeEncoder, SpladeSettings
from lexhound.encoders.vocabulary import MemoryVocabulary
from tiny_checkpoints import build_tiny_masked_lm, save_tiny_tokenizer, vocabulary

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
def encoder(tiny_masked_lm: Path) -> SpladeEncoder:
    return SpladeEncoder(tiny_masked_lm, SpladeSettings(device="cpu"))


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
    encoder = SpladeEncoder(folder, SpladeSettings(batch_size=3, device="cpu"))
    assert encoder.max_length == 64
    vectors = encoder.encode_documents(TEXTS)
    expected = np.stack([oracle(folder, text) for text in TEXTS])
    assert (expected > 0).any(axis=1).tolist() == [True, False, True, True, True, True, True]
    assert (expected == 0).sum() > 208 * 2  # so that sparsity is really seen
    same(vectors.toarray(), expected)


def test_document_vectors_keep_the_contract(encoder: SpladeEncoder) -> None:
    vectors = encoder.encode_documents(TEXTS)
    assert isinstance(encoder, SparseEncoder)
    assert vectors.shape == (len(TEXTS), len(vocabulary()))
    assert vectors.dtype == np.float32
    assert vectors.has_canonical_format
    assert (vectors.data > 0).all()
    assert encoder.encode_documents([]).shape == (0, len(vocabulary()))
    assert encoder.encode_documents(["", ""]).nnz == 0


def test_special_tokens_never_become_terms(encoder: SpladeEncoder) -> None:
    vectors = encoder.encode_documents([*TEXTS, "[SEP] flow [MASK] [CLS] [PAD] [UNK]"])
    assert set(vectors.indices) > {len(vocabulary()) - 1}
    assert not set(vectors.indices) & {0, 1, 2, 3, 4}


def test_a_vector_does_not_depend_on_its_batch(tiny_masked_lm: Path, encoder: SpladeEncoder) -> None:
    together = encoder.encode_documents(TEXTS).toarray()
    for row, text in enumerate(TEXTS):
        same(encoder.encode_documents([text]).toarray()[0], together[row])
    small = SpladeEncoder(tiny_masked_lm, SpladeSettings(batch_size=2, device="cpu"))
    same(small.encode_documents(TEXTS[::-1]).toarray()[::-1], together)


def test_queries_are_encoded_as_documents_are(encoder: SpladeEncoder) -> None:
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


def test_the_heaviest_terms_are_kept(tiny_masked_lm: Path, encoder: SpladeEncoder) -> None:
    pruned = SpladeEncoder(tiny_masked_lm, SpladeSettings(top_k=5, query_top_k=2, device="cpu"))
    for row, whole in enumerate(encoder.encode_documents(TEXTS).toarray()):
        vector = pruned.encode_documents([TEXTS[row]]).toarray()[0]
        kept = np.flatnonzero(vector)
        assert len(kept) == (5 if whole.any() else 0)
        same(vector[kept], whole[kept])
        assert set(kept) == set(np.argsort(-whole, kind="stable")[: len(kept)])
    assert [len(terms) for terms, _ in pruned.encode_queries(TEXTS)] == [2, 0, 2, 2, 2, 2, 2]


def test_long_texts_are_cut(tiny_masked_lm: Path) -> None:
    short = SpladeEncoder(tiny_masked_lm, SpladeSettings(max_length=6, device="cpu"))  # four tokens and two special
    assert short.max_length == 6
    one, other = short.encode_documents(["heat transfer in flow", "heat transfer in flow over a wing"]).toarray()
    same(one, other)
    same(one, oracle(tiny_masked_lm, "heat transfer in flow over a wing", max_length=6))
    same(short.encode_documents(["heat transfer in flow " + "word " * 200_000]).toarray()[0], one)


def test_the_whole_batch_times_vocabulary_is_never_made(
    encoder: SpladeEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    head = encoder._checkpoint.head
    sizes = []
    forward = type(head).forward

    def watched(self: torch.nn.Module, **inputs: torch.Tensor) -> object:
        sizes.append(tuple(inputs["inputs_embeds"].shape[:2]))
        return forward(self, **inputs)

    monkeypatch.setattr(head, "forward", watched.__get__(head))
    monkeypatch.setattr("lexhound.encoders.splade._HEAD_TOKENS", 16)
    same(
        encoder.encode_documents(TEXTS).toarray(),
        np.stack([oracle(Path(encoder.identity.name), text) for text in TEXTS]),
    )
    assert len(sizes) > len(TEXTS)
    assert max(sizes) == (1, 16)


def test_encoding_is_safe_from_several_threads(encoder: SpladeEncoder) -> None:
    from concurrent.futures import ThreadPoolExecutor

    expected = encoder.encode_documents(TEXTS).toarray()
    with ThreadPoolExecutor(4) as pool:
        for vectors in pool.map(lambda _: encoder.encode_documents(TEXTS).toarray(), range(12)):
            same(vectors, expected)


def test_spans_and_term_texts(encoder: SpladeEncoder) -> None:
    text = "Flowing heat\ud800, the Wing [SEP]"
    spans = [(text[start:end], encoder.term_text(term)) for start, end, term in encoder.spans(text)]
    assert spans == [("Flow", "flow"), ("ing", "##ing"), ("heat", "heat"), (",", ","), ("the", "the"), ("Wing", "wing")]
    assert len(encoder.spans("flow " * 500)) == 500  # also where the vector no longer looks
    for missing in (-1, len(vocabulary())):
        with pytest.raises(IndexError):
            encoder.term_text(missing)


# Identity and loading


def test_identity_names_the_files_and_what_changes_vectors(tiny_masked_lm: Path, tmp_path: Path) -> None:
    identity = SpladeEncoder(tiny_masked_lm, SpladeSettings(batch_size=4)).identity
    assert (identity.kind, identity.name) == ("splade", str(tiny_masked_lm.resolve()))
    assert identity.vocabulary_size == len(vocabulary())
    assert EncoderIdentity.from_json(identity.to_json()) == identity

    moved = Path(shutil.copytree(tiny_masked_lm, tmp_path / "moved"))
    (moved / "README.md").write_text("notes")
    assert SpladeEncoder(moved, SpladeSettings(batch_size=9)).identity.same_vectors(identity)
    assert not SpladeEncoder(moved, SpladeSettings(top_k=9)).identity.same_vectors(identity)
    other = SpladeEncoder(build_tiny_masked_lm(tmp_path / "other", seed=1)).identity
    assert not other.same_vectors(identity)


def test_load_by_name_and_by_identity(tiny_masked_lm: Path) -> None:
    first = load_encoder(tiny_masked_lm, splade_settings=SpladeSettings(top_k=7, query_top_k=3))
    again = load_encoder(first.identity, splade_settings=SpladeSettings(batch_size=1))
    assert isinstance(again, SpladeEncoder)
    assert again.identity == first.identity
    assert (again.settings.top_k, again.settings.batch_size) == (7, 1)
    assert isinstance(load_encoder(str(tiny_masked_lm)), SpladeEncoder)

    lexical = load_encoder("bm25", vocabulary=MemoryVocabulary(), lexical_settings=LexicalSettings(k1=2))
    assert isinstance(lexical, LexicalEncoder)
    assert lexical.settings.k1 == 2
    again = load_encoder(lexical.identity, vocabulary=MemoryVocabulary())
    assert again.identity == lexical.identity


def test_an_identity_whose_files_changed_is_refused(tmp_path: Path) -> None:
    folder = build_tiny_masked_lm(tmp_path / "model")
    identity = load_encoder(folder).identity
    build_tiny_masked_lm(folder, seed=5)
    with pytest.raises(IdentityError, match="no longer the encoder"):
        load_encoder(identity)


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
    [{"max_length": 2}, {"batch_size": 0}, {"top_k": 0}, {"query_top_k": -1}, {"top_k": 1.5}, {"device": "tpu"}],
)
def test_settings_out_of_range(values: dict[str, object]) -> None:
    (name,) = values
    with pytest.raises(SettingsError, match=f"^{name} is"):
        SpladeSettings(**values)  # type: ignore[arg-type]


def test_a_device_that_is_not_there(tiny_masked_lm: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(SettingsError, match="no cuda device"):
        SpladeEncoder(tiny_masked_lm, SpladeSettings(device="cuda"))


@pytest.mark.parametrize("package", ["torch", "transformers"])
def test_without_the_extra(tiny_masked_lm: Path, monkeypatch: pytest.MonkeyPatch, package: str) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingExtraError, match=r"pip install 'lexhound\[neural\]'"):
        load_encoder(tiny_masked_lm)


# Checkpoints that are none


@pytest.fixture
def copied(tiny_masked_lm: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_masked_lm, tmp_path / "copied"))


def edit_config(folder: Path, **values: object) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def refused(folder: str | Path, message: str) -> None:
    with pytest.raises(CheckpointError, match=message) as caught:
        SpladeEncoder(folder)
    assert caught.value.hint
    assert len(caught.value.message) < 400


@pytest.mark.parametrize(
    "name",
    ["./no/such/folder", "/no/such/folder", "a/b/c", "..", "what is this?", "~nobody-here/x", "/" + "x" * 5000, "a\0b"],
)
def test_no_such_folder(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    refused(name, "no config.json" if name == ".." else "there is no folder")
    refused(tmp_path / "missing", "there is no folder")


def test_a_file_instead_of_a_folder(copied: Path) -> None:
    refused(copied / "model.safetensors", "is a file")


@pytest.mark.parametrize(
    ("name", "message"),
    [("config.json", "no config.json"), ("tokenizer.json", "no tokenizer"), ("model.safetensors", "no weights")],
)
def test_a_folder_with_half_of_its_files(copied: Path, name: str, message: str) -> None:
    (copied / name).unlink()
    refused(copied, message)


@pytest.mark.parametrize("content", ["{", "[1]", '{"model_type": "no-such-type"}', "{}", ""])
def test_a_broken_config(copied: Path, content: str) -> None:
    (copied / "config.json").write_text(content)
    refused(copied, "cannot be read")


def test_a_broken_tokenizer(copied: Path) -> None:
    (copied / "tokenizer.json").write_text('{"version": "1.0", "model": {"type": "Nothing"}}')
    refused(copied, "tokenizer in .* cannot be read")


@pytest.mark.parametrize("kept", [0, 7, 5000, -100])
def test_torn_weights(copied: Path, kept: int) -> None:
    path = copied / "model.safetensors"
    path.write_bytes(path.read_bytes()[:kept])
    refused(copied, "cannot be loaded")


def test_a_model_without_a_head(tmp_path: Path) -> None:
    save_tiny_tokenizer(tmp_path)
    config = transformers.BertConfig(
        vocab_size=len(vocabulary()), hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=64
    )
    transformers.BertModel(config).save_pretrained(tmp_path)
    refused(tmp_path, "config.json says BertModel")
    # A config that claims a head does not help: the weights are looked for.
    edit_config(tmp_path, architectures=["BertForMaskedLM"])
    refused(tmp_path, r"files lack \d+ of the weights \(cls.predictions")
    edit_config(tmp_path, architectures=None)
    refused(tmp_path, r"files lack \d+ of the weights")


def test_a_decoder(tmp_path: Path) -> None:
    save_tiny_tokenizer(tmp_path)
    config = transformers.GPT2Config(vocab_size=len(vocabulary()), n_positions=32, n_embd=32, n_layer=1, n_head=2)
    transformers.GPT2LMHeadModel(config).save_pretrained(tmp_path)
    refused(tmp_path, "config.json says GPT2LMHeadModel")
    edit_config(tmp_path, architectures=["GPT2ForMaskedLM"])
    refused(tmp_path, "cannot be loaded as a masked language model")


def test_a_tokenizer_wider_than_the_head(tmp_path: Path) -> None:
    folder = build_tiny_masked_lm(tmp_path / "narrow", vocabulary_size=len(vocabulary()) - 1)
    refused(folder, rf"{len(vocabulary())} tokens and the model's head {len(vocabulary()) - 1} outputs")


def test_code_in_a_checkpoint_is_never_run(copied: Path) -> None:
    (copied / "modeling_evil.py").write_text("raise SystemExit('remote code ran')\n")
    edit_config(copied, model_type="evil", auto_map={"AutoConfig": "modeling_evil.Config"})
    refused(copied, "cannot be read")


def run_offline(code: str, cache: Path) -> str:
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(cache), "HF_HUB_CACHE": str(cache / "hub")}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_hub_name_offline_says_what_to_bring(tmp_path: Path) -> None:
    code = (
        "from lexhound.encoders.load import load_encoder\n"
        "from lexhound.encoders.errors import CheckpointError\n"
        "try:\n    load_encoder('naver/splade-v3')\n"
        "except CheckpointError as error:\n    print(error)\n"
    )
    message = run_offline(code, tmp_path)
    assert message.startswith("naver/splade-v3 is not a folder here, and the Hugging Face hub cannot be reached")
    assert "hf download naver/splade-v3 --local-dir splade-v3" in message
    assert "model.safetensors" in message


def test_a_hub_name_in_the_cache(tiny_masked_lm: Path, tmp_path: Path) -> None:
    model = tmp_path / "hub" / "models--someone--tiny"
    commit = "0123456789abcdef0123456789abcdef01234567"
    shutil.copytree(tiny_masked_lm, model / "snapshots" / commit)
    (model / "refs").mkdir()
    (model / "refs" / "main").write_text(commit)
    code = (
        "from lexhound.encoders.load import load_encoder\n"
        "identity = load_encoder('someone/tiny').identity\nprint(identity.name, identity.fingerprint)\n"
    )
    assert run_offline(code, tmp_path).split() == ["someone/tiny", load_encoder(tiny_masked_lm).identity.fingerprint]


def test_loading_says_nothing(tiny_masked_lm: Path, capfd: pytest.CaptureFixture[str]) -> None:
    before = transformers.utils.logging.get_verbosity()
    SpladeEncoder(tiny_masked_lm).encode_documents(["flow " * 1000])
    assert capfd.readouterr() == ("", "")
    assert transformers.utils.logging.get_verbosity() == before
