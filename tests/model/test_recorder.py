"""The checker detects each kind of fault, and finds none in a correct history."""

from __future__ import annotations

import msgspec
import pytest

from messenger.testing.conversations import DATABASE, group, pair
from messenger.testing.recorder import Findings, Heard, Recorder, View, check

ADA, BOB, EVE = 1, 2, 3
BOTH = pair(BOB, ADA)


def message(position: int, client_id: str, seq: int) -> Heard:
    return Heard(position, between=BOTH, seq=seq, client_id=client_id)


def receipt(position: int) -> Heard:
    return Heard(position, "receipt.updated")


def stream(name: str, user_id: int, *heard: Heard) -> View:
    return View(name, user_id, heard)


GOOD = (message(1, "m1", 1), receipt(2), message(3, "m2", 2))


def sent(*client_ids: str) -> Recorder:
    """A history of messages that were acknowledged one after the other."""
    recorder = Recorder()
    for seq, client_id in enumerate(client_ids, 1):
        recorder.invoke(client_id, BOTH)
        recorder.ok(client_id, seq)
    return recorder


def checked(*views: View, recorder: Recorder | None = None) -> Findings:
    return check((recorder or sent("m1", "m2")).history, views)


class TestNoFaults:
    def test_complete_run_has_no_findings(self) -> None:
        histories = [
            View(f"history of {user}", user, tuple(each for each in GOOD if each.client_id), history=True)
            for user in (ADA, BOB)
        ]
        findings = checked(stream("ada/1", ADA, *GOOD), stream("ada/2", ADA, *GOOD), *histories)
        assert findings == Findings(acknowledged=2)
        assert findings.faults == {}

    def test_empty_run_has_no_findings(self) -> None:
        assert check([], [stream("ada/1", ADA)]) == Findings()

    def test_message_of_other_conversation_is_not_expected(self) -> None:
        assert checked(stream("eve/1", EVE)).faults == {}

    def test_stream_starting_late_has_no_faults(self) -> None:
        late = View("ada/2", ADA, GOOD[1:], after=1, late=True)
        assert checked(stream("ada/1", ADA, *GOOD), late).faults == {}

    def test_stream_ending_early_has_no_faults(self) -> None:
        assert checked(stream("ada/1", ADA, *GOOD), View("ada/2", ADA, GOOD[:1], ended=True)).faults == {}

    def test_stream_starting_late_and_ending_early_has_no_faults(self) -> None:
        view = View("ada/2", ADA, GOOD[2:], after=2, late=True, ended=True)
        assert checked(stream("ada/1", ADA, *GOOD), view).faults == {}

    def test_concurrent_messages_may_be_numbered_in_any_order(self) -> None:
        recorder = Recorder()
        for client_id in ("m1", "m2"):
            recorder.invoke(client_id, BOTH)
        recorder.ok("m2", 2)
        recorder.ok("m1", 1)
        assert checked(stream("ada/1", ADA, *GOOD), recorder=recorder).faults == {}


class TestGroups:
    GROUP = group(100)

    def _message(self, position: int, client_id: str, seq: int) -> Heard:
        return Heard(position, between=self.GROUP, seq=seq, client_id=client_id)

    def _findings(self, *views: View) -> Findings:
        recorder = Recorder()
        for seq, client_id in enumerate(("m1", "m2", "m3"), 1):
            recorder.invoke(client_id, self.GROUP)
            recorder.ok(client_id, seq)
        return check(recorder.history, views)

    def _stored(self, *seqs: int) -> View:
        return View("the database", DATABASE, tuple(self._message(0, f"m{seq}", seq) for seq in seqs), history=True)

    def test_member_may_have_part_of_the_messages(self) -> None:
        part = stream("ada/1", ADA, self._message(1, "m2", 2))
        assert self._findings(part, self._stored(1, 2, 3)).faults == {}

    def test_message_missing_from_database_is_lost_and_a_gap(self) -> None:
        findings = self._findings(self._stored(1, 3))
        assert findings.faults == {
            "lost": ["m2 (2 of (0, 100)) not on the database"],
            "gaps": ["seq of (0, 100) on the database: no 2 (1 in all)"],
        }

    def test_stream_without_events_of_group_left_since_has_no_gap(self) -> None:
        heard = (self._message(1, "m1", 1), receipt(4))
        assert self._findings(View("ada/1", ADA, heard, left_out=frozenset({2, 3})), self._stored(1, 2, 3)).faults == {}
        assert self._findings(View("ada/1", ADA, heard, left_out=frozenset({2})), self._stored(1, 2, 3)).gaps == [
            "positions on ada/1: no 3 (1 in all)"
        ]


