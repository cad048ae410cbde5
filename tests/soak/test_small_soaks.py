"""The soaks of benchmarks/soak.py, small: the long ones are run before a release, with the same code."""

from pathlib import Path

import pytest

from benchmarks.soaks import disk, kills, weather
from benchmarks.soaks.endpoint import WAYS, Endpoint
from tests.support.chat_server import Received


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """The soaks set these for the processes that they start: undone afterwards."""
    for name in ("XDG_CACHE_HOME", "PYTHONPATH"):
        monkeypatch.setenv(name, "")


@pytest.mark.slow  # tests/faults kills at every point of a list
def test_a_campaign_killed_at_random_ends_like_one_that_was_not(tmp_path: Path) -> None:
    result = kills.soak(tmp_path, kills=3, trials=3, seed=3, say=False)
    wrong = set(kills.verdict(result)) - {"kills"}  # so few trials may be over before the last one
    assert not wrong, {name: result.get(name) for name in wrong}
    assert result["kills"] >= 2


# tests/graph/asking/test_outages.py has every trouble by itself, test_planner_campaign.py several at once
@pytest.mark.slow
def test_a_campaign_behind_a_bad_endpoint_ends(tmp_path: Path) -> None:
    result = weather.soak(tmp_path, trials=10, share=0.3, seed=1, say=False)
    assert weather.verdict(result, small=True) == [], result
    assert result["requests"]["good"] >= 10
    assert sum(result["requests"].values()) > result["requests"]["good"]


@pytest.mark.slow  # tests/graph/limits/test_disk.py does the same
def test_a_night_on_a_disk_that_fills_up_ends_like_one_with_room(tmp_path: Path) -> None:
    try:
        result = disk.soak(tmp_path, trials=3, phases=("measured",), small=True)
    except PermissionError as error:
        pytest.skip(str(error))
    assert disk.verdict(result) == [], result


def test_the_endpoint_misbehaves_in_every_way_and_as_often_as_asked() -> None:
    endpoint = Endpoint(0.3, 0)
    request = Received("/v1/chat/completions", {}, {"messages": []})
    for _ in range(2000):
        endpoint(request)
    assert set(endpoint.told) == {*WAYS, "good"}
    assert 0.67 < endpoint.told["good"] / 2000 < 0.73
