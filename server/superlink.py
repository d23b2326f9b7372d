"""Questions to a SuperLink, asked from this process: Flower's command takes two seconds of a core for each.

Importing this takes a second. What is used of Flower is private, as is its command that asks the same; flwr is pinned.
"""

from __future__ import annotations

import ssl
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import httpx
from flwr.proto.control_pb2 import ListNodesRequest, ListNodesResponse, ListRunsRequest, ListRunsResponse
from flwr.supercore.protobuf.constants import PROTOBUF_MEDIA_TYPE
from google.protobuf.message import DecodeError, Message

from ra_core.errors import FlowerError
from server.flower import NodeState, RunState

__all__ = ["SuperLink"]

ANSWER_SECONDS = 30.0
"""Longest wait for an answer."""

_Answer = TypeVar("_Answer", bound=Message)


@dataclass(frozen=True)
class SuperLink:
    """A SuperLink that Flower's settings name.

    Attributes:
        home: Flower's own folder, whose settings say where it is and whom it has to prove itself to.
        connection: its name in them.
        hint: what the operator can do where it gives no answer.
    """

    home: Path
    connection: str
    hint: str = ""

    def nodes(self) -> list[NodeState]:
        """All nodes that were ever registered.

        Raises:
            FlowerError: it can't be reached.
        """
        found = self._asked("list-nodes", ListNodesRequest(), ListNodesResponse()).nodes_info
        return [
            NodeState(
                str(node.node_id), node.status, _moment(node.last_activated_at), _moment(node.last_deactivated_at)
            )
            for node in found
        ]

    def status(self, run: int) -> RunState:
        """What has become of a run.

        Raises:
            FlowerError: it can't be reached, or knows no such run.
        """
        found = self._asked("list-runs", ListRunsRequest(run_id=run), ListRunsResponse()).run_dict
        if run not in found:
            raise FlowerError(f"the SuperLink knows no run {run}", self.hint)
        state = found[run].status
        return RunState(":".join(filter(None, (state.status, state.sub_status))), state.details, found[run].fab_hash)

    def _asked(self, question: str, request: Message, answer: _Answer) -> _Answer:
        try:
            settings = tomllib.loads((self.home / "config.toml").read_text(encoding="utf-8"))
            place = settings["superlink"][self.connection]
            ca = place.get("root-certificates")
            response = httpx.post(
                f"{'https' if ca else 'http'}://{place['address']}/v1/control/{question}",
                content=request.SerializeToString(),
                headers={"content-type": PROTOBUF_MEDIA_TYPE, "accept": PROTOBUF_MEDIA_TYPE},
                verify=ssl.create_default_context(cafile=ca) if ca else False,
                trust_env=False,  # a proxy of the house is not for a server of this machine
                timeout=ANSWER_SECONDS,
            )
            answer.ParseFromString(response.raise_for_status().content)
        except (OSError, KeyError, ValueError, DecodeError, httpx.HTTPError) as error:
            reason = f"{type(error).__name__}: {error}".splitlines()[0]
            raise FlowerError(f"no answer of the SuperLink to {question}: {reason}", self.hint) from error
        return answer


def _moment(told: str) -> str:
    """A time of Flower's as its command writes it, `YYYY-MM-DD HH:MM:SSZ`; "N/A" where it tells none."""
    return f"{told[:19].replace('T', ' ')}Z" if told else "N/A"
