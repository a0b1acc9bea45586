"""Searchers go on as if nothing had happened, or are told what has.

What a searcher would do without an interruption is asked of another one of the same seed.
"""

import pickle
from types import SimpleNamespace

import pytest
from hypothesis import settings
from ray import tune
from ray.tune.search import ConcurrencyLimiter, Repeater, SearchGenerator
from ray.tune.utils import flatten_dict

import tune_ckpt as tc
from tests.tune.resuming import Climber, Record, interrupted, new_tuner, recorded, resumed
from tune_ckpt.tune.resuming.histories import History
from tune_ckpt.tune.resuming.searching import teach

pytestmark = pytest.mark.slow

GOAL = {"metric": "height", "mode": "max"}
SPACE = {"rate": tune.uniform(0.0, 4.0)}


def _bayes():
    pytest.importorskip("bayes_opt")
    from ray.tune.search.bayesopt import BayesOptSearch

    return BayesOptSearch(random_search_steps=2, random_state=3, **GOAL)


def _hyperopt():
    pytest.importorskip("hyperopt")
    from ray.tune.search.hyperopt import HyperOptSearch

    return HyperOptSearch(random_state_seed=3, n_initial_points=2, **GOAL)


def _nevergrad():
    nevergrad = pytest.importorskip("nevergrad")
    from ray.tune.search.nevergrad import NevergradSearch

    class Seeded(NevergradSearch):
        def _setup_nevergrad(self):
            super()._setup_nevergrad()
            self._nevergrad_opt.parametrization.random_state.seed(3)

    return Seeded(nevergrad.optimizers.OnePlusOne, optimizer_kwargs={"budget": 9}, **GOAL)


def _optuna():
    optuna = pytest.importorskip("optuna")
    from ray.tune.search.optuna import OptunaSearch

    sampler = optuna.samplers.TPESampler(seed=3, n_startup_trials=2)
    return OptunaSearch(sampler=sampler, **GOAL)


SEARCHERS = [_bayes, _hyperopt, _nevergrad, _optuna]
# BayesOptSearch waits ten minutes for the results of its first trials where one of them fails.
IS_THOROUGH = settings.get_current_profile_name() == "thorough"
# By day one of them: all keep their states in the same way.
BY_NIGHT = [_hyperopt, _nevergrad, *([_bayes] if IS_THOROUGH else [])]
IN_A_SWEEP = [_optuna, *(pytest.param(make, marks=pytest.mark.nightly) for make in BY_NIGHT)]


def _alone(searcher, count, repeat=1):
    """Return the rates that a searcher suggests when it is asked without a sweep."""
    searcher.set_search_properties(GOAL["metric"], GOAL["mode"], SPACE)
    rates = []
    for number in range(count):
        rates.append(flatten_dict(searcher.suggest(str(number)))["rate"])
        searcher.on_trial_complete(str(number), {"height": rates[-1]})
    return [round(rate, 12) for rate in rates for _ in range(repeat)]


def _rates(file):
    return [row[-1] for row in recorded(file)]


def _sweep(tmp_path, searcher, after=2, samples=4, **options):
    record = Record(str(tmp_path / "record.txt"))
    options = {"num_samples": samples, "stop": 1, "max_concurrent_trials": 1, **options}
    return interrupted(tmp_path, after, record, space=SPACE, search_alg=searcher, **options)


@pytest.mark.parametrize("make", IN_A_SWEEP, ids=lambda make: make.__name__[1:])
def test_a_searcher_goes_on_as_if_it_had_not_been_interrupted(tmp_path, ray_session, make):
    moved = _sweep(tmp_path, make()).rename(tmp_path / "moved")
    resumed(moved).fit()
    assert _rates(tmp_path / "record.txt") == _alone(make(), 4)
    assert len(list(moved.glob("Climber_*"))) == 4
    assert not (tmp_path / "run").exists()


def _past(number, rate, status="TERMINATED"):
    """Return as much of a past trial as is looked at."""
    trial = SimpleNamespace(
        trial_id=f"t{number}",
        config={"rate": rate},
        status=status,
        is_finished=lambda: status in ("TERMINATED", "ERROR"),
    )
    return History(trial, [{"height": rate, "training_iteration": 1}] if status != "ERROR" else [])


