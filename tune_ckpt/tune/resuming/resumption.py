"""The trials and the scheduler of a sweep that is resumed: where each goes on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from ray.tune.schedulers import PopulationBasedTraining

from tune_ckpt.errors import PickleReadError, listed
from tune_ckpt.tune import private
from tune_ckpt.tune.resuming.continuing import Revival, continue_trial
from tune_ckpt.tune.resuming.histories import History, histories_of
from tune_ckpt.tune.resuming.kept_state import KeptState
from tune_ckpt.tune.resuming.past import PastTrial
from tune_ckpt.tune.resuming.place import Place
from tune_ckpt.tune.resuming.plain import Plain, trials_of
from tune_ckpt.tune.resuming.portable import PORTABLE
from tune_ckpt.tune.resuming.rebuild import TrialMaker, plain_stop
from tune_ckpt.tune.resuming.replay import replayed
from tune_ckpt.tune.resuming.report import ResumeReport
from tune_ckpt.tune.resuming.scheduler_memory import SchedulerMemory
from tune_ckpt.tune.resuming.search_memory import SearchMemory
from tune_ckpt.tune.resuming.searching import write_search_state
from tune_ckpt.tune.resuming.soundness import Soundness
from tune_ckpt.tune.resuming.state_files import STATE, StateFiles
from tune_ckpt.tune.statuses import ENDED


@dataclass
class Resumption:
    """A sweep that is to go on.

    Attributes:
        place: Where it lies.
        files: Its files.
        tuner: Ray's Tuner that will run it.
        param_space: Its search space, where that was given.
        plain: What its pickles told that are not used (``portable=True``); None where they are.
        report: What was found and done.
    """

    place: Place
    files: StateFiles
    tuner: Any
    param_space: dict[str, Any] | None
    plain: Plain | None
    report: ResumeReport = field(init=False)
    _lost: set[str] = field(default_factory=set, init=False)

    def __post_init__(self) -> None:
        self.report = ResumeReport(self.place.path)

    def carry_out(self, revival: Revival, memory: SchedulerMemory) -> None:
        """Let all trials go on where they can, and write that down for Ray.

        Args:
            revival: What shall become of trials that have ended.
            memory: Gets what Ray has no place for.
        """
        pasts = self.place.pasts(self.plain.trials if self.plain else ())
        trials = self._trials(pasts)  # with the criterion that they may have ended by
        memory.search.stop = self._extend_stop(revival.extend or {})
        ended = self._ended(trials)
        kept = self._continue(trials, pasts, revival)
        histories = histories_of(trials, pasts)
        memory.packed = kept.packed or self._replayed(histories)
        memory.resources = private.changed_resources(self._scheduler, trials)
        memory.configs = {trial.trial_id: trial.config for trial in trials}
        if self._scheduler is not None:
            self.report.notes.append(kept.note(self._scheduler, memory.packed))
        session = self.files.begin()
        self._tell_searcher(memory.search, histories, ended, session)
        trial_data = list(private.dump_trials(trials))
        self.files.write(session, trial_data, memory.search.strangers)
        self.report.set_aside += self.files.faults

    def _tell_searcher(
        self, search: SearchMemory, histories: list[History], ended: set[str], session: str
    ) -> None:
        """Write the searcher's state anew, or note what its own lacks: ends since it was saved."""
        if not self.files.has_search_state() or (self.files.document is None and self.param_space):
            found = write_search_state(
                self.tuner, self.param_space, histories, self.place.store, session
            )
            search.strangers |= found.strangers
            self.report.notes.append(found.note)
            return
        trials = {history.trial.trial_id: history.trial for history in histories}
        finished = [name for name, trial in trials.items() if trial.is_finished()]
        new = [name for name in finished if name not in ended]
        search.ended = {name: dict(trials[name].last_result) for name in new}
        search.strangers |= self.files.strangers | ended.difference(finished)

    def _ended(self, trials: list[Any]) -> set[str]:
        """Return the trials that had ended when the searcher's state was saved."""
        former = self.files.beside_search()
        if former is None:
            return {trial.trial_id for trial in trials if trial.is_finished()}
        ended = (facts for facts in trials_of(former) if facts.get("status") in ENDED)
        return {str(facts.get("trial_id")) for facts in ended}

    def _trials(self, pasts: Mapping[str, PastTrial]) -> list[Any]:
        """Return the trials as Tune noted them, or as their folders tell."""
        if self.files.document is None:
            why = (
                "the sweep's pickles are not used"
                if self.plain
                else "no whole experiment state is left"
            )
            self.report.notes.append(f"{why}: the trials are made again from their folders")
            return self._made_again(pasts)
        where = self.files.store.path(self.files.names[STATE])
        try:
            trials = private.load_trials(self.files.document)
        except Exception as error:  # whatever the pickles' own code raises
            raise PickleReadError(where, f"{type(error).__name__}: {error}; {PORTABLE}") from error
        for trial in trials:
            private.relocate(trial, self.place.filesystem, self.place.fs_path)
        noted = {str(trial.relative_logdir) for trial in trials}
        for name in sorted(pasts.keys() - noted):
            self.report.notes.append(f"{name} stays as it is: {_UNNOTED}")
        return trials

    def _made_again(self, pasts: Mapping[str, PastTrial]) -> list[Any]:
        trainable = private.trainable_of(self.tuner)
        run_config = private.run_config(self.tuner)
        maker = TrialMaker(
            trainable=private.trainable_name(trainable),
            filesystem=self.place.filesystem,
            experiment=self.place.fs_path,
            stop=plain_stop(run_config),
            checkpoint_config=private.checkpoint_config(self.tuner, trainable),
            max_failures=run_config.failure_config.max_failures,
            space=self.param_space or {},
            plain=self.plain or Plain(),
        )
        if isinstance(trainable, type) and self.plain and not self._saves(self.plain):
            self.report.notes.append(_NO_SAVES)
        self._lost = {name for name, past in pasts.items() if maker.config(past) is None}
        if self.param_space is None:
            told = "trials that no file names are lost, unless param_space is given"
            self.report.notes.append(told)
        self.report.notes += _untold(self.place.trial_like() - pasts.keys())
        made = [maker.make(past) for past in pasts.values()]
        lost = {name for trial in made for name in maker.lost_objects(trial)}
        if lost:
            self.report.notes.append(_TEXT.format(listed(sorted(lost), _LISTED)))
        return sorted(made, key=lambda trial: trial.trial_id)

    def _extend_stop(self, extend: Mapping[str, float]) -> dict[str, float]:
        """Let trials that are still to be made stop where the extended ones do; return where."""
        run_config = private.run_config(self.tuner)
        if extend and (run_config.stop is None or isinstance(run_config.stop, dict)):
            run_config.stop = {**(run_config.stop or {}), **extend}
        return dict(extend)

    def _saves(self, plain: Plain) -> bool:
        """Say whether it is settled when trials of a class save: functions do it themselves."""
        config = private.run_config(self.tuner).checkpoint_config
        return bool(config.checkpoint_frequency or config.checkpoint_at_end or plain.saves_never)

    @property
    def _scheduler(self) -> Any:
        return private.tune_config(self.tuner).scheduler

    def _continue(
        self, trials: list[Any], pasts: dict[str, PastTrial], revival: Revival
    ) -> KeptState:
        """Let every trial go on where it can, and return what was kept of the scheduler."""
        scheduler = self._scheduler
        kept = KeptState.find(self.files, scheduler, trials, self.place)
        # Else the trials must be as they were when Tune noted them: PBT has changed their configs.
        changes = isinstance(scheduler, PopulationBasedTraining) and self.files.document is not None
        newest = kept.packed is None and not changes
        sound = Soundness(self.place.local_or_filesystem)
        for trial in trials:
            name = str(trial.relative_logdir)
            past = pasts.setdefault(name, PastTrial(name, self.place.store.child(name)))
            found = continue_trial(trial, past, sound, revival, newest=newest)
            if name in self._lost:
                found = replace(found, status="lost", detail="its config is recorded nowhere")
            where = found.checkpoint and self.place.address(found.checkpoint)
            self.report.trials.append(replace(found, checkpoint=where))
        self.report.trials.sort(key=lambda trial: trial.trial_id)
        self.report.set_aside += sound.faults
        return kept

    def _replayed(self, histories: list[History]) -> bytes | None:
        config = private.tune_config(self.tuner)
        snapshot = replayed(config.scheduler, histories, config.metric, config.mode)
        return snapshot.pack(self.place.fs_path) if snapshot else None


def _untold(names: set[str]) -> list[str]:
    """Say which trials' folders are left without a file that tells anything."""
    told = f"no file tells of {len(names)} trial(s), whose folders stay as they are"
    return [f"{told}: {listed(sorted(names), _LISTED)}"] if names else []


_LISTED = 10
_UNNOTED = (
    "it began after Tune last noted the sweep's state, and a new trial takes its place; or it is "
    "of another run in this folder"
)
_TEXT = (
    "the trials' configs have text in the place of objects that only pickles hold: {}; give "
    "param_space, which has them"
)
_NO_SAVES = (
    "nothing tells how often trials save, so they save when they end, if at all: give "
    "run_config=tune.RunConfig(checkpoint_config=tune.CheckpointConfig(checkpoint_frequency=1))"
)
