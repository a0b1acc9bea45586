"""The examples' YAML files: what is wrong with one is told with its place."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from settings import SettingsError, command, read


@dataclass
class Search:
    rates: list[float]
    width: int


@dataclass
class Sweep:
    metric: str
    trials: int
    search: Search


RIGHT = "metric: acc\ntrials: 2\nsearch: {rates: [1, 0.5], width: 8}\n"


@pytest.fixture
def faults_of(tmp_path):
    def of(text):
        path = tmp_path / "x.yaml"
        path.write_text(text)
        with pytest.raises(SettingsError) as caught:
            read(Sweep, path)
        assert str(caught.value).startswith(f"{path} cannot be used:\n  - ")
        return caught.value.faults

    return of


def test_a_right_file_becomes_the_dataclass(tmp_path):
    (tmp_path / "x.yaml").write_text(RIGHT)
    found = read(Sweep, tmp_path / "x.yaml")
    assert found == Sweep("acc", 2, Search([1.0, 0.5], 8))
    assert type(found.search.rates[0]) is float


WRONG = {
    "an unknown key": (
        RIGHT + "tirals: 3",
        ["tirals: there is no such setting; did you mean trials?"],
    ),
    "a key like no other": (
        RIGHT + "zzz: 3",
        ["zzz: there is no such setting; there is metric, trials, search"],
    ),
    "an unknown key below": (
        RIGHT.replace("{", "{witdh: 3, "),
        ["search.witdh: there is no such setting; did you mean width?"],
    ),
    "a missing key": (RIGHT.replace("trials: 2\n", ""), ["trials: it is missing"]),
    "another type": (
        RIGHT.replace("2", "two"),
        ["trials: it must be a whole number, and is the text 'two'"],
    ),
    "a fraction": (
        RIGHT.replace("2", "2.5"),
        ["trials: it must be a whole number, and is 2.5"],
    ),
    "a truth for a number": (
        RIGHT.replace("2", "yes"),
        ["trials: it must be a whole number, and is True"],
    ),
    "a truth for text": (RIGHT.replace("acc", "yes"), ["metric: it must be text, and is True"]),
    "another type in a list": (
        RIGHT.replace("0.5", "1e-3"),
        ["search.rates[1]: it must be a number, and is the text '1e-3' (YAML wants 1.0e-3)"],
    ),
    "no list": (
        RIGHT.replace("[1, 0.5]", "1"),
        ["search.rates: it must be a list with something in it, and is 1"],
    ),
    "a value for keys": (
        "metric: acc\ntrials: 2\nsearch: 3",
        ["search: it must be keys with values, and is 3"],
    ),
    "an empty file": ("", ["the file: it must be keys with values, and is nothing"]),
    "all at once": (
        "metrik: acc\ntrials: two\nsearch: {}",
        [
            "metrik: there is no such setting; did you mean metric?",
            "metric: it is missing",
            "trials: it must be a whole number, and is the text 'two'",
            "search.rates: it is missing",
            "search.width: it is missing",
        ],
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_told_with_its_place(faults_of, name):
    text, faults = WRONG[name]
    assert faults_of(text) == faults


def test_what_is_no_yaml_is_told_with_its_line(faults_of):
    (fault,) = faults_of("metric: [acc\ntrials: 2")
    assert fault.startswith("it is not YAML:")
    assert "line 2" in fault


def test_a_file_that_is_not_there_is_told(tmp_path):
    with pytest.raises(SettingsError, match="No such file"):
        read(Sweep, tmp_path / "none.yaml")


def test_at_the_prompt_it_is_wrong_use_without_a_traceback(tmp_path, capsys):
    path = tmp_path / "x.yaml"
    path.write_text(RIGHT + "tirals: 3")
    with pytest.raises(SystemExit) as exited:
        command("What it shows.", Sweep, "x.yaml").parse_args(["--config", str(path)])
    assert exited.value.code == 2
    told = capsys.readouterr().err
    assert f"{path} cannot be used:\n  - tirals: there is no such setting;" in told
    assert "Traceback" not in told
