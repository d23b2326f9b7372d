"""A site's seat in masked rounds: by which keys it knows the others, and what it has said; nothing is said twice."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_ssh_private_key
from pydantic import ValidationError

from client.terms import shared_shapes
from ra_core.config import KeyringConfig, SecureAggregationConfig, SiteConfig, StudyConfig
from ra_core.errors import ConfigError, MaskingError
from ra_core.files import sweep, sync_folder, write_atomically
from ra_core.hashing import array_digest
from ra_core.keys import fingerprint
from ra_core.masking import (
    Announcement,
    Confirmation,
    Dealing,
    Figures,
    MaskedInput,
    Member,
    MemberState,
    Terms,
    round_layout,
)
from ra_core.masking.figures import COUNTS
from ra_core.masking.messages import Signed
from ra_core.masking.terms import canonical, require_threshold
from ra_core.messages import (
    MaskedOrder,
    MaskedReply,
    Order,
    RoundOrder,
    RoundReply,
    StageOrder,
    StageReply,
    task_digest,
)

__all__ = ["Seat"]

S = TypeVar("S", bound=Signed)

_FACTS = (
    *("site", "round", "study_digest", "model_hash", "fingerprint"),
    *("epsilon", "delta", "noise_multiplier"),
)
"""What is told of a round beside the sum; the policy lists all of it."""


@dataclass(frozen=True)
class Seat:
    """Where a site speaks in masked rounds.

    Attributes:
        site: its name.
        keyring: of its config; None where it takes part in no such round.
        file: what it keeps to itself of the round that it is in: secret, of one round at a time, and in no backup,
            since an older one would let it answer a question twice.
    """

    site: str
    keyring: KeyringConfig | None
    file: Path

    @classmethod
    def of(cls, config: SiteConfig, state: Path) -> Seat:
        """Of a site with its state folder, which simulated sites share."""
        return cls(config.data.site, config.secure_aggregation, state / config.data.site / "masking.json")

    def pins(self, study: StudyConfig) -> str:
        """What this site tells on joining of the keys that it knows: fingerprints by site, as JSON; or nothing."""
        asked = study.federation.secure_aggregation and self.keyring
        return canonical(self.keyring.sites).decode() if asked and self.keyring else ""

    def objections(self, order: Order) -> list[str]:
        """Why the site can't answer an order of a study with secure aggregation; empty for all other studies.

        Raises:
            ConfigError: the signing key can't be read.
        """
        agreed = order.study.federation.secure_aggregation
        if agreed is None:
            return []
        if self.keyring is None:
            return ["secure_aggregation: this site's config has no keys for it"]
        if isinstance(order, RoundOrder) and not isinstance(order, MaskedOrder):
            return ["secure_aggregation: the order asks for figures without masks"]
        try:
            require_threshold(agreed.threshold, len(self.keyring.sites))
        except MaskingError as error:
            return [f"secure_aggregation.sites: {error.message}"]
        if self.keyring.sites.get(self.site) != fingerprint(self._identity().public_key()):
            return ["secure_aggregation.sites: this site's own fingerprint is not that of its signing key"]
        return []

    def require_dealt(self, order: MaskedOrder) -> None:
        """Figures are asked for that keys were announced and dealt for: of the same model and steps as elsewhere.

        Raises:
            MaskingError: of others, of a round that this site is not in, too early, or again.
            ConfigError: the signing key can't be read.
        """
        self._restored(order.run, order.round, task_digest(order, array_digest(order.model))).require("dealt")

    def speak(self, order: StageOrder) -> StageReply:
        """Answer a short exchange; what was said is on the disk when this returns.

        Raises:
            MaskingError: something is wrong with what was relayed, or this can't be asked now.
            ConfigError: the signing key can't be read.
            OSError: what was said can't be stored.
        """
        message = self._announce(order) if order.asked == "announce" else self._go_on(order)
        return StageReply(self.site, order.round, order.stage, message.to_bytes().decode())

    def mask(self, order: MaskedOrder, reply: RoundReply) -> MaskedReply:
        """Hide the figures of a round; that they were is on the disk when this returns.

        Args:
            order: of the round.
            reply: figures and facts, all as they may leave.

        Raises:
            MaskingError: as `speak`; or the order is another one than that which keys were announced for.
            ConfigError: the signing key can't be read.
            OSError: what was said can't be stored.
        """
        member = self._restored(order.run, order.round, task_digest(order, reply.model_hash))
        # All weigh alike with differential privacy, since no epsilon covers counts.
        counts = {name: 1 if order.study.dp else getattr(reply, name) for name in COUNTS}
        vector = Figures(reply.update, counts, reply.metrics).pack(member.state.terms.layout)
        message, masked = member.mask(_read(Dealing, order.dealings), vector)
        self._store(member)
        facts = {name: getattr(reply, name) for name in _FACTS}
        return MaskedReply(**facts, message=message.to_bytes().decode(), masked=masked)

    def forget(self, run: str) -> None:
        """Drop what is kept of a round of this run: it is over, and the site may not have been asked its last message.

        Raises:
            OSError: it can't be dropped.
        """
        with suppress(FileNotFoundError, ValidationError):  # a damaged one is of no use to anybody
            if MemberState.model_validate_json(self.file.read_bytes()).terms.run == run:
                self._drop()

    def _announce(self, order: StageOrder) -> Announcement:
        member, message = Member.announce(self._terms(order), self.site, self._identity())
        self._store(member)
        return message

    def _go_on(self, order: StageOrder) -> Signed:
        member = self._restored(order.run, order.round, order.task)
        if order.asked == "deal":
            message: Signed = member.deal(_read(Announcement, order.relayed))
        elif order.asked == "confirm":
            message = member.confirm([found.site for found in _read(MaskedInput, order.relayed)])
        else:
            message = member.reveal(_read(Confirmation, order.relayed))
        self._store(member)
        return message

    def _terms(self, order: StageOrder) -> Terms:
        agreed, keyring = self._agreed(order.study)
        shapes = shared_shapes(order.study) if order.steps else {}
        layout = round_layout(shapes, agreed.metrics, len(keyring.sites))
        return Terms(order.run, order.round, keyring.sites, agreed.threshold, layout, order.task)

    def _agreed(self, study: StudyConfig) -> tuple[SecureAggregationConfig, KeyringConfig]:
        agreed = study.federation.secure_aggregation
        if agreed is None or self.keyring is None:
            raise MaskingError("the study has no secure aggregation, or this site no keys for it")
        return agreed, self.keyring

    def _identity(self) -> Ed25519PrivateKey:
        if self.keyring is None:
            raise MaskingError("this site's config has no keys for secure aggregation")
        path, hint = self.keyring.signing_key, "`ra-client keygen` makes it"
        try:
            key = load_ssh_private_key(path.read_bytes(), None)
        except (OSError, ValueError, TypeError) as error:  # TypeError: it has a passphrase
            raise ConfigError(f"{path}: the signing key can't be read ({type(error).__name__})", hint) from None
        if not isinstance(key, Ed25519PrivateKey):
            raise ConfigError(f"{path}: is no key of Ed25519", hint)
        return key

    def _restored(self, run: str, number: int, task: str) -> Member:
        """The site in a round, as it was after its last message."""
        try:
            state = MemberState.model_validate_json(self.file.read_bytes())
        except FileNotFoundError:
            raise MaskingError(f"this site has announced no keys for round {number}, or the round is over") from None
        except ValidationError as error:
            raise MaskingError(f"what this site kept of a round is damaged ({error.error_count()} faults)") from None
        terms = state.terms
        if (terms.run, terms.round, terms.task) != (run, number, task):
            raise MaskingError(f"this site has announced its keys for something else than what round {number} asks")
        return Member(state, self._identity())

    def _store(self, member: Member) -> None:
        """Before what was said may leave. After the last message nothing is left to say, and the secrets go."""
        sweep(self.file.parent)
        if member.state.stage == "revealed":
            self._drop()
        else:
            write_atomically(self.file, member.state.model_dump_json().encode(), mode=0o600)
            sync_folder(self.file.parent)

    def _drop(self) -> None:
        self.file.unlink()
        sync_folder(self.file.parent)  # else a loss of power brings the secrets back


def _read(kind: type[S], relayed: Mapping[str, bytes]) -> list[S]:
    return [kind.from_bytes(content) for content in relayed.values()]
