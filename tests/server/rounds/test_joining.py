"""Who takes part: names, late comers, sites that are away, and what each of them costs."""

import pytest
from answering import SITES, answering_app, good_join
from federating import KilledError, Told, federate, start, study
from flwr.app import Error, Message, RecordDict
from replies import join_refusal

from ra_core.errors import QuorumError
from ra_core.messages import SITE_FAILED
from server.rounds import joining
from server.rounds.progress import Progress
from server.rounds.roster import Roster
from server.rounds.strategy import FederatedAveraging
from simulation.engines import InProcessGrid


class Coming(InProcessGrid):
    """Sites are connected in certain rounds only; all are in the others, and before the first.

    Args:
        away: rounds by place of the site.
    """

    def __init__(self, app, away):
        super().__init__(app, [{"name": site} for site in SITES])
        self.away, self.round, self.asked = away, 0, []

    def get_node_ids(self):
        return [node for node in super().get_node_ids() if self.round not in self.away.get(node - 1000, ())]

    def push_messages(self, messages):
        messages = list(messages)
        self.asked += [(m.metadata.message_type, m.metadata.dst_node_id - 1000) for m in messages]
        return super().push_messages(messages)


def coming(away, joining=None, exchanges=None, registered=None, **federation):
    """A federation whose sites are away in certain rounds, counted from 1; 0 is before the first.

    Args:
        away: rounds by place of the site.
        joining: how sites answer to joining.
        exchanges: a list that grows with each exchange done.
        registered: sites by node, where keys tell.
    """
    told = Told()
    grid = Coming(answering_app(joining=joining), away)

    def next_round(progress):
        grid.round = len(progress.records) + 1
        if exchanges is not None:
            exchanges.append(grid.round)

    def tell(event, **fields):
        told(event, **fields)
        if event in ("joined", "waiting") and grid.round == 0 and len(told.of("joined")) >= 3:
            grid.round = 1

    settings = study(**{"quorum": 0.5, "join_seconds": 0.3, "deadline_seconds": 5.0} | federation)
    more = {"tell": tell, "registered": registered}
    strategy = FederatedAveraging(grid, settings, SITES, lambda _: True, next_round, **more)
    return strategy.run(Progress(start())), told, grid


def test_all_sites_join_before_the_first_round_and_tell_their_counts():
    told = Told()
    done = federate(tell=told)
    kinds = [event["event"] for event in told]
    assert kinds[:6] == ["waiting", "joined", "joined", "joined", "joined", "round_started"]
    assert told[0]["for"] == list(SITES)
    assert told.of("joined")[1] == {
        "event": "joined",
        "site": "berta",
        "n_images": 200,
        "n_used": 299,
        "n_declared": 300,
    }
    assert sorted(done.joined) == list(SITES)
    assert (done.joined["berta"].n_val_patients, done.joined["berta"].modality) == (2, "MR")


def test_a_site_that_comes_later_takes_part_from_the_next_round_on():
    done, told, _ = coming({3: (0, 1)})
    assert [record.missing for record in done.records] == [{"dora": "not connected"}, {}, {}, {}]
    assert [record.asked for record in done.records] == [SITES[:3], SITES, SITES, SITES]
    assert [event["site"] for event in told.of("joined")] == list(SITES)
    assert done.delivered == SITES


def test_a_site_that_goes_is_not_asked_until_it_is_back():
    done, _, grid = coming({1: (2, 3)})
    missing = [record.missing for record in done.records]
    assert missing == [{}, {"berta": "not connected"}, {"berta": "not connected"}, {}]
    assert grid.asked.count(("train", 1)) == 2
    assert grid.asked.count(("query", 1)) == 1


def test_a_site_that_never_comes_is_missing_everywhere_and_lacks_the_model():
    done, told, grid = coming({3: range(10)})
    assert {tuple(record.missing.items()) for record in done.records} == {(("dora", "not connected"),)}
    assert done.undelivered == {"dora": "not connected"}
    assert not [kind for kind, place in grid.asked if place == 3]
    assert told.of("not_delivered") == [{"event": "not_delivered", "site": "dora", "reason": "not connected"}]


