"""8-bit runtimes of others for `run_encoders.py`: the same weights exported whole, masked maximum and log1p included.

    pip install openvino nncf onnx onnxruntime onnxscript

Both static ways are calibrated with CALIBRATION texts that are not measured. OpenVINO's is NNCF's for transformers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import torch

PEERS = ("openvino int8", "onnxruntime float32", "onnxruntime int8 dynamic", "onnxruntime int8 static")
CALIBRATION = 32
_BATCH = 8


def inputs(folder: Path, texts: list[str]) -> Iterator[dict[str, np.ndarray]]:
    """Yield batches of token ids, padded, and their mask."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_truncation()
    for start in range(0, len(texts), _BATCH):
        encoded = tokenizer.encode_batch(texts[start : start + _BATCH])
        longest = max(len(each.ids) for each in encoded)
        ids = np.zeros((len(encoded), longest), dtype=np.int64)
        mask = np.zeros_like(ids)
        for row, each in enumerate(encoded):
            ids[row, : len(each.ids)], mask[row, : len(each.ids)] = each.ids, each.attention_mask
        yield {"input_ids": ids, "attention_mask": mask}


def model(folder: Path) -> torch.nn.Module:
    """Return token ids and mask in, vectors out."""
    import torch
    import transformers

    class Sparse(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = transformers.BertForMaskedLM.from_pretrained(folder, attn_implementation="eager").eval()

        def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
            logits = self.inner(input_ids=input_ids, attention_mask=attention_mask).logits
            return torch.log1p(torch.relu((logits - 1e9 * (1 - attention_mask.unsqueeze(-1).float())).amax(dim=1)))

    return Sparse().eval()


def prepare(way: str, folder: Path, texts: list[str], into: Path) -> None:
    """Write the model of one way."""
    batches = list(inputs(folder, texts[:CALIBRATION]))
    if way == "openvino int8":
        import nncf
        import openvino
        import torch

        example = {name: torch.from_numpy(array) for name, array in batches[0].items()}
        converted = openvino.convert_model(model(folder), example_input=example)
        data = nncf.Dataset(batches, lambda batch: batch)
        quantised = nncf.quantize(converted, data, model_type=nncf.ModelType.TRANSFORMER, subset_size=len(batches))
        openvino.save_model(quantised, into / "openvino.xml", compress_to_fp16=False)
        return
    plain = into / "plain.onnx"
    if not plain.exists():
        export(folder, batches[0], plain)
    if way == "onnxruntime int8 dynamic":
        from onnxruntime.quantization import QuantType, quantize_dynamic

        quantize_dynamic(plain, into / "dynamic.onnx", weight_type=QuantType.QInt8, per_channel=True)
    if way == "onnxruntime int8 static":
        calibrate(plain, into / "static.onnx", batches)


def export(folder: Path, batch: dict[str, np.ndarray], target: Path) -> None:
    """Write the model in float32 as ONNX."""
    import torch

    axes = {name: {0: torch.export.Dim.DYNAMIC, 1: torch.export.Dim.DYNAMIC} for name in batch}
    given = {name: torch.from_numpy(array) for name, array in batch.items()}
    torch.onnx.export(model(folder), kwargs=given, f=target, dynamo=True, dynamic_shapes=axes, external_data=False)


def calibrate(plain: Path, target: Path, batches: list[dict[str, np.ndarray]]) -> None:
    """Write the model with ranges of activations that were seen in the batches."""
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self._rest = iter(batches)

        def get_next(self) -> dict[str, np.ndarray] | None:
            return next(self._rest, None)

    quantize_static(
        plain, target, Reader(), quant_format=QuantFormat.QDQ, per_channel=True, weight_type=QuantType.QInt8,
        activation_type=QuantType.QUInt8, op_types_to_quantize=["MatMul", "Gemm"],
    )  # fmt: skip


def opened(way: str, folder: Path, made: Path, threads: int) -> Callable[[list[str]], np.ndarray]:
    """Return what encodes texts to float32[texts, vocabulary]."""
    run: Callable[[dict[str, np.ndarray]], Any]
    if way == "openvino int8":
        import openvino

        settings = {"INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY"}
        compiled = openvino.Core().compile_model(made / "openvino.xml", "CPU", settings)
        run = lambda batch: compiled(batch)[0]  # noqa: E731
    else:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        name = {"onnxruntime float32": "plain", "onnxruntime int8 dynamic": "dynamic"}.get(way, "static")
        session = onnxruntime.InferenceSession(made / f"{name}.onnx", options, providers=["CPUExecutionProvider"])
        run = lambda batch: session.run(None, batch)[0]  # noqa: E731
    return lambda texts: np.concatenate([np.array(run(batch)) for batch in inputs(folder, texts)])