@pytest.mark.parametrize("make", SEARCHERS, ids=lambda make: make.__name__[1:])
def test_portable_it_is_told_of_the_past_and_suggests_what_is_new(make):
    search = SearchGenerator(make())
    search.set_search_properties(GOAL["metric"], GOAL["mode"], SPACE)
    past = [_past(0, 1.25), _past(1, 3.5), _past(2, 0.5, "ERROR"), _past(3, 2.5, "PENDING")]
    told = teach(search, past)
    assert "was told of 4 of 4 past trials" in told.note
    assert not told.strangers
    search.on_trial_complete("t3", {"height": 2.5})
    rate = search.searcher.suggest("t4")["rate"]
    assert rate not in {1.25, 3.5, 0.5, 2.5}
    search.on_trial_complete("t4", {"height": rate})


@pytest.mark.parametrize("package", ["hyperopt", "optuna"])
def test_portable_it_does_not_draw_once_more_what_its_seed_has_drawn(package):
    pytest.importorskip(package)
    rates = _alone(_drawing(package), 2)
    search = SearchGenerator(_drawing(package))
    search.set_search_properties(GOAL["metric"], GOAL["mode"], SPACE)
    teach(search, [_past(number, rate) for number, rate in enumerate(rates)])
    new = search.searcher.suggest("t2")["rate"]
    assert not any(new == pytest.approx(rate) for rate in rates)


def _drawing(package):
    """Return a searcher of which the first suggestions are drawn by a seed."""
    if package == "optuna":
        from ray.tune.search.optuna import OptunaSearch

        return OptunaSearch(seed=3, **GOAL)
    from ray.tune.search.hyperopt import HyperOptSearch

    return HyperOptSearch(random_state_seed=3, n_initial_points=9, **GOAL)


def test_a_trial_whose_config_is_lost_is_not_told():
    search = SearchGenerator(_optuna())
    search.set_search_properties(GOAL["metric"], GOAL["mode"], SPACE)
    lost = _past(1, 0.0)
    lost.trial.config = {}
    told = teach(search, [_past(0, 1.25), lost])
    assert "was told of 1 of 2 past trials" in told.note
    assert told.strangers == {"t1"}


def test_repeats_and_limits_are_kept_when_it_is_told():
    search = SearchGenerator(ConcurrencyLimiter(Repeater(_optuna(), repeat=2), max_concurrent=2))
    search.set_search_properties(GOAL["metric"], GOAL["mode"], SPACE)
    rates = [1.25, 1.25, 3.5, 3.5]
    told = teach(
        search, [_past(n, r, "PENDING" if n == 3 else "TERMINATED") for n, r in enumerate(rates)]
    )
    assert not told.strangers
    assert search.searcher.live_trials == {"t3"}
    search.on_trial_complete("t3", {"height": 3.5})
    assert search.searcher.suggest("t4")["__trial_index__"] == 0


def test_a_searcher_that_takes_points_is_told_of_those_that_have_ended():
    searcher = _Takes()
    told = teach(SearchGenerator(searcher), [_past(0, 1.25), _past(1, 0.5, "PENDING")])
    assert searcher.taken == [({"rate": 1.25}, 1.25)]
    assert "was told of 1 of 2" in told.note
    assert told.strangers == {"t0", "t1"}


def test_repeated_suggestions_go_on_in_the_middle_of_a_group(tmp_path, ray_session):
    searcher = Repeater(_optuna(), repeat=2, set_index=False)
    path = _sweep(tmp_path, searcher, after=3, samples=6)
    assert not resumed(path).fit().errors
    assert _rates(tmp_path / "record.txt") == _alone(_optuna(), 3, repeat=2)


