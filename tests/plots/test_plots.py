"""Pictures: what is drawn, on light and dark ground, for few and for many trials."""

import base64
import io
import json
import re
import shutil
import sys
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from matplotlib.text import Text

import tune_ckpt as tc
from tests.agents import trained
from tests.sweep.folders import make_sweep
from tune_ckpt.errors import MissingDependencyError, NoCheckpointError, UnknownMetricError
from tune_ckpt.plots import curves
from tune_ckpt.plots.curves import draw_curves
from tune_ckpt.plots.history import Curve, History, Mark, read_history
from tune_ckpt.plots.page import page
from tune_ckpt.plots.sizes import draw_sizes
from tune_ckpt.plots.theme import DARK, LIGHT
from tune_ckpt.plots.timeline import draw_timeline
from tune_ckpt.sweep.metrics import Metric


def _trials(count, name="aaaaa"):
    return {f"{name}_{n:05}": (n, [0.5 + n / 1000, 0.7, 0.6 + n / 1000]) for n in range(count)}


@pytest.fixture
def sweep(tmp_path):
    return make_sweep(tmp_path / "sweep")


def _lines(figure):
    return figure.axes[0].get_lines()


def _texts(figure):
    legends = [text.get_text() for legend in figure.legends for text in legend.get_texts()]
    axes = figure.axes[0]
    own = [axes.get_title(loc="left"), *(text.get_text() for text in axes.texts)]
    return own + legends + [label.get_text() for label in axes.get_yticklabels()]


def _dots(figure, face):
    marked = [line for line in _lines(figure) if line.get_marker() == "o"]
    return sum(len(line.get_xdata()) for line in marked if line.get_markerfacecolor() == face)


def test_each_checkpoint_is_a_dot_and_deleted_ones_are_hollow(sweep):
    figure = tc.plot(sweep, "eval/acc")
    assert _dots(figure, LIGHT.ground) == 2
    assert sum(_dots(figure, color) for color in LIGHT.series) == 4


@pytest.mark.parametrize(("mode", "place"), [("max", (3, 0.9)), ("min", (2, 0.6))])
def test_the_best_that_is_left_is_starred(sweep, mode, place):
    figure = tc.plot(sweep, "eval/acc", mode)
    (star,) = [line for line in _lines(figure) if line.get_marker() == "*"]
    assert (star.get_xdata()[0], star.get_ydata()[0]) == place
    assert f"{place[1]:.4g}" in _texts(figure)


@pytest.mark.parametrize(
    ("verify", "starred", "crossed", "meaning"),
    [
        (True, (3, 0.8), [0.9], "best checkpoint"),
        (False, (3, 0.9), [], "best checkpoint, not verified"),
    ],
)
def test_what_is_damaged_is_crossed_and_the_star_is_the_best_that_is_usable(
    sweep, verify, starred, crossed, meaning
):
    _damage(tc.best_checkpoint(sweep, "eval/acc").path)
    figure = tc.plot(sweep, "eval/acc", verify=verify)
    marked = {line.get_marker(): line for line in _lines(figure)}
    assert (marked["*"].get_xdata()[0], marked["*"].get_ydata()[0]) == starred
    assert [*marked["x"].get_ydata()] == crossed
    texts = _texts(figure)
    assert meaning in texts
    assert ("damaged checkpoint" in texts) is bool(crossed)
    assert any(", 1 damaged" in text for text in texts) is bool(crossed)


def _damage(checkpoint):
    with open(f"{checkpoint}/state.pkl", "wb"):
        pass


def test_of_a_sweep_all_damaged_there_are_curves_and_crosses(sweep):
    for checkpoint in sweep.glob("*/checkpoint_*"):
        _damage(checkpoint)
    marked = {line.get_marker(): line for line in _lines(tc.plot(sweep, "eval/acc"))}
    assert len(marked["x"].get_xdata()) == 4
    assert "*" not in marked


def test_the_curves_are_the_results(sweep):
    drawn = [line for line in _lines(tc.plot(sweep, "eval/acc")) if line.get_linestyle() == "-"]
    values = sorted(list(map(float, line.get_ydata())) for line in drawn if len(line.get_xdata()))
    assert values == [[0.4, 0.6, 0.8], [0.5, 0.7, 0.9]]


def _history(count):
    """What is read of a sweep of so many trials, each with a checkpoint that was deleted."""
    saved = datetime(2026, 1, 30, tzinfo=timezone.utc)
    marks = [Mark(place, 0.5, "c" if place > 1 else None, saved, None) for place in (1, 2, 3)]
    curves = [
        Curve(f"aaaaa_{n:05}", f"lr={n}", [1, 2, 3], [n, 0.7, n], marks) for n in range(count)
    ]
    return History("s", Metric("eval/acc"), curves, None)


