"""What a sweep's files tell without being unpickled, and how its trials go on by that."""

import json
import os
import pickle
import re
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from ray import tune
from ray.tune.schedulers import FIFOScheduler, MedianStoppingRule
from ray.tune.utils.serialization import TuneFunctionEncoder
from ray.tune.utils.util import SafeFallbackEncoder

import tune_ckpt as tc
from tests.sweep.folders import edit
from tune_ckpt.errors import NotACheckpointError, PickleReadError, StorageError
from tune_ckpt.tree.storage.store import open_store
from tune_ckpt.tune import private
from tune_ckpt.tune.resuming.noted_configs import decoded, lost_objects, with_types
from tune_ckpt.tune.resuming.past import PastTrial
from tune_ckpt.tune.resuming.plain import Plain
from tune_ckpt.tune.resuming.remembering import RememberingScheduler
from tune_ckpt.tune.resuming.scheduler_memory import put_back
from tune_ckpt.tune.resuming.snapshot import Snapshot, class_name
from tune_ckpt.tune.resuming.state_files import StateFiles

KILLED = Path(__file__).parents[1] / "data/tune/killed-ray2.48.0-class"  # in its second trial

STOP = tune.RunConfig(stop={"training_iteration": 5})  # as it says itself, where it is whole


class T(tune.Trainable):
    """Of the same name as what the sweep ran."""


def _state(folder):
    (file,) = folder.glob("experiment_state-*.json")
    return file, json.loads(file.read_text())


def _resumed(tmp_path, change=lambda trial: None):
    folder = tmp_path / "run"
    shutil.copytree(KILLED, folder)
    file, state = _state(folder)
    for entry in state["trial_data"]:
        facts = json.loads(entry[0])
        change(facts)
        entry[0] = json.dumps(facts)
    file.write_text(json.dumps(state))
    return tc.resume(folder, T, portable=True, run_config=STOP)


def test_where_ray_cannot_resume_portable_is_not_advised_to_who_gave_it(tmp_path, monkeypatch):
    guard = private.run_config(_resumed(tmp_path)).callbacks[-1]
    monkeypatch.setattr(private, "controller", object)
    monkeypatch.setattr(private, "has_resumed", lambda controller: False)
    monkeypatch.setattr(private, "state_path", lambda controller: "run")
    with pytest.raises(PickleReadError, match=r"could not resume, .* give param_space") as failed:
        guard.setup()
    assert "portable=True" not in str(failed.value)


def test_a_state_that_lacks_the_runners_own_data_is_written_anew_with_it(tmp_path):
    (tmp_path / "experiment_state-2026-01-01_00-00-00.json").write_text('{"trial_data": [["{}"]]}')
    files = StateFiles.look(open_store(tmp_path))
    files.write("2026-01-02_00-00-00", [["{}", "{}"]], {"t1"})
    again = StateFiles.look(open_store(tmp_path))
    assert again.document["runner_data"]["_session_str"] == "2026-01-02_00-00-00"
    assert again.strangers == {"t1"}


def test_a_class_of_an_older_ray_goes_on_where_only_the_experiment_state_tells(tmp_path):
    trials = _resumed(tmp_path).report.trials
    found = [(t.status, t.iteration) for t in trials]
    assert found == [("finished", None), ("continues", 3), ("starts", None)]


def test_what_tune_noted_as_finished_stays_so_though_no_result_says_it(tmp_path):
    def stopped_early(facts):
        facts.update(status="TERMINATED", stopping_criterion={"training_iteration": 99})

    trials = _resumed(tmp_path, stopped_early).report.trials
    assert {t.status for t in trials} == {"finished"}


@pytest.mark.parametrize(
    "criterion", ["x", {"training_iteration": "x"}, {"training_iteration": []}]
)
def test_a_damaged_stop_criterion_does_no_harm(tmp_path, criterion):
    def damaged(facts):
        facts["stopping_criterion"] = criterion

    assert len(_resumed(tmp_path, damaged).report.trials) == 3


@pytest.mark.parametrize(
    "trial_data",
    [5, None, {"a": 1}, [5, None, [], [1], "x", ["[]"]], [['{"relative_logdir": {}}', "{}"]]],
)
def test_damaged_entries_tell_nothing(tmp_path, trial_data):
    plain = Plain.read(open_store(tmp_path), {"trial_data": trial_data})
    assert (plain.facts, plain.pairs) == ({}, {})


@pytest.mark.parametrize(
    ("stop", "told"),
    [
        ({"loss": np.float32(0.5), "epochs": np.int64(9)}, {"loss": 0.5, "epochs": 9}),
        ({"loss": T}, None),
    ],
)
def test_settings_with_numpys_numbers_are_told_and_those_with_objects_are_not(tmp_path, stop, told):
    configs = {
        "_run_config": tune.RunConfig(stop=stop),
        "_tune_config": tune.TuneConfig(num_samples=np.int64(3)),
    }
    (tmp_path / "tuner.pkl").write_bytes(pickle.dumps(configs))
    plain = Plain.read(open_store(tmp_path), None)
    assert (plain.run_config().stop, plain.tune_config().num_samples) == (told, 3)


