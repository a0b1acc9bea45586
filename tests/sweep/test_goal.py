"""What a sweep's TuneConfig says is best need not be said again."""

import pytest
from ray import tune

import tune_ckpt as tc
from tune_ckpt.errors import InvalidArgumentError

pytestmark = pytest.mark.slow


def _train(config):
    tc.report({"loss": config["loss"], "speed": config["loss"]}, {"weights": {"w": config["loss"]}})


@pytest.fixture(scope="module")
def results(ray_session, tmp_path_factory):
    return tune.Tuner(
        _train,
        param_space={"loss": tune.grid_search([0.1, 0.2])},
        tune_config=tune.TuneConfig(metric="loss", mode="min"),
        run_config=tune.RunConfig(storage_path=str(tmp_path_factory.mktemp("sweep")), verbose=0),
    ).fit()


def test_the_results_know_metric_and_mode(results):
    best = tc.best_checkpoint(results)
    assert (best.metric, best.mode, best.value) == ("loss", "min", 0.1)
    assert tc.best_checkpoint(results, "loss").value == results.get_best_result().metrics["loss"]


def test_what_is_said_comes_first(results):
    assert tc.best_checkpoint(results, "loss", "max").value == 0.2
    assert tc.best_checkpoint(results, mode="max").value == 0.2


def test_the_mode_is_that_of_its_metric_alone(results):
    assert tc.best_checkpoint(results, "speed").value == 0.2


def test_a_folder_does_not_tell(results):
    with pytest.raises(InvalidArgumentError, match="metric"):
        tc.best_checkpoint(results.experiment_path)
    assert tc.best_checkpoint(results.experiment_path, "loss").mode == "max"