@pytest.mark.parametrize(("count", "dark"), [(1, False), (10, True), (200, False)])
def test_few_trials_are_told_apart_and_the_rest_is_counted(count, dark):
    figure = draw_curves(_history(count), dark=dark)
    texts = _texts(figure)
    assert sum(text.startswith("aaaaa_") for text in texts) == min(5, count)
    assert (f"{count - 5:,} other trials" in texts) is (count > 5)
    for made in (figure, draw_timeline(_history(count), dark=dark)):
        made.draw_without_rendering()
        assert made.get_facecolor()[:3] == _rgb(DARK.ground if dark else LIGHT.ground)


def _rgb(color):
    from matplotlib.colors import to_rgb

    return to_rgb(color)


def test_names_may_be_long_and_hold_anything(tmp_path):
    sweep = make_sweep(tmp_path / ("s$_{^" + "x" * 150), _trials(3, "$a_{b" * 20))
    history = read_history(sweep, "eval/acc")
    for made in (draw_curves(history), draw_timeline(history)):
        made.savefig(io.BytesIO(), format="png")
        assert max(map(len, _texts(made))) < 130


def test_text_lies_within_the_picture(tmp_path):
    history = read_history(make_sweep(tmp_path / ("s" * 100), _trials(12, "t" * 60)), "eval/acc")
    for made in (draw_curves(history), draw_timeline(history)):
        made.draw_without_rendering()
        ticks = made.axes[0].get_xticklabels()  # some are beyond the axis, and not drawn
        texts = [text for text in made.findobj(Text) if text.get_text() and text not in ticks]
        boxes = [text.get_window_extent() for text in texts]
        assert len(boxes) > 10
        assert all(box.x0 >= 0 and box.x1 <= made.bbox.width for box in boxes)


def test_a_sweep_without_checkpoints_has_curves_all_the_same(tmp_path):
    every = [f"checkpoint_{n:06}" for n in range(3)]
    sweep = make_sweep(tmp_path / "s", deleted=every)
    figure = tc.plot(sweep, "eval/acc")
    assert _dots(figure, LIGHT.ground) == 6
    assert not [line for line in _lines(figure) if line.get_marker() == "*"]


def test_a_metric_without_numbers_is_said_to_have_none(tmp_path):
    sweep = make_sweep(tmp_path / "s", {"aaaaa_00000": (0.1, [float("nan")] * 3)})
    figure = tc.plot(sweep, "eval/acc")
    assert "no result has a number for it" in _texts(figure)
    assert not [*figure.axes[0].get_xticks(), *figure.axes[0].get_yticks()]


def test_infinity_is_told_but_has_no_star(tmp_path):
    sweep = make_sweep(tmp_path / "s", {"aaaaa_00000": (0.1, [0.5, float("inf"), 0.7])})
    figure = tc.plot(sweep, "eval/acc")
    assert "best checkpoint" not in _texts(figure)
    assert any("best inf" in text for text in _texts(figure))


@pytest.mark.parametrize("timestamp", [1.7e18, -1e300])
def test_a_timestamp_that_is_no_time_is_left_out(sweep, timestamp):
    for file in sweep.glob("*/result.json"):
        results = [{**json.loads(line), "timestamp": timestamp} for line in file.open()]
        file.write_text("".join(f"{json.dumps(result)}\n" for result in results))
    marks = read_history(sweep, "eval/acc").marks
    assert [mark.saved is None for mark in marks] == [mark.path is None for mark in marks]


def test_iterations_are_whole_numbers(tmp_path):
    axes = tc.plot(make_sweep(tmp_path / "s", {"aaaaa_00000": (0.1, [0.5])}), "eval/acc").axes[0]
    assert {float(tick).is_integer() for tick in axes.get_xticks()} == {True}


def test_a_power_of_ten_does_not_lie_on_the_text_below_the_title(tmp_path):
    sweep = make_sweep(tmp_path / "s", {"aaaaa_00000": (0.1, [1e12, 3e12])})
    figure = tc.plot(sweep, "eval/acc")
    figure.draw_without_rendering()
    axes = figure.axes[0]
    power, below = axes.yaxis.get_offset_text(), axes.texts[-1]
    assert power.get_text() == "1e12"
    assert power.get_window_extent().x1 < below.get_window_extent().x0


def test_errors_are_those_of_the_ranking(sweep, tmp_path):
    with pytest.raises(UnknownMetricError):
        tc.plot(sweep, "nonsense")
    (tmp_path / "empty").mkdir()
    with pytest.raises(NoCheckpointError):
        tc.plot(tmp_path / "empty", "x")