@pytest.mark.parametrize("iteration", ["1", None, [], {}])
def test_a_checkpoint_without_a_number_as_its_iteration_is_not_known(tmp_path, iteration):
    line = {"training_iteration": iteration, "checkpoint_dir_name": "checkpoint_000000"}
    (tmp_path / "result.json").write_text(json.dumps(line) + "\n")
    past = PastTrial("trial", open_store(tmp_path))
    assert past.metrics_of("checkpoint_000000") is None
    recorded = {"training_iteration": 2, "loss": 0.5}
    assert past.metrics_of("checkpoint_000000", recorded) == recorded


def test_results_that_may_not_be_read_are_not_taken_for_none(tmp_path, monkeypatch):
    (tmp_path / "result.json").write_text("{}\n")
    past, opened = PastTrial("trial", open_store(tmp_path)), os.open

    def refused(path, *args, **options):
        if str(path).endswith("result.json"):
            raise PermissionError(13, "Permission denied")
        return opened(path, *args, **options)

    monkeypatch.setattr("os.open", refused)
    with pytest.raises(StorageError, match="Permission denied"):
        past.results  # noqa: B018  # it is the access that raises
    (tmp_path / "result.json").unlink()
    assert past.results == []


def _rebuilt(tmp_path, damage):
    """Damage a copy of the killed sweep and resume it; return the report, and the configs."""
    folder = tmp_path / "run"
    shutil.copytree(KILLED, folder)
    damage(folder)
    report = tc.resume(folder, T, portable=True, run_config=STOP).report
    _, state = _state(folder)
    configs = [json.loads(facts)["config"] for facts, _ in state["trial_data"]]
    return report, sorted(config.get("a", -1) for config in configs)


class Odd:
    """What only a pickle can hold."""


@pytest.mark.parametrize(("given", "lost"), [({}, "deep/odd, f"), ({"f": abs}, "deep/odd")])
def test_configs_have_the_types_that_were_noted_and_what_is_lost_is_told(tmp_path, given, lost):
    types = {"a": 1, "x": np.float32(0.5), "w": [np.arange(3)], "t": np.dtype("f4")}
    config = {**types, "f": abs, "deep": {"odd": Odd(), "text": "b"}}
    folder = tmp_path / "run"
    shutil.copytree(KILLED, folder)
    trial = next(folder.glob("T_*_00001_*"))
    (trial / "params.json").write_text(json.dumps(config, cls=SafeFallbackEncoder))
    file, state = _state(folder)
    facts = json.loads(state["trial_data"][0][0])
    facts["config"] = config
    state["trial_data"][0][0] = json.dumps(facts, cls=TuneFunctionEncoder)
    file.write_text(json.dumps(state))
    told = tc.resume(folder, T, portable=True, run_config=STOP, param_space=given).report.notes
    (note,) = (note for note in told if "in the place of objects" in note)
    assert note.endswith(f": {lost}; give param_space, which has them")
    _, state = _state(folder)
    found = next(t for t in private.load_trials(state) if t.trial_id.endswith("_00001")).config
    assert {name: repr(found[name]) for name in types} == {n: repr(v) for n, v in types.items()}
    assert (found["deep"]["text"], found["f"]) == ("b", given.get("f", str(abs)))


def test_a_noted_value_that_was_changed_since_does_not_count():
    noted = {"lr": np.float64(0.1), "w": np.arange(2), "new": np.int64(1)}
    assert with_types({"lr": 0.2, "w": [0, 2], "more": 1}, noted) == {
        "lr": 0.2,
        "w": [0, 2],
        "more": 1,
    }
    damaged = {"_type": "CLOUDPICKLE_FALLBACK", "value": "80zz"}
    assert with_types({"lr": "x"}, decoded({"lr": damaged})) == {"lr": "x"}
    assert list(lost_objects({"lr": "x"}, decoded({"lr": damaged}))) == ["lr"]


def _without_params(folder):
    for file in folder.glob("*/params.json"):
        file.write_bytes(file.read_bytes()[:5])


def test_a_config_that_is_damaged_stands_in_the_experiment_state_too(tmp_path):
    report, configs = _rebuilt(tmp_path, _without_params)
    assert [t.status for t in report.trials] == ["finished", "continues", "starts"]
    assert configs == [0, 1, 2]


def test_and_in_the_results(tmp_path):
    def damage(folder):
        _without_params(folder)
        _state(folder)[0].unlink()

    assert _rebuilt(tmp_path, damage)[1] == [0, 1]


