"""Ports of this machine."""

import socket

from ra_core.daemons.processes import free_ports


def test_no_port_comes_twice():
    ports = free_ports(300)  # one by one, the system hands some out twice
    assert len(set(ports)) == 300


def test_a_port_can_be_listened_on():
    for port in free_ports(2):
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", port))
