"""What a campaign of kills tells of itself; the kills are tried by hand, and in a short run by test_chaos."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from pathlib import Path

import pytest

from tests.chaos.judge import Judged
from tests.chaos.kills import Campaign
from tests.chaos.run import Verdict


def verdict(seed: int, judged: Judged | None = None) -> Verdict:
    return Verdict(
        seed,
        faults=Counter(kill_both=2, kill_server=1),
        kills=5,
        kills_by=Counter(kill_both=4, kill_server=1),
        answered_after_s=defaultdict(list, kill_both=[1.0, 3.0], kill_server=[2.0]),
        answered=100,
        judged=judged or Judged(),
    )


def test_rounds_are_added_up_and_what_was_broken_names_its_seed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    campaign = Campaign(10, tmp_path)
    campaign.judged(verdict(7))
    assert campaign.kills == 5
    assert campaign.found == []
    campaign.judged(verdict(8, Judged(["2 answered fixes are not stored"], fixes_lost=2, cents_off=310)))
    campaign.tell()
    assert campaign.found == ["seed 8: 2 answered fixes are not stored"]
    told = json.loads((tmp_path / "kills-7.json").read_text())
    assert (told["kills"], told["answered"], told["fixes_lost"], told["cents_off"]) == (10, 200, 2, 310)
    assert [one["seed"] for one in told["rounds"]] == [7, 8]
    page = (tmp_path / "kills-7.md").read_text()
    assert "| both | 4 | 8 | 2.0 s | 3.0 s |" in page
    assert "| server | 2 | 2 | 2.0 s | 2.0 s |" in page
    assert "BROKEN: seed 8" in page
    assert "BROKEN: seed 8" in capsys.readouterr().out
