"""Schedulers' states made again from the results: no callback kept them, or no pickle is used."""

import json
import pickle
import random
from types import SimpleNamespace

import numpy as np
import pytest
from ray import tune
from ray.tune.schedulers import (
    ASHAScheduler,
    HyperBandForBOHB,
    HyperBandScheduler,
    MedianStoppingRule,
    PopulationBasedTrainingReplay,
)
from ray.tune.search import SearchGenerator
from ray.tune.search.optuna import OptunaSearch

import tune_ckpt as tc
from tests.tune.resuming import (
    GOAL,
    POPULATION,
    Climber,
    in_two_parts,
    interrupted,
    uninterrupted,
)
from tests.tune.sweeps import pb2, rows
from tune_ckpt.tune.resuming.histories import History
from tune_ckpt.tune.resuming.replay import replayed
from tune_ckpt.tune.resuming.searching import teach

pytestmark = pytest.mark.slow

SWEEPS = {
    "ASHA": (lambda: ASHAScheduler(max_t=6, reduction_factor=2), 6, 11),
    "HyperBand": (lambda: HyperBandScheduler(max_t=4, reduction_factor=2), 6, 5),
    "median": (
        lambda: MedianStoppingRule("training_iteration", grace_period=1, min_samples_required=2),
        4,
        9,
    ),
}


@pytest.mark.parametrize(
    "name", ["ASHA", *(pytest.param(one, marks=pytest.mark.nightly) for one in [*SWEEPS][1:])]
)
def test_the_state_is_made_again_from_the_results(tmp_path, ray_session, name):
    scheduler, stop, _ = SWEEPS[name]
    parts, report = in_two_parts(tmp_path, *SWEEPS[name], space=POPULATION, **GOAL)
    assert "made again from the trials' results" in str(report)
    assert parts == uninterrupted(tmp_path, scheduler, stop, space=POPULATION, **GOAL)


class Pausing(tune.search.Searcher):
    """As much of BOHB's searcher as its scheduler asks for; it suggests by a seed."""

    def __init__(self):
        super().__init__(**GOAL)
        self.random = random.Random(3)

    def set_search_properties(self, metric, mode, config, **spec):
        return True

    def suggest(self, trial_id):
        return {"rate": self.random.uniform(0, 4)}

    def on_pause(self, trial_id):
        pass

    def on_trial_complete(self, trial_id, result=None, error=False):
        pass

    on_unpause = on_pause

    def save(self, checkpoint_path):
        with open(checkpoint_path, "wb") as file:
            pickle.dump(self.random, file)

    def restore(self, checkpoint_path):
        with open(checkpoint_path, "rb") as file:
            self.random = pickle.load(file)


def _bohb():
    return HyperBandForBOHB("training_iteration", max_t=4, reduction_factor=2)


def _searched():
    return {"search_alg": Pausing(), "num_samples": 5, **GOAL}


@pytest.fixture(scope="module")
def bohbs(tmp_path_factory, ray_session):
    """What BOHB's scheduler does when it is not interrupted."""
    return uninterrupted(tmp_path_factory.mktemp("whole"), _bohb, 6, **_searched())


@pytest.mark.nightly
@pytest.mark.parametrize(("after", "callbacks"), [(5, 1), (8, 0)])
def test_bohbs_scheduler_goes_on_with_the_callback_and_without(tmp_path, bohbs, after, callbacks):
    callback = [tc.CheckpointCallback()] * callbacks
    parts, _ = in_two_parts(tmp_path, _bohb, 6, after, *callback, **_searched())
    assert parts == bohbs


class Told:
    """As much of a trial as schedulers look at."""

    def __init__(self, name):
        self.trial_id, self.status, self.config = name, "RUNNING", {"rate": 9.0}
        self.is_finished = lambda: False
        self.evaluated_params, self.experiment_tag, self.is_saving = {}, "", False
        manager = SimpleNamespace(
            _latest_checkpoint_result=None, checkpoint_config=tune.CheckpointConfig()
        )
        self.run_metadata = SimpleNamespace(checkpoint_manager=manager)


def _pasts(*heights):
    """Return trials that took turns, each with its heights."""
    return [
        History(
            Told(f"t{number}"),
            [
                {"height": height, "training_iteration": i, "config/rate": i, "timestamp": i}
                for i, height in enumerate(column, 1)
            ],
        )
        for number, column in enumerate(heights)
    ]


def test_what_bohbs_scheduler_notes_in_results_its_searcher_finds_there():
    pasts = _pasts([1.0, 2.0], [2.0, 3.0], [3.0, 4.0], [4.0, 5.0])
    replayed(_bohb(), pasts, "height", "max")
    told = [[result.get("hyperband_info", {}) for result in past.results] for past in pasts]
    budgets = [[info.get("budget") for info in infos] for infos in told]
    assert budgets == [[1, None], [1, None], [1, 2], [1, 2]]


