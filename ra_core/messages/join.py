"""Joining: who a node is, what it has, whether both sides run the same packages; or why the site doesn't take part."""

from __future__ import annotations

from dataclasses import dataclass, field

from flwr.app import RecordDict

from ra_core.config import DIGEST
from ra_core.messages.wire import MessageError, Order, Reply

__all__ = ["JoinOrder", "JoinRefusal", "JoinReply"]

_LONGEST_WORD = 64
_LONGEST_REASON = 2000


@dataclass(frozen=True)
class JoinOrder(Order):
    """Server to site: the study, before any round of it."""


@dataclass(frozen=True)
class JoinReply(Reply):
    """Site to server: that it takes part, and with how many images.

    Attributes:
        study_digest: of the settings it received.
        package_hash: of the packages installed at the site.
        anatomy, modality: of its config; they go to the model's card.
        n_images, n_patients: healthy training images, and patients that they are of.
        n_val, n_val_patients: healthy validation images, and their patients.
        n_declared: files that ought to be images of the site.
        n_used: of these, the files that are used.

        pins: in a study with secure aggregation, fingerprints of the sites' signing keys as this site knows them, as
            JSON; else empty.

    In a study with differential privacy all counts may be 0, which tells nothing of them; in one with secure
    aggregation they are.
    """

    study_digest: str
    package_hash: str
    anatomy: str
    modality: str
    n_images: int
    n_patients: int
    n_val: int
    n_val_patients: int
    n_declared: int
    n_used: int
    pins: str = field(default="", kw_only=True)

    @classmethod
    def from_record(cls, record: RecordDict) -> JoinReply:
        """From what Flower received.

        Raises:
            MessageError: a part is missing, unknown, of the wrong type or form. Counts are not judged here.
        """
        found = cls(**cls.read(record))
        if not (DIGEST.fullmatch(found.study_digest) and DIGEST.fullmatch(found.package_hash)):
            raise MessageError("a digest is not 64 hex digits")
        if not all(word.isprintable() and len(word) <= _LONGEST_WORD for word in (found.anatomy, found.modality)):
            raise MessageError("anatomy or modality is too long, or can't be printed")
        return found


@dataclass(frozen=True)
class JoinRefusal(Reply):
    """Site to server, in place of a `JoinReply`: that its policy doesn't let it take part, and why.

    Attributes:
        reason: which rule, and what the study asks for; without any count of the site's.
    """

    reason: str

    @classmethod
    def from_record(cls, record: RecordDict) -> JoinRefusal:
        """From what Flower received.

        Raises:
            MessageError: a part is missing, unknown, of the wrong type or form.
        """
        found = cls(**cls.read(record))
        if not (found.reason.isprintable() and 0 < len(found.reason) <= _LONGEST_REASON):
            raise MessageError("its reason is too long, or can't be printed")
        return found

    @staticmethod
    def is_one(record: RecordDict) -> bool:
        """Whether a site's answer to joining is a refusal; it need not be a good one."""
        return "reason" in record.config_records.get("facts", {})