def test_without_matplotlib_it_says_what_to_install(sweep, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setattr(curves, "read_history", lambda *_, **__: pytest.fail("it was read"))
    with pytest.raises(MissingDependencyError, match="pip install matplotlib"):
        tc.plot(sweep, "eval/acc")


# --------------------------------------------------------------------------------------- sizes


def test_sizes_add_up_and_the_largest_comes_first(tmp_path):
    trained(size=5000).save_to_path(tmp_path / "c", use_msgpack=True)
    figure = draw_sizes(tc.describe(tmp_path / "c"))
    bars = figure.axes[0].patches
    assert sum(bar.get_width() for bar in bars) == tc.describe(tmp_path / "c").total_nbytes
    labels = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert labels == ["(its own files)", "model"]  # from below


def test_very_many_components_are_summed_up(tmp_path):
    parts = {f"policy_{n:03}_{'x' * 80}": _Part(n) for n in range(60)}
    tc.save(parts, tmp_path / "c")
    description = tc.describe(tmp_path / "c")
    figure = draw_sizes(description)
    figure.savefig(io.BytesIO(), format="png")
    labels = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert len(labels) == 15
    assert labels[0].endswith(" more")
    total = sum(bar.get_width() for bar in figure.axes[0].patches)
    assert total == description.total_nbytes


def test_a_bar_has_names_only_where_they_can_be_read(tmp_path):
    parts = {"large": _Part(10_000), "small": _Part(1)}
    tc.save({**parts, "agent": trained(size=50_000)}, tmp_path / "c")
    figure = draw_sizes(tc.describe(tmp_path / "c"))
    inside = [text.get_text() for text in figure.axes[0].texts]
    told = [text for text in inside if "," not in text and "component" not in text]
    assert told == ["model"]  # what has one part alone needs no name for it


class _Part(tc.Checkpointable):
    def __init__(self, n=0):
        self.w = np.zeros(10 * n + 10)

    def get_state(self, components=None, *, not_components=None, **kwargs):
        return {"w": self.w}

    def set_state(self, state):
        self.w = state["w"]

    def get_ctor_args_and_kwargs(self):
        return (), {}


# ------------------------------------------------------------------------------------ timeline


def test_the_timeline_has_saves_and_conversions(sweep):
    best = tc.best_checkpoint(sweep, "eval/acc").path
    trial, _, name = best.rpartition("/")
    tc.convert_to_msgpack_checkpoint(best, f"{trial}/msgpack/{name}")
    history = read_history(sweep, "eval/acc")
    figure = draw_timeline(history)
    squares = [line for line in _lines(figure) if line.get_marker() == "s"]
    assert sum(len(line.get_xdata()) for line in squares) == 1
    assert _dots(figure, LIGHT.ground) == 2
    assert "6 saves, 1 conversion" in _texts(figure)


@pytest.mark.parametrize("seconds", [0, 0.5, 7, 45, 3_000, 50_000, 900_000, 90_000_000])
def test_a_timeline_of_any_length_has_dates(seconds):
    start = datetime(2026, 1, 30, 23, 59, tzinfo=timezone.utc)
    times = [start, start + timedelta(seconds=seconds)]
    marks = [Mark(place, 0.5, "c", time, None) for place, time in enumerate(times)]
    curve = Curve("a", "", [1], [0.5], marks)
    figure = draw_timeline(History("s", Metric("x"), [curve], None))
    figure.savefig(io.BytesIO(), format="png")
    ticks = [text for label in figure.axes[0].get_xticklabels() if (text := label.get_text())]
    assert 1 <= len(ticks) <= 14


# ---------------------------------------------------------------------------------------- page


def test_a_page_needs_nothing_else_and_has_both_grounds(sweep):
    html = page(read_history(sweep, "eval/acc"))
    assert not re.findall(r'(?:src|href|srcset)="(?!data:)', html)
    pictures = re.findall(r'"data:image/svg\+xml;base64,([^"]+)"', html)
    assert len(pictures) == 6
    grounds = set()
    for picture in pictures:
        svg = base64.b64decode(picture).decode()
        ElementTree.fromstring(svg)
        grounds |= {ground for ground in (LIGHT.ground, DARK.ground) if f"fill: {ground}" in svg}
    assert grounds == {LIGHT.ground, DARK.ground}
    assert html.count("prefers-color-scheme: dark") == 4


def test_a_page_tells_when_the_best_cannot_be_looked_into(sweep):
    best = Path(tc.best_checkpoint(sweep, "eval/acc").path)
    shutil.rmtree(best)
    best.mkdir()
    (best / "model.bin").write_bytes(b"a framework's own")
    html = page(read_history(sweep, "eval/acc"))
    assert "What is in it cannot be told" in html


def test_names_are_escaped_in_a_page():
    history = replace(_history(1), name="<b>&")
    assert "<title>eval/acc in &lt;b&gt;&amp;</title>" in page(history)
