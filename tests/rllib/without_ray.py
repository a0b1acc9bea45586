"""Opens a bundle where Ray cannot be imported: python without_ray.py BUNDLE; prints actions."""

import json
import sys


class NoRay:
    """Stands before all finders of modules."""

    @staticmethod
    def find_spec(name, path=None, target=None):
        if name.partition(".")[0] in {"ray", "gymnasium", "gym", "pyarrow", "pandas"}:
            raise ImportError(f"{name} is not to be imported here")


if __name__ == "__main__":
    sys.meta_path.insert(0, NoRay)
    import numpy as np

    from tune_ckpt.rllib import load_bundle

    bundle = load_bundle(sys.argv[1])
    shape = bundle.observation_space["shape"]
    rows = np.linspace(-1, 1, 3 * int(np.prod(shape)), dtype="f4").reshape(3, *shape)
    print(json.dumps([bundle.act(rows).tolist(), bundle.act(rows[0]).tolist()]))
    assert "ray" not in sys.modules
