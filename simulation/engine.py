"""The in-process engine: the same apps as in a real federation, in one process, one site after another."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Iterable, Mapping, Sequence

from flwr.app import Context, Error, Message, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid
from flwr.supercore.run import Run
from flwr.supercore.task_identity import TaskIdentity  # private: flwr is pinned to one minor version

__all__ = ["InProcessGrid"]


class InProcessGrid(Grid):
    """Runs a ClientApp for each site when its message is pulled, so that a caller sees answers as they come.

    Args:
        client_app: the app.
        node_configs: one a site, as a SuperNode's --node-config.
        run_config: of the run.
        order: in which sites answer, as places in `node_configs`; their own order if not given.
    """

    def __init__(
        self,
        client_app: ClientApp,
        node_configs: Sequence[Mapping[str, str]],
        run_config: Mapping[str, str] | None = None,
        order: Sequence[int] | None = None,
    ) -> None:
        TaskIdentity.run_id = TaskIdentity.node_id = TaskIdentity.task_id = 1
        self._app = client_app
        self._contexts = {
            1000 + i: Context(1, 1000 + i, dict(config), RecordDict(), dict(run_config or {}))
            for i, config in enumerate(node_configs)
        }
        self._order = [1000 + place for place in order] if order else list(self._contexts)
        self._waiting: dict[str, Message] = {}
        self._numbers = itertools.count()
        self._run = Run.create_empty(1)

    def set_run(self, run: Run) -> None:
        """Take over a run's facts."""
        self._run = run

    @property
    def run(self) -> Run:
        """The run's facts."""
        return self._run

    def create_message(
        self, content: RecordDict, message_type: str, dst_node_id: int, group_id: str, ttl: float | None = None
    ) -> Message:
        """Flower's older way to make a message."""
        return Message(content, dst_node_id=dst_node_id, message_type=message_type, ttl=ttl, group_id=group_id)

    def get_node_ids(self) -> Iterable[int]:
        """All sites: none is ever away."""
        return list(self._contexts)

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        """Take messages in; nothing runs yet."""
        names = []
        for message in messages:
            name = f"message {next(self._numbers)}"
            message.metadata.__dict__["_message_id"] = name
            message.metadata.__dict__["_run_id"] = 1
            self._waiting[name] = message
            names.append(name)
        return names

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        """Run the next waiting site in the given order and return its answer."""
        asked = [name for name in message_ids if name in self._waiting]
        if not asked:
            return []
        name = min(asked, key=lambda n: self._order.index(self._waiting[n].metadata.dst_node_id))
        return [self._answer(self._waiting.pop(name))]

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> Iterable[Message]:
        """All answers at once."""
        del timeout
        names = list(self.push_messages(messages))
        return [answer for _ in names for answer in self.pull_messages(names)]

    def _answer(self, message: Message) -> Message:
        # A copy, as a network would make: a site that writes into what it received must not reach the others.
        copied = copy.deepcopy(message)
        try:
            return self._app(copied, self._contexts[message.metadata.dst_node_id])
        except Exception as error:
            return Message(Error(code=2, reason=type(error).__name__), reply_to=copied)
