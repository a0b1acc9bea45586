"""Every exception of the package: one root, facts as attributes, the message made in ``__str__``.

A message says what is wrong, where, and what to do next. Readers and writers gather all faults they
can find and raise once. They stand together, long as the list is: whoever handles one wants to see
the others.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


def _rebuild(cls: type[TuneCkptError], facts: dict[str, Any]) -> TuneCkptError:
    error = cls.__new__(cls)
    error.__dict__.update(facts)
    return error


class TuneCkptError(Exception):
    """The root of every error that this package raises on purpose."""

    def __reduce__(self) -> tuple[Any, ...]:
        # Ray sends exceptions between processes: rebuild from the facts, not from positional args.
        return _rebuild, (type(self), self.__dict__)


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong.

    Attributes:
        path: Where: a path in a state (``optimizer/lr_lambda``) or a file in a checkpoint.
        reason: What is wrong there, as the rest of a sentence.
    """

    path: str
    reason: str

    def below(self, *steps: str) -> Fault:
        """Return it as a fault of a whole, in which these steps lead to what it was found in."""
        return Fault("/".join(filter(None, (*steps, self.path))), self.reason)

    def __str__(self) -> str:
        return f"{self.path or '(root)'}: {self.reason}"


def listed(names: Sequence[object], most: int, nothing: str = "none") -> str:
    """Return names as text for a message, and how many more there are.

    Args:
        names: The names.
        most: How many to name.
        nothing: What to say where there are none.
    """
    more = f", and {len(names) - most} more" if len(names) > most else ""
    return (", ".join(map(str, names[:most])) or nothing) + more


def _bullets(lines: Sequence[object]) -> str:
    return "".join(f"\n  - {line}" for line in lines)


@dataclass(eq=False)
class UnsupportedStateError(TuneCkptError):
    """A state holds values that the format cannot bring back; raised before a byte is written.

    Attributes:
        faults: What cannot be written, and why.
        advice: What to do; empty where the faults tell it.
    """

    faults: tuple[Fault, ...]
    advice: str = (
        "Leave them out (of get_state(), or of what is saved by name) and create them again "
        "before a restore, in the constructor for instance; or turn them into plain values or "
        "arrays. An object that has a state of its own can be a component: see "
        "tune_ckpt.register_adapter."
    )

    def __str__(self) -> str:
        told = f"{len(self.faults)} value(s) of this state cannot be written:"
        return f"{told}{_bullets(self.faults)}\n{self.advice}".rstrip()


@dataclass(eq=False)
class CorruptDataError(TuneCkptError):
    """Bytes are not what was written: cut short, altered, or not of this format.

    Attributes:
        file: The file (or other source) that holds the bytes.
        reason: What does not fit.
        offset: Byte offset in the file at which it was noticed, where known.
    """

    file: str
    reason: str
    offset: int | None = None

    def __str__(self) -> str:
        where = self.file if self.offset is None else f"{self.file}, byte {self.offset}"
        reason = self.reason.removesuffix(".")  # a library's own words may end with one
        return (
            f"{where}: {reason}. The file is damaged, or something else wrote it; use another "
            "checkpoint, or copy this one again from its source."
        )


@dataclass(eq=False)
class ForeignArchiveError(TuneCkptError):
    """A zip file is not one that `tune_ckpt.archive` made, or it was altered since."""

    file: str
    reason: str

    def __str__(self) -> str:
        return (
            f"{self.file} is a zip file, but not one that tune_ckpt.archive made: {self.reason}. "
            "If there is a checkpoint in it, unpack it with another tool and use the folder."
        )


@dataclass(eq=False)
class CorruptCheckpointError(TuneCkptError):
    """A checkpoint failed verification; ``faults`` names every file at fault."""

    path: str
    faults: tuple[Fault, ...]

    def __str__(self) -> str:
        return (
            f"The checkpoint at {self.path} is damaged:{_bullets(self.faults)}\n"
            "Use another checkpoint, or copy this one again from its source."
        )


@dataclass(eq=False)
class IncompleteCheckpointError(TuneCkptError):
    """A folder holds the beginning of a checkpoint whose commit (``metadata.json``) never came."""

    path: str

    def __str__(self) -> str:
        return (
            f"{self.path} holds an unfinished checkpoint: files are there, but no metadata.json, "
            "which is written last. The process that saved it was stopped; use an earlier one."
        )


