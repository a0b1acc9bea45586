"""Models of scikit-learn, XGBoost and LightGBM are components."""

import numpy as np
import pytest

import tune_ckpt as tc
from tune_ckpt.errors import MissingDependencyError, RestoreError, UntrustedTypesError

FORMATS = pytest.mark.parametrize("format", ["msgpack", "pickle"])


def data():
    inputs = np.random.default_rng(0).normal(size=(60, 4))
    return inputs, (inputs[:, 0] * inputs[:, 1] > 0).astype(int)


@FORMATS
def test_scikit_learn_estimators(tmp_path, format):
    pytest.importorskip("skops")
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    inputs, labels = data()
    pipeline = make_pipeline(StandardScaler(), LogisticRegression()).fit(inputs, labels)
    forest = RandomForestClassifier(5, random_state=0).fit(inputs, labels)
    tc.save({"pipeline": pipeline, "forest": forest}, tmp_path / "c", format=format)
    fresh = make_pipeline(StandardScaler(), LogisticRegression()), RandomForestClassifier(5)
    targets = {"pipeline": fresh[0], "forest": fresh[1]}
    with pytest.raises(UntrustedTypesError, match=r"sklearn\.tree\._tree\.Tree"):
        tc.restore(targets, tmp_path / "c")
    assert not hasattr(fresh[0][-1], "coef_")
    tc.restore(targets, tmp_path / "c", trusted=["sklearn"])
    for target, saved in zip(fresh, (pipeline, forest), strict=True):
        assert np.array_equal(target.predict_proba(inputs), saved.predict_proba(inputs))
    with pytest.raises(RestoreError, match=r"forest: .*RandomForestClassifier in the checkpoint"):
        tc.restore({**targets, "forest": LogisticRegression()}, tmp_path / "c", trusted="sklearn")


def test_scikit_learn_without_skops_says_what_is_missing(tmp_path, monkeypatch):
    from sklearn.linear_model import LogisticRegression

    monkeypatch.setitem(__import__("sys").modules, "skops", None)
    with pytest.raises(MissingDependencyError, match="pip install skops"):
        tc.save({"model": LogisticRegression()}, tmp_path / "c")


@FORMATS
def test_an_xgboost_booster(tmp_path, format):
    xgboost = pytest.importorskip("xgboost")
    matrix = xgboost.DMatrix(*data())
    booster = xgboost.train({"objective": "binary:logistic"}, matrix, 5)
    target = xgboost.Booster()
    tc.save({"booster": booster}, tmp_path / "c", format=format)
    tc.restore({"booster": target}, tmp_path / "c")
    assert np.array_equal(target.predict(matrix), booster.predict(matrix))


def scikit_learn_models(name):
    """Return a class of models, and arguments of its fit()."""
    library = pytest.importorskip({"X": "xgboost", "L": "lightgbm"}[name[0]])
    inputs, labels = data()
    named = np.array(["no", "yes"])[labels] if name == "LGBMClassifier" else labels
    more = {"group": np.full(6, 10)} if name.endswith("Ranker") else {}
    return getattr(library, name), {"X": inputs, "y": named, **more}


KINDS = ("Classifier", "Regressor", "Ranker")
MODELS = [library + kind for library in ("XGB", "LGBM") for kind in KINDS]


@FORMATS
@pytest.mark.parametrize("name", MODELS)
def test_scikit_learn_models_of_boosters(tmp_path, format, name):
    cls, examples = scikit_learn_models(name)
    options = {"n_estimators": 5, "n_jobs": 1, **({"verbose": -1} if name[0] == "L" else {})}
    model = cls(**options, learning_rate=0.3).fit(**examples)
    tc.save({"model": model, "empty": cls(max_depth=3)}, tmp_path / "c", format=format)
    target, emptied = cls(), cls(**options).fit(**examples)
    tc.restore({"model": target, "empty": emptied}, tmp_path / "c")
    assert np.array_equal(target.predict(examples["X"]), model.predict(examples["X"]))
    assert target.get_params() == pytest.approx(model.get_params(), nan_ok=True)
    assert (emptied.__sklearn_is_fitted__(), emptied.max_depth) == (False, 3)
    if name.endswith("Classifier"):
        assert target.classes_.tolist() == model.classes_.tolist()
        found, expected = (one.predict_proba(examples["X"]) for one in (target, model))
        assert np.array_equal(found, expected)


def test_a_model_that_stopped_early_keeps_what_it_measured(tmp_path):
    cls, examples = scikit_learn_models("XGBClassifier")
    test = [(examples["X"], 1 - examples["y"])]
    model = cls(n_estimators=9, early_stopping_rounds=2)
    model.fit(**examples, eval_set=test, verbose=False)
    target = cls()
    tc.save({"model": model}, tmp_path / "c")
    tc.restore({"model": target}, tmp_path / "c")
    assert (target.best_iteration, target.evals_result()) == (0, model.evals_result())


# Older LightGBMs know no other argument.
@pytest.mark.filterwarnings("ignore:The argument 'eval_set' is deprecated")
def test_a_model_of_lightgbms_keeps_its_best_score(tmp_path):
    cls, examples = scikit_learn_models("LGBMRegressor")
    test = [(examples["X"], examples["y"])]
    model = cls(n_estimators=3, verbose=-1).fit(**examples, eval_set=test)
    target = cls()
    tc.save({"model": model}, tmp_path / "c")
    tc.restore({"model": target}, tmp_path / "c")
    assert target.best_score_ == model.best_score_
    assert target.evals_result_ == model.evals_result_


def test_a_model_of_another_class_does_not_fit(tmp_path):
    tc.save({"model": scikit_learn_models("LGBMRegressor")[0]()}, tmp_path / "c")
    with pytest.raises(RestoreError, match=r"model: .*LGBMRegressor in the checkpoint"):
        tc.restore({"model": scikit_learn_models("LGBMClassifier")[0]()}, tmp_path / "c")


@FORMATS
def test_lightgbm(tmp_path, format):
    lightgbm = pytest.importorskip("lightgbm")
    inputs, labels = data()
    options = {"objective": "binary", "verbose": -1, "num_threads": 1}
    booster = lightgbm.train(options, lightgbm.Dataset(inputs, labels), num_boost_round=5)
    booster.best_iteration = 3
    tc.save({"booster": booster}, tmp_path / "c", format=format)
    other = lightgbm.train(options, lightgbm.Dataset(inputs, 1 - labels), num_boost_round=1)
    tc.restore({"booster": other}, tmp_path / "c")
    assert np.array_equal(other.predict(inputs), booster.predict(inputs))
