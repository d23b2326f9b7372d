from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest
from grpc_health.v1.health import HealthServicer
from grpc_health.v1.health_pb2 import HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import add_HealthServicer_to_server

from ra_core.daemons.health import serving
from ra_core.daemons.processes import free_ports


@pytest.mark.parametrize(("status", "expected"), [("SERVING", True), ("NOT_SERVING", False)])
def test_it_says_what_the_server_says(status, expected):
    server, servicer = grpc.server(ThreadPoolExecutor(1)), HealthServicer()
    servicer.set("", getattr(HealthCheckResponse, status))
    add_HealthServicer_to_server(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        assert serving(f"127.0.0.1:{port}") is expected
    finally:
        server.stop(None)


def test_nobody_there_is_a_no():
    assert serving(f"127.0.0.1:{free_ports(1)[0]}", timeout=0.5) is False
