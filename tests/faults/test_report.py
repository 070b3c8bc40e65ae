"""How a run is judged, and what is stored and shown of it."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import msgspec
import pytest

from messenger.testing.recorder import Findings
from tests.faults import _report
from tests.faults._controls import CONTROLS
from tests.faults._fault import all_faults
from tests.faults._outcome import KINDS, Outcome

PAGE = Path(__file__).parents[2] / "docs" / "guarantees.md"


def outcome(**changes: object) -> Outcome:
    """The outcome of a fault without findings."""
    good = Outcome(
        name="kill_worker",
        promise="G1",
        what="kill -9 of one worker",
        seed="1",
        at="2026-11-24 23:00",
        asked=2,
        recovery_bound=5.0,
        settled_bound=20.0,
        cycles=2,
        recovery=[0.1, 0.3],
        settled=[0.5, 0.6],
        operations=1234,
    )
    return msgspec.structs.replace(good, **changes)


class TestVerdict:
    def test_faultless_outcome_is_good(self) -> None:
        assert outcome().good

    @pytest.mark.parametrize("kind", KINDS)
    def test_any_finding_fails_outcome(self, kind: str) -> None:
        assert not outcome(**{kind: 1}).good

    @pytest.mark.parametrize(
        "changes",
        [
            {"cycles": 1},
            {"error": "it broke off"},
            {"problems": ["a message was answered with 500"]},
            {"skipped": "NOT TESTED: no tmpfs"},
            {"recovery": [0.1, 5.1]},
            {"settled": [0.1, 20.1]},
        ],
        ids=lambda changes: next(iter(changes)),
    )
    def test_any_other_deviation_fails_outcome(self, changes: dict[str, object]) -> None:
        assert not outcome(**changes).good

    def test_control_without_findings_fails(self) -> None:
        assert outcome(control="lost", lost=3, reordered=1).good
        assert not outcome(control="lost", duplicated=3).good
        assert not outcome(control="lost", lost=3, error="it broke off").good

    def test_message_missed_by_four_devices_counts_as_lost_once(self) -> None:
        found = outcome()
        lost = [f"{client_id} (1 of (1, 2)) not on ada/{device}" for client_id in ("m1", "m2") for device in range(4)]
        found.store(Findings(lost=lost), Counter({201: 3}), attempts=9, repeats=1)
        assert (found.lost, found.operations, found.answers) == (2, 9, {201: 3})


class TestOutcomeFiles:
    @pytest.fixture(autouse=True)
    def folder(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        monkeypatch.setattr(_report, "FOLDER", tmp_path / "faults")
        monkeypatch.setattr(_report, "DOCS", tmp_path / "page.md")
        return tmp_path

    def test_newest_outcome_of_each_fault_is_kept(self) -> None:
        for each in (outcome(), outcome(name="kill_server"), outcome(operations=5)):
            _report.write(each)
        assert [(each.name, each.operations) for each in _report.read()] == [("kill_worker", 5), ("kill_server", 1234)]

    def test_update_of_page_replaces_only_figures(self, folder: Path) -> None:
        _report.DOCS.write_text(PAGE.read_text())
        _report.write(outcome(operations=7654321, notes=["5,000 back in 9 s"]))
        _report.write(outcome(name="forget_ids", control="duplicated", duplicated=164))
        _report.write_docs()
        once = _report.DOCS.read_text()
        assert "7,654,321" in once
        assert "5,000 back in 9 s" in once
        assert "| 164 | good |" in once
        assert once.startswith(PAGE.read_text().partition("<!--")[0])
        assert once.endswith(PAGE.read_text().rpartition("-->")[2])
        _report.write_docs()
        assert _report.DOCS.read_text() == once


class TestGuaranteesPage:
    def test_page_names_existing_faults(self) -> None:
        named = set(re.findall(r"--(?:fault|control) ([a-z_]+)", PAGE.read_text()))
        assert named <= {*all_faults(), *CONTROLS}

    def test_every_fault_tests_documented_guarantee(self) -> None:
        promised = set(re.findall(r"^\| (G\d+) \|", PAGE.read_text(), re.MULTILINE))
        tested = {each.name: each.promise for each in all_faults().values()}
        tested |= {each.name: each.promise for each in CONTROLS.values()}
        for name, promises in tested.items():
            assert set(promises.split(", ")) <= promised, name
