"""Records and reports as HTML, for notebooks."""

import pickle
from xml.etree import ElementTree

import pytest

import tune_ckpt as tc
from tests.agents import trained
from tests.cli.conftest import make_sweep


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