def test_a_site_that_refuses_to_join_is_named_with_its_reason_and_asked_again_before_later_rounds(monkeypatch):
    monkeypatch.setattr(joining, "RETRY_SECONDS", 0.0)
    exchanges = []

    def mended_after_the_first(site, order):
        return good_join(site, order) if exchanges else Error(1000, "TooFewImagesError at dora")

    done, told, _ = coming({}, joining={"dora": mended_after_the_first}, exchanges=exchanges)
    missing = [record.missing for record in done.records]
    assert missing == [{"dora": "reports TooFewImagesError"}, {}, {}, {}]
    assert told.of("refused") == [{"event": "refused", "site": "dora", "reason": "reports TooFewImagesError"}]


@pytest.mark.parametrize(("keys_tell", "reason"), [(False, "not connected"), (True, "no answer before the deadline")])
def test_a_node_that_does_not_answer_is_waited_for_once(monkeypatch, keys_tell, reason):
    monkeypatch.setattr(joining, "LATE_SECONDS", 0.05)

    class Silent(Coming):
        def pull_messages(self, message_ids):
            mute = [n for n in message_ids if self._waiting[n].metadata.dst_node_id == 1003]
            return super().pull_messages([name for name in message_ids if name not in mute])

    grid = Silent(answering_app(), {})
    settings = study(quorum=0.5, join_seconds=0.1, deadline_seconds=1.0)
    names = {1000 + place: site for place, site in enumerate(SITES)} if keys_tell else {}
    run = FederatedAveraging(grid, settings, SITES, lambda _: True, lambda _: None, registered=names)
    done = run.run(Progress(start()))
    assert {tuple(record.missing.items()) for record in done.records} == {(("dora", reason),)}
    assert grid.asked.count(("query", 3)) == 1


def test_who_has_said_no_and_is_asked_again_is_absent_for_that_reason():
    roster = Roster(study(), SITES, KEYS, Told())
    order = Message(RecordDict(), dst_node_id=1003, message_type="query")
    roster.take(1003, Message(Error(SITE_FAILED, "PermissionError at dora"), reply_to=order))
    roster.silent.add(1003)
    assert roster.why_absent("dora") == "reports PermissionError"


KEYS = {1000 + place: site for place, site in enumerate(SITES)}


def test_a_site_that_comes_for_the_model_alone_joins_first_though_its_key_is_known():
    """It answers in runs alone that it has joined."""
    done, told, grid = coming({3: range(5)}, registered=KEYS)
    assert {tuple(record.missing) for record in done.records} == {("dora",)}
    assert [kind for kind, place in grid.asked if place == 3] == ["query", "query.deliver"]
    assert (done.delivered, told.of("joined")[-1]["site"]) == (SITES, "dora")


def test_a_site_that_refuses_is_not_asked_to_take_the_model(monkeypatch):
    monkeypatch.setattr(joining, "RETRY_SECONDS", 0.0)
    refusing = {"dora": lambda site, order: join_refusal(site=site)}
    done, _, grid = coming({}, joining=refusing, registered=KEYS)
    assert "its policy refuses" in done.undelivered["dora"]
    assert {kind for kind, place in grid.asked if place == 3} == {"query"}


def test_a_site_that_joined_before_a_restart_is_not_asked_again_for_the_model():
    done, *_ = coming({}, registered=KEYS)
    done.delivered = ()
    grid = Coming(answering_app(), {})
    again = FederatedAveraging(grid, study(), SITES, lambda _: True, lambda _: None, registered=KEYS).run(done)
    assert again.delivered == SITES
    assert {kind for kind, _ in grid.asked} == {"query.deliver"}


BAD = {
    "an error": (lambda s, o: Error(1000, f"VersionError at {s}"), "reports VersionError"),
    "an error of nobody": (lambda s, o: Error(1000, "ConfigError"), "reports ConfigError"),
    "another version": (lambda s, o: good_join(s, o, package_hash="0" * 64), "another version"),
    "another study": (lambda s, o: good_join(s, o, study_digest="0" * 64), "another study"),
    "no images": (lambda s, o: good_join(s, o, n_images=0), "counts"),
    "more patients than images": (lambda s, o: good_join(s, o, n_patients=10**6), "counts"),
    "no patients to validate on": (lambda s, o: good_join(s, o, n_val_patients=0), "counts"),
    "more files used than declared": (lambda s, o: good_join(s, o, n_used=10**6), "counts of files"),
    "a stranger": (lambda s, o: good_join("anna", o, site="zoe"), "'zoe' is not a site of this study"),
    "a name that is taken": (lambda s, o: good_join("anna", o), "joins as 'anna', which it is not"),
    "a long word": (lambda s, o: good_join(s, o, anatomy="a" * 1000), "anatomy"),
    "another message": (lambda s, o: o, "other parts"),
    "a refusal": (lambda s, o: join_refusal(site=s), "its policy refuses: policy.parts doesn't let out decoder"),
    "a refusal in odd words": (lambda s, o: join_refusal(site=s, reason="a\nb"), "can't be printed"),
    "no ledger": (lambda s, o: good_join(s, o, ledger_length=0), "ledger"),
}