class TestLostMessages:
    def test_acknowledged_message_missing_from_stream_is_lost(self) -> None:
        findings = checked(stream("ada/1", ADA, *GOOD), stream("bob/1", BOB, message(1, "m1", 1)))
        assert findings.faults == {"lost": ["m2 (2 of (1, 2)) not on bob/1"]}

    def test_message_missing_from_history_is_lost(self) -> None:
        assert list(checked(View("history", ADA, GOOD[:1], history=True)).faults) == ["lost"]

    def test_message_acknowledged_by_retry_is_lost(self) -> None:
        recorder = Recorder()
        recorder.invoke("m1", BOTH)
        recorder.unknown("m1")
        recorder.invoke("m1", BOTH)
        recorder.ok("m1", 1)
        assert checked(stream("ada/1", ADA), recorder=recorder).lost == ["m1 (1 of (1, 2)) not on ada/1"]


class TestDuplicates:
    def test_client_id_at_two_positions_is_duplicated(self) -> None:
        findings = checked(stream("ada/1", ADA, *GOOD, message(4, "m1", 3)))
        assert findings.faults == {"duplicated": ["m1 twice on ada/1"]}

    def test_repeated_position_is_duplicated(self) -> None:
        findings = checked(stream("ada/1", ADA, *GOOD[:2], GOOD[1], GOOD[2]))
        assert findings.faults == {"duplicated": ["position 2 twice on ada/1"]}

    def test_two_acknowledged_positions_are_duplicated(self) -> None:
        recorder = sent("m1", "m2")
        recorder.invoke("m1", BOTH)
        recorder.ok("m1", 3)
        assert checked(stream("ada/1", ADA, *GOOD), recorder=recorder).duplicated == ["m1: acknowledged as [1, 3]"]


class TestUnexpectedMessages:
    def test_message_without_sender_is_unexpected(self) -> None:
        findings = checked(stream("ada/1", ADA, *GOOD, message(4, "ghost", 3)))
        assert findings.faults == {"unexpected": ["ghost on ada/1: nobody sent it"]}

    def test_refused_message_in_stream_is_unexpected(self) -> None:
        recorder = sent("m1", "m2")
        recorder.invoke("m3", BOTH)
        recorder.fail("m3")
        findings = checked(stream("ada/1", ADA, *GOOD, message(4, "m3", 3)), recorder=recorder)
        assert findings.faults == {"unexpected": ["m3 on ada/1: it was refused"]}
        assert findings.failed == 1

    def test_message_at_wrong_seq_is_unexpected(self) -> None:
        findings = checked(stream("ada/1", ADA, message(1, "m2", 1), message(2, "m1", 2)))
        assert list(findings.faults) == ["unexpected"]
        assert len(findings.unexpected) == 2

    def test_message_in_wrong_conversation_is_unexpected(self) -> None:
        moved = msgspec.structs.replace(GOOD[0], between=pair(ADA, EVE))
        assert checked(stream("ada/1", ADA, moved, *GOOD[1:])).unexpected


class TestReorderedMessages:
    def test_messages_in_wrong_order_are_reordered(self) -> None:
        findings = checked(stream("ada/1", ADA, message(1, "m2", 2), message(2, "m1", 1)))
        assert findings.faults == {"reordered": ["1 after 2 of (1, 2) on ada/1"]}

    def test_positions_in_wrong_order_are_reordered(self) -> None:
        assert list(checked(stream("ada/1", ADA, GOOD[1], GOOD[0], GOOD[2])).faults) == ["reordered"]

    def test_later_message_with_lower_seq_is_reordered(self) -> None:
        recorder = Recorder()
        for client_id, seq in (("m2", 2), ("m1", 1)):
            recorder.invoke(client_id, BOTH)
            recorder.ok(client_id, seq)
        findings = checked(stream("ada/1", ADA, *GOOD), recorder=recorder)
        assert findings.faults == {"reordered": ["m1 is 1, but begun after 2 was there"]}


