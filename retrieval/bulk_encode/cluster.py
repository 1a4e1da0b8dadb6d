"""The connection to a Ray cluster."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from typing import Any

from lexhound.core.errors import first_line
from lexhound.core.extras import extra
from lexhound.retrieval.errors import ClusterError

_ANSWER_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class RaySettings:
    """A Ray cluster and how much of it is used.

    Attributes:
        address: `HOST:PORT`, `ray://HOST:PORT`, `auto`; "" for the one that RAY_ADDRESS names or that this machine is
            part of, or else one that is started here and lasts as long as the work.
        shards: how many parts the work is cut into; None for four a processor, or a GPU where the encoder runs on one.
        processors: how many of them a worker gets, and how many threads it uses.
    """

    address: str = ""
    shards: int | None = None
    processors: int = 1


def import_ray() -> Any:
    """Return the package `ray`.

    Raises:
        MissingExtraError: it is not installed.
    """
    with extra("ray", "--ray"):
        import ray
    return ray


class Cluster:
    """A connection to the cluster for the length of a block; what was started here ends with it."""

    def __init__(self, ray: Any, settings: RaySettings) -> None:
        self._ray = ray
        self._address = settings.address

    def __enter__(self) -> None:
        import logging

        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        address = self._address or os.environ.get("RAY_ADDRESS", "")
        _check_answers(address)
        options: dict[str, Any] = {"address": address} if address else {}
        if address == "local":
            options["include_dashboard"] = False
        try:
            self._ray.init(**options, log_to_driver=False, logging_level=logging.ERROR, configure_logging=True)
        except Exception as error:  # what Ray raises here has changed from version to version
            raise ClusterError(
                f"Ray cannot be used: {first_line(error)}",
                where=address or None,
                hint="see that the cluster runs (`ray status`) and has the same versions of Python and Ray",
            ) from error

    def __exit__(self, *_: object) -> None:
        self._ray.shutdown()


def _check_answers(address: str) -> None:
    """Check that something answers: Ray tries for long, and some versions end the process when they give up."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdecimal():
        if address not in ("", "auto", "local"):
            raise ClusterError(
                "this is not an address of a Ray cluster", where=address, hint="write HOST:PORT, or auto"
            )
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), _ANSWER_SECONDS).close()
    except (OSError, OverflowError) as error:
        raise ClusterError(
            f"no Ray cluster answers: {error}",
            where=address,
            hint="start one with `ray start --head`, or leave the address out to use this machine alone",
        ) from error


def slots_of(ray: Any, settings: RaySettings, gpus: int) -> int:
    """Return how many tasks the cluster can run at a time, at least one."""
    resources = ray.cluster_resources()
    if gpus:
        if not resources.get("GPU"):
            raise ClusterError("the cluster has no GPU", hint="leave --device out, or add a node that has one")
        return int(resources["GPU"])
    processors = int(resources.get("CPU", 0))
    if processors < settings.processors:
        raise ClusterError(
            f"the cluster has {processors} processors, and a worker is to have {settings.processors}",
            hint="lower --ray-processors",
        )
    return processors // settings.processors
