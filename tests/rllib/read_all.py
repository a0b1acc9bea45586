"""Read every case below some folders, without Ray, torch and the like."""

import hashlib
import json
import sys
from pathlib import Path

REFUSED = {"cloudpickle", "gym", "gymnasium", "packaging", "pandas", "pyarrow", "ray", "torch"}


class Refusing:
    """Refuses to import what may not be needed."""

    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in REFUSED:
            raise ImportError(f"{name} is not to be imported")


def _facts(weights):
    return {
        name: (str(array.dtype), [*array.shape], hashlib.sha256(array.tobytes()).hexdigest())
        for name, array in weights.items()
    }


def _expected(told):
    return {name: (w["dtype"], w["shape"], w["sha256"]) for name, w in told.items()}


def _check(path, told):
    from tune_ckpt.errors import NotInCheckpointError
    from tune_ckpt.rllib import get_checkpoint_info, load_config, load_weights

    assert get_checkpoint_info(path)["type"] == told["type"], path
    found, expected = load_weights(path), told["weights"]
    if len(expected) == 1:
        found = dict.fromkeys(expected, found)
    for name, weights in expected.items():
        assert _facts(found[name]) == _expected(weights), path
    try:
        load_config(path)
    except NotInCheckpointError:
        assert told.get("checkpoint_version") == "0.1", path


def main(*roots):
    sys.meta_path.insert(0, Refusing())
    done = 0
    for file in (file for root in roots for file in Path(root).glob("*/expected.json")):
        told = json.loads(file.read_text())
        if "weights" in told:
            _check(file.parent / "checkpoint", told)
            done += 1
    print(done)


if __name__ == "__main__":
    main(*sys.argv[1:])
