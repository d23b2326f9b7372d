"""Letting sites in and shutting them out: the registry says who belongs here, and the SuperLink follows it."""

from __future__ import annotations

import datetime as dt
import tempfile
from pathlib import Path

from ra_core.daemons.health import serving
from ra_core.errors import AdmissionError, ConnectError
from ra_core.files import SMALL, read_bounded
from ra_core.keys import fingerprint, parse_public_key, public_line
from server.consortium import Consortium
from server.flower import Flower, control
from server.operation.daemon import SUPERLINK, health_addresses, running
from server.provisioning.registry import FormerKey, SiteRecord, edited, load_site, load_sites, save_site, timestamp

__all__ = ["admit", "reached", "revoke"]


def reached(consortium: Consortium) -> Flower:
    """The control commands of a consortium's SuperLink, which answers.

    Raises:
        ConnectError: its daemon doesn't run, or the SuperLink is not up yet.
    """
    if not running(consortium):
        hint = f"start it: `ra-server start {consortium.file.name}`"
        raise ConnectError(f"the server of {consortium.config.name} doesn't run on this machine", hint)
    if not serving(health_addresses(consortium.config)[SUPERLINK]):
        hint = f"wait a moment; `ra-server status` tells, and {consortium.flower / 'superlink.log'} says more"
        raise ConnectError(f"the SuperLink of {consortium.config.name} is not up yet, or not any more", hint)
    return control(consortium)


def admit(consortium: Consortium, flower: Flower, name: str, key: Path, replace: bool, now: dt.datetime) -> list[str]:
    """Let a site's key in; the value says in lines what was done. A key that is in already changes nothing.

    Args:
        consortium: of the operator.
        flower: its SuperLink.
        name: of the site.
        key: its public key, a file.
        replace: it takes the place of the site's present key, which is never let in again.
        now: the present.

    Raises:
        AdmissionError: the site is unknown, or the key may not be let in.
        FlowerError: the SuperLink fails.
    """
    with edited(consortium):
        record = _site(consortium, name)
        public_key, mark = _read(key)
        _refuse_used(consortium, record, mark)
        other = record.state == "admitted" and record.fingerprint != mark
        if other and not replace:
            hint = "--replace puts this one in its place; the other is never let in again"
            raise AdmissionError(f"{name} has another key already, {record.fingerprint}", hint)
        told = _shut_out_unknown(consortium, flower)
        if record.fingerprint == mark and _active(flower, record.node_id):
            return [*told, f"{name} is admitted with this key already; nothing was changed"]
        node = _register(flower, public_key)
        changes = {"fingerprint": mark, "public_key": public_key, "node_id": node, "when": timestamp(now)}
        admitted = _former(record, "replaced", now) if other else record
        save_site(consortium, admitted.model_copy(update={"state": "admitted", **changes}))
        told += _shut_out_unknown(consortium, flower)
    if record.fingerprint == mark:
        return [*told, f"the SuperLink had lost the key of {name}, {mark}: admitted it again"]
    return [*told, f"admitted {name} with the key {mark}: compare it with what the site says"]


def revoke(consortium: Consortium, flower: Flower, name: str, now: dt.datetime) -> list[str]:
    """Shut a site out; its key is never let in again. A site that is out already stays so.

    Args:
        consortium: of the operator.
        flower: its SuperLink.
        name: of the site.
        now: the present.

    Raises:
        AdmissionError: the site is unknown.
        FlowerError: the SuperLink fails; the registry has the site out by then, and running this again ends it.
    """
    with edited(consortium):
        record = load_site(consortium, name)
        told = [f"{name} is out already"]
        if record.state != "revoked":
            out = _former(record, "revoked", now) if record.state == "admitted" else record
            save_site(consortium, out.model_copy(update={"state": "revoked", "when": timestamp(now)}))
            told = [f"revoked {name}: a running site is cut off within a minute; only with a new key can it come back"]
        return [*told, *_shut_out_unknown(consortium, flower)]


def _site(consortium: Consortium, name: str) -> SiteRecord:
    """A site that the settings still name."""
    record = load_site(consortium, name)
    if name not in consortium.config.sites:
        raise AdmissionError(f"{name} has left the consortium", f"add it to `sites` in {consortium.file.name}")
    return record


def _read(path: Path) -> tuple[str, str]:
    """Line and fingerprint of a public key."""
    try:
        key = parse_public_key(read_bounded(path, SMALL))
    except OSError as error:
        raise AdmissionError(f"{path}: can't be read ({type(error).__name__})", "give the site's .pub file") from None
    except ValueError as error:
        raise AdmissionError(f"{path}: {error}", "nothing was changed") from None
    return public_line(key), fingerprint(key)


def _refuse_used(consortium: Consortium, record: SiteRecord, mark: str) -> None:
    """Each key is one site's, and its time comes once."""
    new = "have the site make a new key: `ra-client keygen`"
    for name, other in load_sites(consortium).items():
        former = {key.fingerprint: key.why for key in other.former}
        if name != record.name and mark in {other.fingerprint, *former}:
            raise AdmissionError(f"the key {mark} is that of {name}", new)
        if mark in former:
            raise AdmissionError(f"the key {mark} was {former[mark]} and is never let in again", new)


def _active(flower: Flower, node: int | None) -> bool:
    return str(node) in {state.node for state in flower.nodes() if state.status != "unregistered"}


def _register(flower: Flower, public_key: str) -> int:
    """The node's number."""
    with tempfile.TemporaryDirectory(prefix="ra-") as scratch:
        path = Path(scratch) / "site.pub"
        path.write_text(public_key, encoding="utf-8")
        return flower.register(path)


def _former(record: SiteRecord, why: str, now: dt.datetime) -> SiteRecord:
    """The record without its present key, which is a former one now."""
    key = FormerKey.model_validate(
        {"fingerprint": record.fingerprint, "node_id": record.node_id, "when": timestamp(now), "why": why}
    )
    return record.model_copy(
        update={"former": (*record.former, key), "fingerprint": "", "public_key": "", "node_id": None}
    )


def _shut_out_unknown(consortium: Consortium, flower: Flower) -> list[str]:
    """Unregister what the registry doesn't let in: old keys, and what a command that broke off has left."""
    known = {str(record.node_id) for record in load_sites(consortium).values() if record.state == "admitted"}
    unknown = [state for state in flower.nodes() if state.status != "unregistered" and state.node not in known]
    for state in unknown:
        flower.unregister(int(state.node))
    return [f"the SuperLink lets the key of node {state.node} in no more" for state in unknown]
