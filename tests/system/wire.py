"""A line between a site and its server that can be cut: a TCP proxy on loopback."""

import contextlib
import socket
import threading

from ra_core.address import split_address

CHUNK = 1 << 16


class Wire:
    """Carries bytes to an address. While it is cut nothing passes, and neither side is told, as when a cable is pulled.

    Use it as a context: at its end, all connections are closed.

    Args:
        address: HOST:PORT of the server.

    Attributes:
        address: where it listens.
    """

    def __init__(self, address):
        self._target, self._whole, self._ends = split_address(address), threading.Event(), []
        self._lost = set()
        self._whole.set()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"

    def __enter__(self):
        threading.Thread(target=self._listen, daemon=True).start()
        return self

    def __exit__(self, *_):
        self._whole.set()
        for end in (self._listener, *self._ends):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def cut(self):
        """Let nothing pass."""
        self._whole.clear()

    def mend(self, forget=False):
        """Let all pass again.

        Args:
            forget: the connections from before stay dead, as if a router had forgotten them; only new ones pass.
        """
        if forget:
            self._lost.update(self._ends)
        self._whole.set()

    def _listen(self):
        with contextlib.suppress(OSError):  # it is closed at the end
            while True:
                near, _ = self._listener.accept()
                self._ends.append(near)
                threading.Thread(target=self._carry, args=(near,), daemon=True).start()

    def _carry(self, near):
        with contextlib.suppress(OSError):
            self._whole.wait()
            far = socket.create_connection(self._target)
            self._ends.append(far)
            threading.Thread(target=self._pump, args=(far, near), daemon=True).start()
            self._pump(near, far)

    def _pump(self, source, sink):
        with contextlib.suppress(OSError):
            while data := source.recv(CHUNK):
                self._whole.wait()
                if source in self._lost or sink in self._lost:
                    return
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)
