"""What server and client say to each other: typed records with one function each way.

The only place of `ra_core` that imports `flwr`, and only its record types. A message never carries a file name, a
patient id, a pixel or the score of a single image. `docs/protocol.md` lists every field.
"""

from ra_core.messages.calibration import ABSENT, CheckOrder, CheckReply, HistogramOrder, HistogramReply
from ra_core.messages.delivery import ChosenOrder, DeliveryOrder, DeliveryReply
from ra_core.messages.failure import CRASHED, Failure
from ra_core.messages.join import JoinOrder, JoinRefusal, JoinReply
from ra_core.messages.masking import MaskedOrder, MaskedReply, Stage, StageOrder, StageReply, task_digest
from ra_core.messages.rounds import RoundOrder, RoundReply
from ra_core.messages.wire import SITE_FAILED, MessageError, Model, ModelOrder, Order, Reply, arrays

__all__ = [
    "ABSENT",
    "CRASHED",
    "SITE_FAILED",
    "CheckOrder",
    "CheckReply",
    "ChosenOrder",
    "DeliveryOrder",
    "DeliveryReply",
    "Failure",
    "HistogramOrder",
    "HistogramReply",
    "JoinOrder",
    "JoinRefusal",
    "JoinReply",
    "MaskedOrder",
    "MaskedReply",
    "MessageError",
    "Model",
    "ModelOrder",
    "Order",
    "Reply",
    "RoundOrder",
    "RoundReply",
    "Stage",
    "StageOrder",
    "StageReply",
    "arrays",
    "task_digest",
]
