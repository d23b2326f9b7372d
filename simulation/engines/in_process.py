"""The in-process engine: the same apps as in a real federation, in one process, one site after another."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from flwr.app import Context, Error, Message, MessageType, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid
from flwr.supercore.run import Run
from flwr.supercore.task_identity import TaskIdentity  # private: flwr is pinned to one minor version

from client.app import SIMULATION
from client.app import app as client_app
from ra_core.config import RuntimeConfig, StudyConfig
from ra_core.daemons.processes import end_all
from server.app import app as server_app
from server.rounds.progress import Progress
from simulation.engines.node import NODES, Node, OnProgress, answered, finished, prepare

__all__ = ["InProcessGrid", "run_in_process"]


def run_in_process(
    study: StudyConfig, nodes: Sequence[Node], runtime: RuntimeConfig, folder: Path, on_progress: OnProgress
) -> Progress:
    """Run a study, or go on with it, in this process; sites answer one after another.

    Args:
        study: settings, the same for all sites.
        nodes: one a site.
        runtime: device and threads of all sites.
        folder: where settings, checkpoint and the reason of a failure are written.
        on_progress: called after each answer with the number of answers so far and in all.

    Returns:
        The final state.

    Raises:
        RAError: of any kind: the server's failure.
        OSError: the folder can't be written.
    """
    folder = folder.resolve()
    end_all(SIMULATION, str(folder / NODES))  # what the other engine left, killed, would write to the same checkpoint
    settings, run_config = prepare(study, nodes, runtime, folder)
    total = (study.federation.rounds + 1) * len(nodes)
    count = itertools.count(answered(study, nodes, folder) + 1)
    grid = InProcessGrid(client_app, settings, on_answer=lambda: on_progress(next(count), total))
    server_app(grid=grid, context=Context(1, 1, {}, RecordDict(), dict(run_config)))
    return finished(study, folder)


class InProcessGrid(Grid):
    """Runs a ClientApp for each site when its message is pulled, so that a caller sees answers as they come.

    Args:
        client_app: the app.
        node_configs: one a site, as a SuperNode's --node-config.
        order: in which sites answer, as places in `node_configs`; as they are asked for if not given.
        on_answer: called after each answer to a round.
    """

    def __init__(
        self,
        client_app: ClientApp,
        node_configs: Sequence[Mapping[str, str | int]],
        order: Sequence[int] | None = None,
        on_answer: Callable[[], None] = lambda: None,
    ) -> None:
        TaskIdentity.run_id = TaskIdentity.node_id = TaskIdentity.task_id = 1
        self._app = client_app
        self._contexts = {
            1000 + i: Context(1, 1000 + i, dict(config), RecordDict(), {}) for i, config in enumerate(node_configs)
        }
        self._order = [1000 + place for place in order] if order else []
        self._on_answer = on_answer
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
        """Run the first site that is asked for and whose turn it is, and return its answer."""
        name = next((name for name in message_ids if name in self._waiting and self._has_its_turn(name)), None)
        if name is None:
            return []
        message = self._waiting.pop(name)
        answer = self._answer(message)
        if message.metadata.message_type.partition(".")[0] == MessageType.TRAIN:
            self._on_answer()
        return [answer]

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> Iterable[Message]:
        """All answers at once."""
        del timeout
        names = list(self.push_messages(messages))
        return [answer for _ in names for answer in self.pull_messages(names)]

    def _has_its_turn(self, name: str) -> bool:
        if not self._order:
            return True
        kind = self._waiting[name].metadata.message_type
        nodes = [m.metadata.dst_node_id for m in self._waiting.values() if m.metadata.message_type == kind]
        return self._waiting[name].metadata.dst_node_id == min(nodes, key=self._order.index)

    def _answer(self, message: Message) -> Message:
        # A copy, as a network would make: a site that writes into what it received must not reach the others.
        copied = copy.deepcopy(message)
        try:
            return self._app(copied, self._contexts[message.metadata.dst_node_id])
        except Exception as error:
            return Message(Error(code=2, reason=type(error).__name__), reply_to=copied)