class TestGaps:
    def test_missing_seq_is_a_gap(self) -> None:
        recorder = Recorder()
        recorder.invoke("m2", BOTH)
        recorder.ok("m2", 2)
        findings = checked(stream("ada/1", ADA, message(1, "m2", 2)), recorder=recorder)
        assert findings.faults == {"gaps": ["seq of (1, 2) on ada/1: no 1 (1 in all)"]}

    def test_skipped_position_is_a_gap(self) -> None:
        findings = checked(stream("ada/1", ADA, GOOD[0], GOOD[2]))
        assert findings.faults == {"gaps": ["positions on ada/1: no 2 (1 in all)"]}

    def test_stream_starting_after_expected_position_has_a_gap(self) -> None:
        assert checked(View("ada/2", ADA, GOOD[2:], after=1, late=True)).gaps

    def test_skipped_position_in_ended_stream_is_a_gap(self) -> None:
        assert checked(View("ada/2", ADA, (GOOD[0], GOOD[2]), ended=True)).gaps


class TestDivergence:
    def test_devices_with_different_events_at_same_position_diverge(self) -> None:
        other = (GOOD[0], Heard(2, "contact.updated"), GOOD[2])
        findings = checked(stream("ada/1", ADA, *GOOD), stream("ada/2", ADA, *other))
        assert list(findings.faults) == ["diverged"]
        assert "position 2" in findings.diverged[0]

    def test_device_behind_user_stream_diverges(self) -> None:
        findings = checked(stream("ada/1", ADA, *GOOD, receipt(4)), stream("ada/2", ADA, *GOOD))
        assert findings.faults == {"diverged": ["ada/2 ends at 3, its user's stream at 4"]}

    def test_users_with_different_messages_at_same_seq_diverge(self) -> None:
        recorder = Recorder()
        for client_id in ("m1", "m2"):
            recorder.invoke(client_id, BOTH)
            recorder.unknown(client_id)
        one, other = stream("ada/1", ADA, message(1, "m1", 1)), stream("bob/1", BOB, message(1, "m2", 1))
        assert checked(one, other, recorder=recorder).faults == {"diverged": ["1 of (1, 2): m1 on ada/1, m2 on bob/1"]}


class TestUnknownOutcomes:
    @pytest.mark.parametrize("ends", [True, False])
    def test_unknown_message_found_later_is_recovered(self, ends: bool) -> None:
        recorder = sent("m1")
        recorder.invoke("m2", BOTH)
        if ends:
            recorder.unknown("m2")
        findings = checked(stream("ada/1", ADA, *GOOD), recorder=recorder)
        assert findings == Findings(recovered=["m2"], acknowledged=1, unknown=1)

    def test_unknown_message_not_found_is_no_fault(self) -> None:
        recorder = sent("m1")
        recorder.invoke("m2", BOTH)
        recorder.unknown("m2")
        assert checked(stream("ada/1", ADA, GOOD[0]), recorder=recorder).faults == {}

    def test_refused_retry_leaves_outcome_unknown(self) -> None:
        recorder = sent("m1", "m2")
        recorder.invoke("m3", BOTH)
        recorder.unknown("m3")
        recorder.invoke("m3", BOTH)
        recorder.fail("m3")
        assert recorder.unsettled() == ["m3"]
        findings = checked(stream("ada/1", ADA, *GOOD, message(4, "m3", 3)), recorder=recorder)
        assert (findings.faults, findings.recovered) == ({}, ["m3"])

    def test_settled_message_is_not_unsettled(self) -> None:
        assert sent("m1").unsettled() == []


def test_findings_count_each_kind() -> None:
    shown = str(checked(stream("ada/1", ADA)))
    assert shown.startswith("acknowledged 2, unknown 0, failed 0; lost 2, duplicated 0,")
    assert "  lost: m1 (1 of (1, 2)) not on ada/1" in shown