def test_so_does_a_batch_of_a_limiter(tmp_path, ray_session):
    def limiter():
        return ConcurrencyLimiter(_optuna(), max_concurrent=2, batch=True)

    path = _sweep(tmp_path, limiter(), after=3, samples=6, max_concurrent_trials=None)
    assert not resumed(path).fit().errors
    again = limiter()
    again.set_search_properties(GOAL["metric"], GOAL["mode"], SPACE)
    expected = []
    for pair in (("0", "1"), ("2", "3"), ("4", "5")):
        rates = {name: again.suggest(name)["rate"] for name in pair}
        for name, rate in rates.items():
            again.on_trial_complete(name, {"height": rate})
        expected += [round(rate, 12) for rate in rates.values()]
    assert _rates(tmp_path / "record.txt") == expected


@pytest.mark.filterwarnings("ignore")  # its package is behind those that it uses
def test_bohb_goes_on_with_its_scheduler(tmp_path, ray_session):
    pytest.importorskip("hpbandster")
    from ray.tune.schedulers import HyperBandForBOHB
    from ray.tune.search.bohb import TuneBOHB

    def run():
        scheduler = HyperBandForBOHB("training_iteration", max_t=4, reduction_factor=2)
        searcher = TuneBOHB(seed=3, **GOAL)
        return {"search_alg": searcher, "scheduler": scheduler, "stop": 4, "num_samples": 4, **GOAL}

    record = Record(str(tmp_path / "whole.txt"))
    new_tuner(tmp_path, record, tc.CheckpointCallback(), name="whole", space=SPACE, **run()).fit()
    record = Record(str(tmp_path / "parts.txt"))
    path = interrupted(tmp_path, 5, record, tc.CheckpointCallback(), space=SPACE, **run())
    resumed(path).fit()
    assert recorded(tmp_path / "parts.txt") == recorded(tmp_path / "whole.txt")


def test_it_hears_of_trials_that_ended_after_tunes_last_note(tmp_path, ray_session):
    path = _sweep(tmp_path, _optuna(), after=2, samples=3, stop=2, noted=False)
    tuner = resumed(path)
    (first,) = tuner.report.trials
    assert first.status == "finished"
    assert len(tuner.fit()) == 3  # a limiter that waited for it would make no more
    state = pickle.loads(max(path.glob("searcher-state-*.pkl")).read_bytes())
    study = state["_ot_study"]
    assert [trial.state.name for trial in study.trials] == ["COMPLETE"] * 3


def test_it_does_not_hear_again_of_trials_that_it_has_heard_the_end_of(tmp_path, ray_session):
    path = _sweep(tmp_path, _nevergrad(), after=3, samples=3, max_concurrent_trials=None)
    results = resumed(path, extend={"training_iteration": 2}).fit()
    assert not results.errors
    assert [result.metrics["training_iteration"] for result in results] == [2, 2, 2]


def test_a_searcher_that_cannot_be_told_still_makes_what_is_left(tmp_path, ray_session):
    path = _sweep(tmp_path, _Own(), after=3, stop=2)
    tuner = tc.resume(
        path,
        tune.with_resources(Climber, {"cpu": 2}),
        portable=True,
        param_space=SPACE,
        tune_config=tune.TuneConfig(search_alg=_Own(), num_samples=4, reuse_actors=True, **GOAL),
    )
    assert "_Own was told of 0 of 2 past trials: there is no way" in str(tuner.report)
    results = tuner.fit()
    assert not results.errors
    assert len(results) == 4


class _Own(tune.search.Searcher):
    """A user's searcher, which knows what it has suggested, and nothing else."""

    def __init__(self):
        super().__init__(**GOAL)
        self.known = set()

    def set_search_properties(self, metric, mode, config, **spec):
        return True

    def suggest(self, trial_id):
        self.known.add(trial_id)
        return {"rate": 1.0}

    def on_trial_complete(self, trial_id, result=None, error=False):
        self.known.remove(trial_id)

    def save(self, checkpoint_path):
        with open(checkpoint_path, "wb") as file:
            pickle.dump(self.known, file)

    def restore(self, checkpoint_path):
        with open(checkpoint_path, "rb") as file:
            self.known = pickle.load(file)


class _Takes(_Own):
    """It can be told of points that were evaluated elsewhere."""

    def __init__(self):
        super().__init__()
        self.taken = []

    def add_evaluated_point(self, parameters, value, **more):
        self.taken.append((parameters, value))
