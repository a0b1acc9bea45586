"""The house's rules: imports go down only, and the package itself is light."""

import ast
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

import tune_ckpt

PACKAGE = Path(tune_ckpt.__file__).parent

FLOORS = {
    "errors": 0,
    "version": 0,
    "formats": 1,
    "tree": 2,
    "checkpointable": 3,
    "objects": 3,
    "rng": 3,
    "convert": 4,
    "experiment": 4,
    "plots": 4,
    "reporting": 4,
    "rllib": 4,
    "session": 4,
    "sweep": 4,
    "train": 4,
    "tune": 4,
    "weights_file": 4,
    "cli": 5,
    "__main__": 5,
}
# Modules of one floor may import each other, but never in a circle.


def _modules():
    return [path for path in sorted(PACKAGE.rglob("*.py")) if path != PACKAGE / "__init__.py"]


def _name(path):
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


@cache
def _tree(path):
    return ast.parse(path.read_text())


@cache
def _runtime_imports(path):
    """Our own modules that a module imports, but for what only type checkers see."""
    return [*_imports_in(_tree(path))]


def _imports_in(tree):
    hidden = {
        id(node)
        for block in ast.walk(tree)
        if isinstance(block, ast.If) and ast.unparse(block.test) == "TYPE_CHECKING"
        for node in ast.walk(block)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and id(node) not in hidden and node.module:
            package, _, name = node.module.partition(".")
            if package == "tune_ckpt":
                yield from [name] if name else [alias.name for alias in node.names]


def _floor(module):
    return FLOORS[module.partition(".")[0]]


def test_a_module_imports_only_from_its_floor_and_below():
    above = [
        f"{_name(path)} imports {name}"
        for path in _modules()
        for name in _runtime_imports(path)
        if _floor(name) > _floor(_name(path))
    ]
    assert not above


def test_no_modules_import_each_other_in_a_circle():
    def is_package(name):
        return (PACKAGE / name.replace(".", "/")).is_dir()

    graph = {
        _name(path): {name for name in _runtime_imports(path) if not is_package(name)}
        for path in _modules()
    }
    while graph:
        leaves = {name for name, below in graph.items() if not below & graph.keys() - {name}}
        assert leaves, f"a circle among {sorted(graph)}"
        for name in leaves:
            del graph[name]


HEAVY = {
    *("ray", "torch", "gymnasium", "onnx", "pandas", "pyarrow", "cloudpickle", "ml_dtypes"),
    *("rich", "typer", "matplotlib"),
}


READING = [
    "import tune_ckpt",
    "from tune_ckpt import load_state, save_state, verify, check, Checkpointable",
    "from tune_ckpt import describe, diff",
    "from tune_ckpt.rllib import load_weights, convert_to_msgpack_checkpoint",
    "from tune_ckpt.rllib import restore_algorithm, migrate_to_rl_module, export_model",
    "from tune_ckpt import ActorGroup, save, restore",
    "from tune_ckpt import best_checkpoint, rank_checkpoints",
    "from tune_ckpt import convert_checkpoint, plot, scan",
]


def test_reading_needs_no_heavy_package():
    code = (
        "import sys\n"
        f"for statement in {READING}:\n"
        "    exec(statement)\n"
        f"    assert not {HEAVY} & sys.modules.keys(), statement"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr


def test_every_public_name_resolves():
    for name in tune_ckpt.__all__:
        assert getattr(tune_ckpt, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        tune_ckpt.nonsense  # noqa: B018  # it is the access that raises


def test_public_names_and_their_homes_agree():
    listed = {name for names in tune_ckpt._HOMES.values() for name in names}
    assert listed | {"__version__"} == set(tune_ckpt.__all__)


def _classes():
    """Every class of the package by its name, with the names of what it derives from."""
    for path in _modules():
        for node in ast.walk(_tree(path)):
            if isinstance(node, ast.ClassDef):
                yield path, node


def _explained(name, classes, method):
    """Whether a class explains a method, or one above it; another library's is taken for it."""
    if name not in classes:
        return name not in {"object", "Protocol", "ABC", "Generic", "Enum"}
    _, node = classes[name]
    own = {part.name: part for part in node.body if isinstance(part, ast.FunctionDef)}
    if method in own and ast.get_docstring(own[method]):
        return True
    bases = [ast.unparse(base).partition("[")[0].rpartition(".")[2] for base in node.bases]
    return any(_explained(base, classes, method) for base in bases)


def test_every_public_function_and_method_is_explained():
    functions = [
        f"{_name(path)}.{node.name}"
        for path in _modules()
        for node in _tree(path).body
        if isinstance(node, ast.FunctionDef)
        and not node.name.startswith("_")
        and not ast.get_docstring(node)
    ]
    classes = {node.name: (path, node) for path, node in _classes()}
    methods = [
        f"{_name(path)}.{name}.{part.name}"
        for name, (path, node) in classes.items()
        if not name.startswith("_")
        for part in node.body
        if isinstance(part, ast.FunctionDef)
        and not part.name.startswith("_")
        and not _explained(name, classes, part.name)
    ]
    assert not functions + methods