@pytest.mark.parametrize("what", BAD)
def test_a_bad_answer_to_joining_keeps_the_site_out_and_the_rest_goes_on(what):
    behaviour, reason = BAD[what]
    told = Told()
    done = federate({}, joining={"berta": behaviour}, quorum=0.75, join_seconds=0.1, tell=told)
    for record in done.records:
        assert record.answered == ("anna", "clara", "dora")
        assert list(record.missing) == ["berta"]
    (refused,) = told.of("refused")
    assert reason in refused["reason"]
    assert refused.get("site", refused.get("node")) in ("berta", "1001")
    with pytest.raises(QuorumError, match=r"round 1: 3 of 4 sites joined, 4 are needed .*" + reason):
        federate({}, joining={"berta": behaviour}, join_seconds=0.1)


def test_a_registered_node_is_its_site_and_no_other():
    def thief(site, order):
        return good_join("anna", order)

    told = Told()
    keys = {1000: "anna", 1001: "berta", 1002: "clara", 1003: "dora"}
    done = federate({}, joining={"berta": thief}, order=[1, 0, 2, 3], quorum=0.75, registered=keys, tell=told)
    assert done.records[0].answered == ("anna", "clara", "dora")
    assert done.records[0].missing == {"berta": "joins as 'anna', which it is not"}
    assert [event["site"] for event in told.of("refused")] == ["berta"]


def test_nodes_that_are_no_sites_of_the_run_are_not_even_asked_where_keys_tell():
    app = answering_app()
    grid = Coming(app, {})
    keys = {1000: "anna", 1001: "berta"}
    sites = ("anna", "berta")
    done = FederatedAveraging(grid, study(), sites, lambda _: True, lambda _: None, registered=keys).run(
        Progress(start())
    )
    assert done.delivered == sites
    assert {place for _, place in grid.asked} == {0, 1}


def test_a_node_is_asked_with_what_is_known_of_its_sites_ledger_where_keys_tell():
    asked = {}

    def joins(site, order):
        asked[site] = (order.ledger_length, order.ledger_head)
        return good_join(site, order)

    grid = Coming(answering_app(joining=dict.fromkeys(SITES, joins)), {})
    keys, known = {1000: "anna", 1001: "berta"}, {"anna": (7, "a" * 64), "clara": (9, "c" * 64)}
    for registered in (keys, {}):
        asked.clear()
        settings = {"registered": registered, "ledgers": known}
        FederatedAveraging(grid, study(), ("anna", "berta"), lambda _: True, lambda _: None, **settings).run(
            Progress(start())
        )
        assert asked["anna"] == ((7, "a" * 64) if registered else (0, ""))
        assert asked["berta"] == (0, "")


@pytest.mark.parametrize("error", [Error(5, "Node Unavailable"), Error(1000, "Crashed at berta")])
def test_a_connection_or_process_that_broke_off_is_no_refusal_and_the_site_is_asked_again(monkeypatch, error):
    monkeypatch.setattr(joining, "RETRY_SECONDS", 0.0)
    answers = iter([error])

    def back(site, order):
        return next(answers, None) or good_join(site, order)

    done = federate({}, joining={"berta": back}, join_seconds=60.0)
    assert [record.answered for record in done.records] == [SITES] * 4


def test_a_resumed_run_lets_sites_join_anew():
    kept = []

    def kill(progress):
        kept.append(progress)
        raise KilledError

    with pytest.raises(KilledError):
        federate(on_round=kill)
    told = Told()
    federate(progress=kept[0], tell=told)
    assert [event["site"] for event in told.of("joined")] == list(SITES)
