"""A Milvus server on a port of this machine: the engine of milvus-lite, behind what it lacks of a server.

It is asked in Milvus's protocol over the network, as a server is. Two things are done here, as milvus-lite 2.5 cannot:
to tell its version, and to hold expressions against a collection with a partition key, which is made a field like any
other on its way. What the client has sent is kept.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lexhound.retrieval.engines.milvus.client import require_packages

VERSION = "2.5.0-proxy"


class Proxy:
    """Passes requests on, and keeps them: (method, bytes)."""

    def __init__(self, channel: Any) -> None:
        self.sent: list[tuple[str, bytes]] = []
        self._channel = channel

    def service(self, details: Any) -> Any:
        """Return what answers a method, by its path; see `grpc.GenericRpcHandler`."""
        import grpc

        path = details.method
        return grpc.unary_unary_rpc_method_handler(lambda request, context: self._answer(path, request, context))

    def messages(self, method: str) -> list[Any]:
        """Return the requests for a method, read."""
        from pymilvus.grpc_gen import milvus_pb2

        kind = getattr(milvus_pb2, f"{method}Request")
        return [kind.FromString(request) for name, request in self.sent if name == method]

    def partition_keys(self, collection: str) -> list[str]:
        """Return the partition key of a collection as it was to be made."""
        from pymilvus.grpc_gen import schema_pb2

        made = [each.schema for each in self.messages("CreateCollection") if each.collection_name == collection]
        fields = schema_pb2.CollectionSchema.FromString(made[-1]).fields
        return [field.name for field in fields if field.is_partition_key]

    def _answer(self, path: str, request: bytes, context: Any) -> bytes:
        import grpc
        from pymilvus.grpc_gen import milvus_pb2

        method = path.rpartition("/")[2]
        self.sent.append((method, request))
        if method == "GetVersion":
            answer: bytes = milvus_pb2.GetVersionResponse(version=VERSION).SerializeToString()
            return answer
        if method == "CreateCollection":
            request = _without_partition_key(request)
        try:
            passed: bytes = self._channel.unary_unary(path)(request, timeout=60)
            return passed
        except grpc.RpcError as error:
            context.abort(error.code(), error.details())
            raise


def _without_partition_key(request: bytes) -> bytes:
    from pymilvus.grpc_gen import milvus_pb2, schema_pb2

    made = milvus_pb2.CreateCollectionRequest.FromString(request)
    schema = schema_pb2.CollectionSchema.FromString(made.schema)
    for field in schema.fields:
        field.is_partition_key = False
    made.schema = schema.SerializeToString()
    changed: bytes = made.SerializeToString()
    return changed


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


@contextmanager
def milvus_server(file: Path) -> Iterator[tuple[str, Proxy]]:
    """Yield `milvus://HOST:PORT` of a server over a file, and what is sent to it."""
    import grpc

    require_packages(lite=True)
    from milvus_lite.server import Server

    engine = Server(str(file), f"127.0.0.1:{_free_port()}")
    assert engine.init()
    assert engine.start()
    channel = grpc.insecure_channel(engine._address)
    server = grpc.server(ThreadPoolExecutor(4), options=[("grpc.max_receive_message_length", -1)])
    try:
        grpc.channel_ready_future(channel).result(timeout=60)
        proxy = Proxy(channel)
        server.add_generic_rpc_handlers((proxy,))
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        yield f"milvus://127.0.0.1:{port}", proxy
    finally:
        server.stop(None)
        channel.close()
        engine.stop()
