"""`python -m bench.report`: ranges of several runs in the marked blocks of a page, and nothing else."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench import report

PAGE = """# Title

Prose stays.

<!-- figures: lanes -->
old text
<!-- end -->

More prose.

<!-- figures: lanes.depth -->
<!-- end -->

<!-- figures: rate -->
stays, for it was not measured
<!-- end -->
"""


def run(path: Path, *figures: tuple[str, float, str, float | None]) -> Path:
    lines = [
        json.dumps({"bench": name, "value": value, "unit": unit} | ({"baseline": baseline} if baseline else {}))
        for name, value, unit, baseline in figures
    ]
    path.write_text("\n".join(["worker: Warm shutdown", *lines]))
    return path


def test_blocks_get_the_ranges_of_all_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "page.md"
    page.write_text(PAGE)
    runs = [
        run(
            tmp_path / f"run-{number}",
            ("lanes.append", append, "events/s", None),
            ("lanes.depth_100_over_10.life", depth, "redis_us/event", 10.0),
            ("elsewhere", 1.0, "s", None),
        )
        for number, (append, depth) in enumerate([(100_400, 11.0), (99_700, 12.0), (105_000, 10.5)])
    ]

    code = report.main(["--page", str(page), "--commit", "abc1234", "--from", *map(str, runs)])

    origin = f"3 runs at commit abc1234, {report.machine()}."
    assert code == 0
    assert page.read_text() == PAGE.replace(
        "old text\n",
        f"""| figure | value | unit |
| --- | --- | --- |
| `lanes.append` | 99,700 to 105,000 | events/s |

{origin}
""",
    ).replace(
        "<!-- figures: lanes.depth -->\n",
        f"""<!-- figures: lanes.depth -->
| figure | value | unit | baseline | ratio |
| --- | --- | --- | --- | --- |
| `lanes.depth_100_over_10.life` | 10.5 to 12 | redis_us/event | 10 | 1.05 to 1.2 |

{origin}
""",
    )
    assert capsys.readouterr().err == "there is no block for the figure elsewhere\n"


def test_writing_the_same_runs_again_changes_nothing(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(PAGE)
    only = run(tmp_path / "run", ("lanes.append", 1.0, "events/s", None))
    arguments = ["--page", str(page), "--commit", "abc1234", "--from", str(only)]

    report.main(arguments)
    first = page.read_text()
    report.main(arguments)

    assert page.read_text() == first


def test_sizes_are_computed_from_the_largest_figures() -> None:
    lines = [
        '{"bench": "throughput.segue.processor.ingest", "value": %d, "unit": "us/event"}',
        '{"bench": "throughput.segue.processor.workers", "value": 40, "unit": "us/event"}',
        '{"bench": "throughput.segue.processor.redis", "value": 20, "unit": "us/event"}',
        '{"bench": "single.processor.ingest", "value": 100, "unit": "us/event"}',
        '{"bench": "lanes.server.memory.independent", "value": 500, "unit": "bytes/waiting_event"}',
        '{"bench": "lanes.message_id", "value": 8, "unit": "bytes/id"}',
    ]
    figures = report.by_name(
        report.read(line % ingest if "%d" in line else line for line in lines) for ingest in (10, 20)
    )

    assert report.sizing(figures).splitlines()[2:] == [
        "| 1,000 | 1 | 1 | 1 | 1 | 2.72 GB |",
        "| 10,000 | 1 | 2 | 1 | 1 | 27.2 GB |",
        "| 100,000 | 4 | 20 | 8 | 4 | 272 GB |",
    ]
    assert report.sizing({}) == ""


def test_every_block_of_the_page_is_closed() -> None:
    page = report.PAGE.read_text()

    assert page.count("<!-- figures: ") == page.count("<!-- end -->") > 0