@dataclass(eq=False)
class NotACheckpointError(TuneCkptError):
    """A path is not a checkpoint, or whatever was wanted (or does not exist)."""

    path: str
    found: str
    wanted: str = "a checkpoint"

    def __str__(self) -> str:
        return f"{self.path} is not {self.wanted}: {self.found}."


@dataclass(eq=False)
class ComponentNotFoundError(TuneCkptError):
    """A checkpoint has no component of that name.

    Attributes:
        path: The checkpoint, or the component in which it was looked for.
        component: What was asked for.
        available: The components there are.
        advice: Where else it may be: a sentence.
    """

    path: str
    component: str
    available: tuple[str, ...]
    advice: str = ""

    def __str__(self) -> str:
        names = ", ".join(self.available) or "none; all is in its own state"
        told = f"{self.path} has no component {self.component!r}; its components: {names}."
        return f"{told} {self.advice}".rstrip()


@dataclass(eq=False)
class NotInCheckpointError(TuneCkptError):
    """A checkpoint was read, but does not hold what was asked for.

    Attributes:
        path: The checkpoint.
        wanted: What was asked for.
        reason: Why it is not there, or where it may be instead.
    """

    path: str
    wanted: str
    reason: str

    def __str__(self) -> str:
        return f"{self.path} holds no {self.wanted}: {self.reason}."


@dataclass(eq=False)
class UntrustedPickleError(TuneCkptError):
    """A pickle names things outside the table of harmless ones, and nobody trusted it.

    Attributes:
        file: The file (or other source) that holds the pickle.
        names: What it would import, each as ``module:name``.
    """

    file: str
    names: tuple[str, ...]

    def __str__(self) -> str:
        return (
            f"{self.file} is a pickle that would import:{_bullets(self.names)}\n"
            "Reading it could run code. If you trust whoever wrote it, pass allow_pickle=True; to "
            "avoid the question, convert the checkpoint to msgpack where it was made."
        )


@dataclass(eq=False)
class PickleReadError(TuneCkptError):
    """A trusted pickle could not be read, most often because another Python or library wrote it.

    Attributes:
        file: The file (or other source) that holds the pickle.
        reason: What failed.
        advice: What to do: a sentence.
    """

    file: str
    reason: str
    advice: str = (
        "Pickles that hold code open only in the Python that wrote them: open it there and "
        "convert it to msgpack."
    )

    def __str__(self) -> str:
        return f"{self.file} cannot be unpickled here: {self.reason}. {self.advice}"


_LIBRARIES = {"torch", "sklearn", "xgboost", "lightgbm"}  # whose objects make no others


@dataclass(eq=False)
class ClassNotFoundError(TuneCkptError):
    """The class named in a checkpoint cannot be found (and is never replaced by another)."""

    path: str
    class_name: str
    reason: str

    def __str__(self) -> str:
        return (
            f"The checkpoint at {self.path} was saved by class {self.class_name}, which was not "
            f"used: {self.reason}. {self._advice()}"
        )

    def _advice(self) -> str:
        module, colon, name = self.class_name.partition(":")
        if module.startswith("ray.rllib.") or not colon:  # RLlib's old ones have no module
            return (
                "RLlib's own are restored by tune_ckpt.rllib.restore_algorithm(), restore_policy() "
                "and restore_module()."
            )
        if module.partition(".")[0] in _LIBRARIES:
            above, _, part = self.path.rpartition("/")
            return (
                f"Make the object yourself and fill it: tune_ckpt.restore({{{part!r}: object}}, "
                f"{above!r}, components={part!r})."
            )
        simple = name.rpartition(".")[2]
        if module == "ray.tune.trainable.util":
            return (
                f"Tune made it of your {simple}, for tune.with_resources: import the module that "
                f"defines that and call {simple}.from_checkpoint(path); an Algorithm of RLlib's is "
                "restored by tune_ckpt.rllib.restore_algorithm()."
            )
        return (
            f"Import the module that defines it and call {simple}.from_checkpoint(path) on the "
            f"class itself, or pass trusted=[{module!r}]; if it has moved, register its new name "
            "with tune_ckpt.register_renamed()."
        )


