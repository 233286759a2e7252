"""The figures of a plan are those of the replay, as the simulated workspace shows."""

from __future__ import annotations

import pytest

from bench import replay_plan
from tests.conftest import RedisServer
from tests.pipeline import Pipeline

EACH = 6  # dead letters of a group


@pytest.fixture(scope="module")
def rows(redis_server: RedisServer) -> dict[str, replay_plan.Row]:
    config = replay_plan.config(replay_plan.FAULTY)
    with Pipeline(redis_server.url, workers=1, config=config, SEGUE_SWEEP_S="0.2", SEGUE_SETTLE_S="0.05") as pipeline:
        found = replay_plan.compare(pipeline, EACH * len(replay_plan.GROUPS))
        pipeline.assert_accounted()
    return {row.name: row for row in found}


def test_a_replay_does_what_its_plan_says(rows: dict[str, replay_plan.Row]) -> None:
    assert [row for row in rows.values() if row.predicted != row.actual] == []


def test_every_figure_of_a_plan_has_a_group(rows: dict[str, replay_plan.Row]) -> None:
    assert min(row.predicted for row in rows.values()) == EACH
    assert len(rows) == 16
