"""The way to the sites, where Flower itself has its troubles."""

import pytest
from answering import SITES, answering_app
from federating import start, study
from flwr.supercore.inflatable.inflatable_utils import ObjectPushError

from server.rounds.orders import Orders
from server.rounds.post import PUSHES, Post
from server.rounds.progress import Progress
from server.rounds.strategy import FederatedAveraging
from simulation.engines import InProcessGrid


class Forgetful(InProcessGrid):
    """Knows a node no longer once it is asked to train: Flower gives an empty number for such a message."""

    def push_messages(self, messages):
        names = list(super().push_messages(messages))
        gone = [self._waiting[n].metadata.dst_node_id == 1001 for n in names]
        kinds = [self._waiting[n].metadata.message_type for n in names]
        return ["" if lost and kind == "train" else n for n, lost, kind in zip(names, gone, kinds, strict=True)]


def grid(kind=InProcessGrid):
    return kind(answering_app(), [{"name": site} for site in SITES])


def test_a_node_that_flower_has_forgotten_is_missing_and_not_waited_for():
    federation = FederatedAveraging(grid(Forgetful), study(quorum=0.75), SITES, lambda _: True, lambda _: None)
    done = federation.run(Progress(start()))
    assert [list(record.missing) for record in done.records] == [["berta"]] * 4


class Killed(InProcessGrid):
    """Its SuperLink is killed so many times once it has stored a part of the orders to train, before it says so."""

    times: int

    def push_messages(self, messages):
        names = list(super().push_messages(messages))
        if self.times and messages[0].metadata.message_type == "train":
            self.times -= 1
            raise ObjectPushError("a part", 1, "a session")
        return names


def test_a_superlink_that_is_killed_while_it_takes_orders_is_given_them_again():
    def missing(times):
        Killed.times = times
        federation = FederatedAveraging(grid(Killed), study(), SITES, lambda _: True, lambda _: None)
        return [list(record.missing) for record in federation.run(Progress(start())).records]

    assert missing(PUSHES - 1) == missing(0) == [[]] * 4
    with pytest.raises(ObjectPushError):
        missing(PUSHES)


def test_whoever_does_not_answer_is_waited_for_no_longer_than_said():
    class Mute(InProcessGrid):
        def pull_messages(self, message_ids):
            return []

    post = Post(grid(Mute))
    waiting = post.send({1000: Orders(study(), "run").join().to_record()}, "query", 0.05)
    assert list(post.answers(waiting, 0.05)) == []
    assert len(waiting) == 1


class Garbled(InProcessGrid):
    """Flower can't unpack what one site sends; or the SuperLink is away."""

    fault: Exception

    def pull_messages(self, message_ids):
        replies = super().pull_messages(message_ids)
        if any(reply.metadata.message_type == "train" and reply.metadata.src_node_id == 1001 for reply in replies):
            raise self.fault
        return replies


def test_an_answer_that_can_not_be_unpacked_is_its_sites_error_and_costs_no_other():
    Garbled.fault = KeyError("Meyer")
    told = FederatedAveraging(grid(Garbled), study(quorum=0.75), SITES, lambda _: True, lambda _: None)
    done = told.run(Progress(start()))
    assert [dict(record.missing) for record in done.records] == [
        {"berta": "reports a message that can't be read (KeyError)"}
    ] * 4


def test_a_superlink_that_is_away_is_no_sites_error():
    Garbled.fault = ConnectionRefusedError()
    federation = FederatedAveraging(grid(Garbled), study(quorum=0.75), SITES, lambda _: True, lambda _: None)
    with pytest.raises(ConnectionRefusedError):
        federation.run(Progress(start()))
