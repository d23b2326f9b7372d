"""Whether one of Flower's processes says that it serves: the standard gRPC health protocol, on loopback."""

from __future__ import annotations

import grpc
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthStub

__all__ = ["serving"]


def serving(address: str, timeout: float = 2.0) -> bool:
    """Ask an address, HOST:PORT, that was given to Flower as `--health-server-address`.

    Args:
        address: of the health server.
        timeout: seconds to wait for an answer; none in that time is a no.
    """
    with grpc.insecure_channel(address) as channel:
        try:
            answer = HealthStub(channel).Check(HealthCheckRequest(), timeout=timeout)
        except grpc.RpcError:
            return False
    return bool(answer.status == HealthCheckResponse.SERVING)