def test_a_trial_whose_config_is_lost_is_not_run_without_it(tmp_path):
    def damage(folder):
        _without_params(folder)
        _state(folder)[0].unlink()
        for file in folder.glob("*_00001_*/result.json"):
            file.unlink()

    report, configs = _rebuilt(tmp_path, damage)
    assert [t.status for t in report.trials] == ["finished", "lost"]  # which is told once
    assert configs == [-1, 0]
    finished, lost = str(report).splitlines()[1:3]
    assert lost == "  trial c1445_00001 stays as it is: its config is recorded nowhere"
    unused = "checkpoint_000004, checkpoint_000003, checkpoint_000002, and 2 more are not used"
    assert finished.endswith(f"has finished: {unused}: no file tells the iteration")


def test_a_sweep_that_was_killed_before_its_trials_wrote_anything(tmp_path):
    def damage(folder):
        for trial in folder.glob("T_*"):
            shutil.rmtree(trial)

    report, configs = _rebuilt(tmp_path, damage)
    assert [t.status for t in report.trials] == ["finished", "starts", "starts"]
    assert configs == [0, 1, 2]


def _exploiting(folder):
    """Let the trial that was under way have taken over a checkpoint of the one that has ended."""
    file, state = _state(folder)
    exploits, ended = (json.loads(run) for _, run in state["trial_data"][:2])
    managers = [trial["checkpoint_manager"] for trial in (exploits, ended)]
    own, donor = (pickle.loads(bytes.fromhex(manager["value"])) for manager in managers)
    own._latest_checkpoint_result = donor._checkpoint_results[1]
    managers[0]["value"] = pickle.dumps(own).hex()
    state["trial_data"][0][1] = json.dumps(exploits)
    file.write_text(json.dumps(state))


def test_a_trial_that_exploits_another_goes_on_from_that_ones_checkpoint(tmp_path):
    _, goes_on, _ = _rebuilt(tmp_path, _exploiting)[0].trials
    assert "_00000_" in goes_on.checkpoint
    assert goes_on.iteration == 2


def test_unless_it_has_saved_since(tmp_path):
    def damage(folder):
        _exploiting(folder)
        newest = max(folder.glob("T_*_00001_*/checkpoint_*"))
        own = newest.with_name("checkpoint_000009")
        tc.save_state({"x": 1}, own)
        edit(own, metrics={}, trial={"iteration": 3})

    _, goes_on, _ = _rebuilt(tmp_path, damage)[0].trials
    assert goes_on.checkpoint.endswith("checkpoint_000009")
    assert goes_on.iteration == 3


def test_where_no_trial_is_known_nothing_is_touched(tmp_path):
    (tmp_path / "tuner.pkl").write_bytes(b"x")
    with pytest.raises(NotACheckpointError, match="no trial is recorded"):
        tc.resume(tmp_path, T, portable=True)
    assert (tmp_path / "tuner.pkl").read_bytes() == b"x"


def test_links_that_lead_nowhere_or_round_are_damage(tmp_path):
    def damage(folder):
        (folder / "experiment_state-2099-01-01_00-00-00.json").symlink_to("nowhere")
        (folder / "searcher-state-2099-01-01_00-00-00.pkl").symlink_to("nowhere")
        (trial,) = folder.glob("*_00001_*")
        (trial / "checkpoint_000002/w.json").unlink()
        (trial / "checkpoint_000002/w.json").symlink_to("w.json")
        for name in "ab":  # 2 ** 40 ways round
            (trial / "checkpoint_000001" / name).symlink_to(".")

    report, _ = _rebuilt(tmp_path, damage)
    assert [(t.status, t.iteration) for t in report.trials][1] == ("continues", 2)
    told = "\n".join(map(str, report.set_aside))
    assert "experiment_state-2099-01-01_00-00-00.json: it is a link that leads nowhere" in told
    assert "set_aside/checkpoint_000002: w.json" in told


RULE = MedianStoppingRule(metric="loss", mode="min")


def _kept(tmp_path, numbers, scheduler=RULE):
    """Return a sweep of three trials, with a scheduler's state and a searcher's of some."""
    folder = tmp_path / "run"
    shutil.copytree(KILLED, folder)
    config = tune.TuneConfig(scheduler=RULE)
    tc.resume(folder, T, portable=True, run_config=STOP, tune_config=config)
    file, state = _state(folder)
    file.unlink()
    del state["tune_ckpt_strangers"]  # as Tune writes it
    (folder / "experiment_state-2026-11-21_00-00-00.json").write_text(json.dumps(state))
    statuses = {f"c1445_{number:05}": "PENDING" for number in numbers}
    packed = Snapshot(class_name(scheduler), {}, {}, statuses).pack(str(folder))
    states = pickle.dumps({"a callback": {"scheduler": packed}})
    (folder / "callback-states-2026-11-21_00-00-00.pkl").write_bytes(states)
    searcher = "basic-variant-state-2026-11-21_14-56-39.json"
    shutil.copy(KILLED / searcher, folder / "basic-variant-state-2026-11-21_00-00-00.json")
    return folder


