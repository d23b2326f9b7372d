import pytest
from flwr.app import Error, Message, RecordDict
from flwr.common.constant import ErrorCode
from flwr.supercore.inflatable.inflatable_object import get_all_nested_objects, iterate_object_tree
from flwr.supernode.nodestate.in_memory_nodestate import CLIENT_APP_CRASHED_ERROR

from client.member.mail import Mail
from ra_core.daemons.events import Events, read_events
from ra_core.messages import SITE_FAILED
from simulation.engines.in_process import InProcessGrid

PRIVATE = "/data/Müller^Anna/scan.dcm"
ITS_OWN = "its own tree"


class Server:
    """Takes what a node sends, as Flower's server does: a message, and the objects that it asks for."""

    def __init__(self):
        self.message, self.tree, self.objects, self.noted = None, None, {}, []

    def failed(self, kind):
        """What leaves once the ledger has a line of it."""
        self.noted.append(kind)
        return Error(SITE_FAILED, f"{kind} at north")

    def send(self, message, tree, seconds):
        self.message, self.tree = message, tree
        known = {} if tree == ITS_OWN else iterate_object_tree(tree)
        return {part.object_id for part in known}, "session"

    def push(self, run, session, name, content):
        assert (run, session) == (self.message.metadata.run_id, "session")
        self.objects[name] = content


@pytest.fixture
def server():
    return Server()


@pytest.fixture
def order():
    InProcessGrid(None, [])  # a message needs a run
    found = Message(RecordDict(), dst_node_id=5, message_type="train", ttl=60.0, group_id="3")
    found.metadata.__dict__["_message_id"] = "order"
    return found


def answer(order, error, server, tmp_path):
    mail = Mail(server.failed, Events(tmp_path / "events.jsonl"), server.push)
    mail.receiving(lambda: (order, None))()
    reply = Message(error, reply_to=order)
    reply.metadata.__dict__["_message_id"] = reply.object_id
    return mail.sending(server.send)(reply, ITS_OWN, 1.0)


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        (f"<class 'OSError'>:<'[Errno 28] No space left: '{PRIVATE}''>", "OSError"),
        (f"<class 'flwr.supercore.error.FlowerError'>:<'{PRIVATE}'>", "FlowerError"),
        (f"<class '{PRIVATE}'>:<''>", "Exception"),
        (PRIVATE, "Exception"),
        ("", "Exception"),
    ],
)
def test_the_text_of_an_exception_stays(order, server, tmp_path, text, kind):
    sent = answer(order, Error(ErrorCode.CLIENT_APP_RAISED_EXCEPTION, text), server, tmp_path)
    error = server.message.error
    assert (error.code, error.reason) == (SITE_FAILED, f"{kind} at north")
    assert sent == (set(), "session")  # nothing of the first answer is sent after it
    assert b"ller" not in b"".join(server.objects.values())
    assert read_events(tmp_path / "events.jsonl")[0][-1]["error"] == f"{kind} at north"


def test_the_server_can_put_it_together(order, server, tmp_path):
    answer(order, Error(ErrorCode.CLIENT_APP_RAISED_EXCEPTION, PRIVATE), server, tmp_path)
    about = server.message.metadata
    assert (about.reply_to_message_id, about.message_type, about.group_id) == ("order", "train", "3")
    assert about.message_id == server.tree.object_id
    children = {name: None for name in get_all_nested_objects(server.message) if name != about.message_id}
    rebuilt = type(server.message).inflate(server.objects[about.message_id], children)
    assert rebuilt.error.reason == "Exception at north"


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (CLIENT_APP_CRASHED_ERROR, "Crashed"),
        (Error(ErrorCode.LOAD_CLIENT_APP_EXCEPTION, PRIVATE), "LoadError"),
        (Error(ErrorCode.MOD_FAILED_PRECONDITION, PRIVATE), "Exception"),
        (Error(ErrorCode.UNKNOWN, None), "Exception"),
    ],
)
def test_no_error_of_flowers_leaves_without_a_line(order, server, tmp_path, error, kind):
    answer(order, error, server, tmp_path)
    assert (server.message.error.code, server.message.error.reason) == (SITE_FAILED, f"{kind} at north")
    assert server.noted == [kind]


def test_our_own_errors_go_as_they_are(order, server, tmp_path):
    error = Error(SITE_FAILED, "DataError at north")
    answer(order, error, server, tmp_path)
    assert server.noted == []
    assert (server.message.error.code, server.message.error.reason) == (error.code, error.reason)
    assert server.tree == ITS_OWN
    assert server.objects == {}
