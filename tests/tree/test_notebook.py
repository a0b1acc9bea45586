"""Records and reports as HTML, for notebooks."""

import pickle
from xml.etree import ElementTree

import pytest

import tune_ckpt as tc
from tests.agents import trained
from tests.sweep.folders import make_sweep


def _shown(folder):
    trained().save_to_path(folder / "a")
    trained(step=8, name="<script>").save_to_path(folder / "b")
    (folder / "c").mkdir()
    (folder / "c" / "x.pkl").write_bytes(pickle.dumps(trained))
    make_sweep(folder / "sweep")
    return {
        "description": (tc.describe(folder / "a"), "float64"),
        "difference": (tc.diff(folder / "a", folder / "b"), "&lt;script&gt;"),
        "report": (tc.verify(folder / "a"), "verified"),
        "scan": (tc.scan(folder / "c"), "tests.agents:trained"),
        "record": (tc.best_checkpoint(folder / "sweep", "eval/acc"), "aaaaa_00000"),
    }


@pytest.mark.parametrize("kind", ["description", "difference", "report", "scan", "record"])
def test_it_is_well_formed_and_tells_the_facts(tmp_path, kind):
    value, told = _shown(tmp_path)[kind]
    html = value._repr_html_()
    ElementTree.fromstring(html.replace("<details open>", "<details>").replace("<br>", "<br/>"))
    assert told in html


@pytest.mark.parametrize(("count", "unfolded"), [(3, 4), (20, 1)])
def test_many_components_are_folded(tmp_path, count, unfolded):
    tc.save({f"policy_{n}": trained().model.head for n in range(count)}, tmp_path / "c")
    html = tc.describe(tmp_path / "c")._repr_html_()
    assert html.count("<details open>") == unfolded
    assert html.count("<summary>") == count + 1


def test_a_table_of_records_is_well_formed_and_short(tmp_path):
    make_sweep(tmp_path / "sweep", {"aaaaa_00000": (0.123456789, [0.5])}, deleted=())
    html = tc.rank_checkpoints(tmp_path / "sweep", "eval/acc")._repr_html_()
    ElementTree.fromstring(html)
    assert "lr=0.1235, same=1" in html