@pytest.mark.parametrize(
    ("numbers", "scheduler", "told"),
    [
        ([0, 1, 2], RULE, "goes on with the state that it had"),
        ([0], RULE, "again .* kept is of other trials: it lacks c1445_00001, c1445_00002"),
        ([*range(1, 4)], RULE, "trials: it lacks c1445_00000 and it knows c1445_00003"),
        ([0, 1, 2], FIFOScheduler(), "kept is of a ray.tune.*:FIFOScheduler"),
    ],
)
def test_why_a_scheduler_does_not_go_on_with_what_was_kept_is_told(
    tmp_path, numbers, scheduler, told
):
    notes = tc.resume(_kept(tmp_path, numbers, scheduler), T).report.notes
    assert re.search(told, "\n".join(notes))


def test_what_was_kept_of_other_trials_is_not_put_back(caplog):
    packed = Snapshot(class_name(RULE), {"kept": True}, {}, {"a": "PENDING"}).pack("run")
    controller = SimpleNamespace(_trials=[SimpleNamespace(trial_id="b")])
    scheduler = MedianStoppingRule()
    put_back(packed, controller, RememberingScheduler(scheduler))
    assert not hasattr(scheduler, "kept")
    assert "begins anew: the state that was kept is of other trials" in caplog.text


def test_a_sweep_that_was_resumed_and_not_run_has_what_was_kept_still(tmp_path):
    folder = _kept(tmp_path, [0, 1, 2])
    first, second = (tc.resume(folder, T).report.notes for _ in range(2))
    assert first == second == ["the scheduler goes on with the state that it had"]


def _searched(tuner):
    """Return what the searcher of a resumed sweep is to know."""
    callbacks = tuner._local_tuner.get_run_config().callbacks
    return next(c for c in callbacks if isinstance(c, tc.CheckpointCallback)).memory.search


def test_and_its_searcher_hears_still_of_what_has_ended_since_its_state_was_saved(tmp_path):
    folder = _kept(tmp_path, [])
    file, state = _state(folder)
    for entry in state["trial_data"]:
        entry[0] = json.dumps({**json.loads(entry[0]), "status": "RUNNING"})
    file.write_text(json.dumps(state))
    for _ in range(2):
        searched = _searched(tc.resume(folder, T))
        assert [*searched.ended] == ["c1445_00000"]
        assert not searched.strangers


def test_but_not_twice_of_what_has_ended_and_goes_on(tmp_path):
    folder = _kept(tmp_path, [0, 1, 2])
    for _ in range(2):
        searched = _searched(tc.resume(folder, T, extend={"training_iteration": 9}))
        assert searched.strangers == {"c1445_00000"}
        assert not searched.ended


class Deaf(tune.search.Searcher):
    """Suggests, and takes no points: it knows no trial that it has not suggested itself."""

    def suggest(self, trial_id):
        return {"a": 1}

    def on_trial_complete(self, trial_id, result=None, error=False):
        pass

    def save(self, checkpoint_path):
        Path(checkpoint_path).write_bytes(pickle.dumps(None))


def test_nor_of_trials_that_it_does_not_know(tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(KILLED, folder)
    config = tune.TuneConfig(search_alg=Deaf(metric="loss", mode="min"), num_samples=4)
    given = {"run_config": STOP, "tune_config": config, "param_space": {"a": tune.choice([1])}}
    first = _searched(tc.resume(folder, T, portable=True, **given))
    assert first.strangers == {"c1445_00000", "c1445_00001", "c1445_00002"}
    assert _searched(tc.resume(folder, T)).strangers == first.strangers


def test_ray_does_not_find_an_older_sessions_files_in_place_of_what_is_gone(tmp_path):
    folder = _kept(tmp_path, [0, 1, 2])
    for name in ("callback-states", "basic-variant-state"):
        (file,) = folder.glob(f"{name}-*")
        older = file.with_name(file.name.replace("2026-11-21", "2026-11-20"))
        shutil.copy(file, older)
        file.write_bytes(b"")
    tc.resume(folder, T)
    assert not [*folder.glob("callback-states-*"), *folder.glob("basic-variant-state-*")]


def test_nor_any_pickle_of_an_older_session_where_none_is_used(tmp_path):
    folder = _kept(tmp_path, [0, 1, 2])
    (file,) = folder.glob("callback-states-*")
    shutil.copy(file, file.with_name(file.name.replace("2026-11-21", "2026-11-20")))
    tc.resume(folder, T, portable=True, run_config=STOP)
    assert not [*folder.glob("callback-states-*")]