@pytest.mark.filterwarnings("ignore")  # its package is behind those that it uses
def test_bohbs_searcher_is_told_of_the_past_by_budgets():
    pytest.importorskip("hpbandster")
    from ray.tune.search.bohb import TuneBOHB

    pasts = _pasts([1.0, 2.0], [2.0, 3.0], [3.0, 4.0], [4.0, 5.0])
    replayed(_bohb(), pasts, "height", "max")
    search = SearchGenerator(TuneBOHB(seed=3, **GOAL))
    search.set_search_properties(*GOAL.values(), {"rate": tune.uniform(0.0, 10.0)})
    assert not teach(search, pasts).strangers
    told = {budget: len(found) for budget, found in search.searcher.bohber.configs.items()}
    assert told == {1: 4, 2: 2}


def test_pb2_knows_scores_with_the_configs_that_led_to_them():
    scheduler = pb2(
        time_attr="training_iteration", perturbation_interval=2, hyperparam_bounds={"rate": [0, 9]}
    )
    pasts = _pasts([1.0, 2.0, 3.0, 4.0], [0.0, 1.0, 2.0, 3.0])
    data = replayed(scheduler, pasts, "height", "max").state["data"]
    assert data[["Time", "rate", "Reward"]].values.tolist() == [
        [2, 2, 2.0],
        [4, 4, 4.0],
        [2, 2, 1.0],
        [4, 4, 3.0],
    ]
    assert {past.trial.config["rate"] for past in pasts} == {9.0}


@pytest.mark.parametrize(("reached", "rate", "following"), [(1, 1, 2), (2, 2, 3), (3, 2, 3)])
def test_the_replay_of_a_population_is_brought_to_where_the_results_are(
    tmp_path, reached, rate, following
):
    policy = tmp_path / "pbt_policy_0.txt"
    steps = [["0", "0", 2 * n, 2 * n, {"rate": n}, {"rate": n + 1}] for n in (1, 2)]
    policy.write_text("".join(f"{json.dumps(step)}\n" for step in steps))
    trial = SimpleNamespace(
        trial_id="t", status="PENDING", config={}, set_config=lambda config: None
    )
    results = [{"training_iteration": number} for number in range(1, reached + 1)]
    scheduler = PopulationBasedTrainingReplay(str(policy))
    state = replayed(scheduler, [History(trial, results)], None, None).state
    assert state["current_config"] == {"rate": rate}
    assert state["_next_policy"][1] == {"rate": following}
    assert state["_current_step"] == reached


def test_portable_optuna_is_told_the_past_and_makes_what_is_left(tmp_path, ray_session):
    pytest.importorskip("optuna")
    space = {"rate": tune.uniform(0.0, 4.0)}
    options = {"num_samples": 5, "max_concurrent_trials": 1, **GOAL}
    path = interrupted(tmp_path, 4, space=space, search_alg=OptunaSearch(seed=3), stop=2, **options)
    before = {row[0]["trial_id"] for row in map(list, _results(path))}
    searcher = OptunaSearch(seed=4)
    tuner = tc.resume(
        path,
        tune.with_resources(Climber, {"cpu": 2}),
        portable=True,
        param_space=space,
        tune_config=tune.TuneConfig(search_alg=searcher, reuse_actors=True, **options),
    )
    assert "OptunaSearch was told of 2 of 2 past trials" in str(tuner.report)
    results = tuner.fit()
    assert len(results) == 5
    assert before < {result.metrics["trial_id"] for result in results}
    assert all(result.metrics["training_iteration"] == 2 for result in results)
    state = max(path.glob("searcher-state-*.pkl"))
    study = pickle.loads(state.read_bytes())["_ot_study"]
    told = [trial.params["rate"] for trial in study.trials]
    assert sorted(told) == sorted(result.config["rate"] for result in results)


def _results(path):
    for file in path.glob("*/result.json"):
        yield rows(file)


@pytest.mark.parametrize("given", [True, False], ids=["given again", "as they were"])
def test_portable_trials_go_on_and_the_rest_is_sampled(tmp_path, ray_session, given):
    def options():
        generator = tune.search.BasicVariantGenerator(random_state=5, max_concurrent=1)
        return {"num_samples": 3, "search_alg": generator, **GOAL}

    space = {"rate": tune.uniform(0.0, 4.0)}
    sampled = np.random.default_rng(5).uniform(0.0, 4.0, 3)
    path = interrupted(tmp_path, 4, space=space, stop=3, **options())
    (path / "tuner.pkl").write_bytes((path / "tuner.pkl").read_bytes()[: 0 if given else None])
    again = {}
    if given:
        again["param_space"] = space
        again["tune_config"] = tune.TuneConfig(reuse_actors=True, **options())
        again["run_config"] = tune.RunConfig(
            stop={"training_iteration": 3},
            checkpoint_config=tune.CheckpointConfig(checkpoint_frequency=1),
        )
    results = tc.resume(
        path,
        tune.with_resources(Climber, {"cpu": 2}),
        portable=True,
        extend={"training_iteration": 4},
        **again,
    ).fit()
    found = sorted(r.config["rate"] for r in results)
    assert found == sorted(sampled if given else sampled[:2])
    assert {r.metrics["training_iteration"] for r in results} == {4}