@dataclass(frozen=True)
class RestoreReport:
    """What a restore did, and what of the checkpoint and of the object did not fit.

    Paths are those of components, ``/`` between levels, and below them of arrays; ``.`` is the
    object itself.

    Attributes:
        path: The checkpoint.
        loaded: Components that have their state from the checkpoint.
        missing: What the object has (or the caller asked for) and the checkpoint has not.
        unexpected: What the checkpoint has and the object has not.
        mismatched: What both have, but of another shape, dtype or class.
        left_out: What was not taken from the checkpoint on purpose, such as code that is not
            trusted; the object has its own instead.
    """

    path: str
    loaded: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    unexpected: tuple[str, ...] = ()
    mismatched: tuple[Fault, ...] = ()
    left_out: tuple[Fault, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether everything fitted."""
        return not self.faults

    @property
    def faults(self) -> tuple[Fault, ...]:
        """All that did not fit."""
        missing = (Fault(path, "missing: the checkpoint does not have it") for path in self.missing)
        unexpected = (
            Fault(path, "unexpected: the checkpoint has it, the object does not")
            for path in self.unexpected
        )
        return (*missing, *unexpected, *self.mismatched)

    def __str__(self) -> str:
        done = f"Restored from {self.path}: {', '.join(self.loaded) or 'nothing'}."
        unfit = "" if self.ok else f" What did not fit:{_bullets(self.faults)}"
        between = " " if self.ok else "\n"
        left_out = f"{between}Left out:{_bullets(self.left_out)}" if self.left_out else ""
        return done + unfit + left_out


@dataclass(eq=False)
class RestoreError(TuneCkptError):
    """What a checkpoint holds does not fit the object, which is as it was before."""

    report: RestoreReport
    advice: str = (
        "Restore into the object that was saved, choose parts with components= ('.' are the plain "
        "values), exclude= and rename=, or take what fits with strict='warn'."
    )

    @property
    def faults(self) -> tuple[Fault, ...]:
        """All that did not fit."""
        return self.report.faults

    def __str__(self) -> str:
        return (
            f"The checkpoint at {self.report.path} does not fit the object:{_bullets(self.faults)}"
            f"\nNothing was restored. {self.advice}"
        )


class RestoreWarning(UserWarning):
    """With ``strict="warn"``: what did not fit; the first argument is the `RestoreReport`."""


@dataclass(eq=False)
class StateRefusedError(TuneCkptError):
    """An object's own code raised an error when it was given its state.

    Attributes:
        path: The checkpoint.
        component: The object's path among the components.
        reason: What it raised, which is also this error's cause.
        restored: Components that are no longer as they were.
    """

    path: str
    component: str
    reason: str
    restored: tuple[str, ...]

    def __str__(self) -> str:
        rest = (
            f"These components are no longer as they were: {', '.join(self.restored)}"
            if self.restored
            else "No other component was changed"
        )
        refused = "The object" if self.component == "." else f"The component {self.component}"
        return (
            f"{refused} refused its state from {self.path}: {self.reason}. "
            f"{rest}. Restore again, from this checkpoint or another, before the object is used."
        )


@dataclass(eq=False)
class SelfTestError(TuneCkptError):
    """A restored object does not compute what it computed when it was saved."""

    path: str
    faults: tuple[Fault, ...]

    def __str__(self) -> str:
        return (
            f"What was restored from {self.path} does not compute what it did when it was saved:"
            f"{_bullets(self.faults)}\n"
            "The object has its former state again. Other code, libraries or hardware may be the "
            "reason: allow a difference with tolerance=, or accept it with strict='warn'."
        )


@dataclass(eq=False)
class ConstructorError(TuneCkptError):
    """A class's constructor cannot be called with the arguments that are stored."""

    path: str
    class_name: str
    reason: str
    advice: str = (
        "Pass arguments by keyword to from_checkpoint(), or construct the object and call its "
        "restore_from_path()."
    )

    def __str__(self) -> str:
        return (
            f"{self.class_name} cannot be constructed with what is stored in {self.path}: "
            f"{self.reason}. {self.advice}"
        )


@dataclass(eq=False)
class InvalidNameError(TuneCkptError):
    """The name of a component, or of one of its files, cannot be a folder's or file's name."""

    name: str
    reason: str

    def __str__(self) -> str:
        return f"{self.name!r} cannot name a component or its file: {self.reason}. Choose another."


@dataclass(eq=False)
class StorageError(TuneCkptError):
    """Storage refused an operation (no space, no permission, no network, ...)."""

    path: str
    operation: str
    reason: str

    def __str__(self) -> str:
        return f"Cannot {self.operation} {self.path}: {self.reason}."


@dataclass(eq=False)
class OccupiedFolderError(TuneCkptError):
    """A folder holds files of somebody else's that a checkpoint written there would replace.

    Attributes:
        path: The folder.
        files: The names of these files.
    """

    path: str
    files: tuple[str, ...]

    def __str__(self) -> str:
        return (
            f"{self.path} is not a checkpoint, but holds {listed(self.files, 5)}, which a "
            "checkpoint saved there would replace. Choose another folder, or move or delete what "
            "is there."
        )


@dataclass(eq=False)
class UnknownMetricError(TuneCkptError):
    """No result of the sweep reports that metric; ``available`` lists others, nearest first."""

    metric: str
    available: tuple[str, ...]

    def __str__(self) -> str:
        names = listed(self.available, 12)
        return f"No result reports the metric {self.metric!r}. Reported, nearest first: {names}."


@dataclass(eq=False)
class AmbiguousMetricError(TuneCkptError):
    """A metric's name fits two values of one result: a literal key and a nested one."""

    metric: str
    where: str

    def __str__(self) -> str:
        return (
            f"The metric {self.metric!r} is ambiguous in {self.where}: the result has both that "
            "literal key and that nested path. Report it under one name."
        )


@dataclass(eq=False)
class CheckpointMismatchError(TuneCkptError):
    """Checkpoints that are to be averaged do not hold the same arrays.

    Attributes:
        path: The first checkpoint, to which the others were compared.
        faults: Every array that differs in shape or dtype, or that only one of them has.
    """

    path: str
    faults: tuple[Fault, ...]

    def __str__(self) -> str:
        return (
            f"These do not hold the same arrays as {self.path}:{_bullets(self.faults)}\n"
            "Average checkpoints of one model: choose them with where=, or a part that they share "
            "with component=."
        )


_MOST_LINES = 10


@dataclass(eq=False)
class NoCheckpointError(TuneCkptError):
    """A sweep holds no checkpoint that can be ranked.

    Attributes:
        source: The experiment that was searched.
        passed_over: One line for each checkpoint or trial that was passed over, and why.
    """

    source: str
    passed_over: tuple[str, ...]

    def __str__(self) -> str:
        if not self.passed_over:
            return f"No usable checkpoint in {self.source}: no trial has a checkpoint."
        told, more = _bullets(self.passed_over[:_MOST_LINES]), len(self.passed_over) - _MOST_LINES
        rest = f"\n  ... and {more} more" if more > 0 else ""
        return f"No usable checkpoint in {self.source}:{told}{rest}"


@dataclass(eq=False)
class MissingDependencyError(TuneCkptError):
    """A value needs a package that is not installed.

    Attributes:
        package: The package, as pip takes it: ``torch``, ``numpy>=2``.
        purpose: What needs it.
    """

    package: str
    purpose: str

    def __str__(self) -> str:
        return f"{self.purpose} needs {self.package}: pip install {shlex.quote(self.package)}"


@dataclass(eq=False)
class UntrustedReferenceError(TuneCkptError):
    """A class or function named in a document was not imported."""

    name: str
    reason: str

    def __str__(self) -> str:
        return f"{self.name} was not imported: {self.reason}."


@dataclass(eq=False)
class UntrustedTypesError(TuneCkptError):
    """A checkpoint names classes or functions that it needs and nobody trusted.

    Attributes:
        path: The checkpoint.
        names: What would be imported.
    """

    path: str
    names: tuple[str, ...]

    def __str__(self) -> str:
        dotted = (name if ":" in name else ":".join(name.rsplit(".", 1)) for name in self.names)
        modules = sorted({name.partition(":")[0] for name in dotted})
        return (
            f"{self.path} needs:{_bullets(self.names)}\n"
            "They were not imported: a forged checkpoint could name anything. If you trust whoever "
            f"wrote it, pass trusted={modules!r}; an argument of a constructor can also be given "
            "by keyword."
        )


@dataclass(eq=False)
class UnsupportedComponentError(TuneCkptError):
    """An object was listed as a component, but nothing tells how to take its state.

    Attributes:
        class_name: Its class.
        reason: Why it cannot be one, where that is something else.
        component: Its name among the components, where that is known.
    """

    class_name: str
    reason: str = ""
    component: str = ""

    def __str__(self) -> str:
        which = f" (here {self.component!r})" if self.component else ""
        what = f"Objects of {self.class_name}{which} cannot be components"
        if self.reason:
            return f"{what}: {self.reason}."
        return (
            f"{what}: they are not Checkpointable and have no state_dict()/load_state_dict(). A "
            "value, such as a NumPy generator, belongs in get_state(). Or register how their state "
            "is taken and given with tune_ckpt.register_adapter(type, get_state, set_state)."
        )


@dataclass(eq=False)
class NoHealthyActorError(TuneCkptError):
    """A component is a group of Ray actors, and none of them is alive.

    Attributes:
        faults: The actors, each with what happened to it.
    """

    faults: tuple[Fault, ...]

    def __str__(self) -> str:
        if not self.faults:
            return "There is no actor in this group, so there is no state to save or restore."
        return (
            f"None of {len(self.faults)} actor(s) is alive, so there is no state to save or "
            f"restore:{_bullets(self.faults)}\nStart new actors, and restore an earlier checkpoint."
        )


@dataclass(eq=False)
class ActorsFailedError(TuneCkptError):
    """Some Ray actors raised an error when they were given a state.

    Attributes:
        count: How many actors were given it.
        faults: Those that failed, each with its error.
    """

    count: int
    faults: tuple[Fault, ...]

    def __str__(self) -> str:
        return (
            f"{len(self.faults)} of {self.count} actor(s) failed to take a state:"
            f"{_bullets(self.faults)}\nCorrect the cause and restore again."
        )


@dataclass(eq=False)
class SaveInFlightError(TuneCkptError):
    """A background save of the same object is under way, and the caller did not want to wait."""

    path: str

    def __str__(self) -> str:
        return (
            f"The background save to {self.path} is not finished. Save less often, or leave out "
            "wait=False to wait for it."
        )


@dataclass(eq=False)
class NoSessionError(TuneCkptError):
    """Something was asked of the running trial or worker, and there is none in this process."""

    wanted: str

    def __str__(self) -> str:
        return (
            f"{self.wanted} works within a function that tune.Tuner or a Ray Train V2 trainer "
            "runs, and this is not one. Elsewhere save with tc.save({...}, path), and restore with "
            "tc.restore({...}, path)."
        )


@dataclass(eq=False)
class WorkerFailedError(TuneCkptError):
    """A checkpoint of several Train workers is not complete: another could not save its part.

    Attributes:
        path: The checkpoint, which was not committed.
        rank: The worker that failed; it raised its own error.
    """

    path: str
    rank: int

    def __str__(self) -> str:
        return (
            f"{self.path} was not committed: the worker of rank {self.rank} could not save its "
            "part. See its own error; Ray Train continues from the previous checkpoint."
        )


@dataclass(eq=False)
class WorkerMissingError(TuneCkptError):
    """Workers of a Train run have not come to a report at which the others wait.

    Attributes:
        ranks: The workers.
        secs: How long the others have waited.
    """

    ranks: Sequence[int]
    secs: float

    def __str__(self) -> str:
        ranks = ", ".join(map(str, self.ranks))
        return (
            f"tc.report has waited {self.secs:.0f} s for the workers of rank {ranks}. All workers "
            "have to call it equally often: see whether these hang, are slow (then give "
            "timeout_secs=), skip it, as with `if rank == 0`, or left the training function early."
        )


@dataclass(eq=False)
class PartNotFoundError(TuneCkptError):
    """A state has no part of that path.

    Attributes:
        file: The state's file.
        part: What was asked for, or what remains of it beyond ``found``.
        found: How far the path leads.
        available: What there is.
    """

    file: str
    part: str
    found: str
    available: tuple[str, ...]

    def __str__(self) -> str:
        names = listed(self.available, 50, "nothing")
        where = f"{self.file}, at {self.found}," if self.found else self.file
        return f"{where} has no part {self.part!r}; there: {names}."


@dataclass(eq=False)
class InvalidArgumentError(TuneCkptError):
    """An argument has a value that it cannot have.

    Attributes:
        argument: The argument's name.
        value: What was given.
        expected: What it may be.
        why: Why it cannot be that, where this does not tell it already.
    """

    argument: str
    value: Any
    expected: Sequence[Any]
    why: str = ""

    def __str__(self) -> str:
        choices, given = ", ".join(map(str, self.expected)), repr(self.value)
        given = given if len(given) <= 200 else f"{given[:200]}…"
        why = f": {self.why}" if self.why else ""
        return f"{self.argument}={given} is not possible{why}; it may be: {choices}."
