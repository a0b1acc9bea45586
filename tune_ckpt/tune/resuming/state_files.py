"""The files in which Tune keeps a sweep's state: the newest whole set of them.

A driver writes several files at once, named by the time at which its session began::

    experiment_state-<session>.json   the trials
    callback-states-<session>.pkl     the callbacks
    basic-variant-state-<session>.json, or search_gen_state-<session>.json with
    searcher-state-<session>.pkl      the searcher (pickles, whatever their name says)

Ray takes the newest of each by name; where the first is damaged it starts over in the same folder,
and says so only in the log. Here all that is damaged, or newer than the newest whole experiment
state, is set aside, so that Ray finds files that belong together; and so are older ones that Ray
would take in the place of what is gone.

`StateFiles.write` writes an experiment state, often that alone. Where nobody has run the sweep
since then, the other files are still those of the session before.
"""

from __future__ import annotations

import json
import re
from collections.abc import Set
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from tune_ckpt.errors import Fault
from tune_ckpt.tree.storage.store import Store
from tune_ckpt.tune.resuming.aside import set_aside
from tune_ckpt.tune.resuming.soundness import broken_pickle, leads_nowhere

STATE = "experiment_state"
CALLBACKS = "callback-states"
SEARCH = ("basic-variant-state", "search_gen_state", "searcher-state")
TUNER = "tuner.pkl"

_STRANGERS = "tune_ckpt_strangers"
_SESSION = "%Y-%m-%d_%H-%M-%S"
_NAME = re.compile(rf"({STATE}|{CALLBACKS}|{'|'.join(SEARCH)})-(.+)\.(?:json|pkl)")


@dataclass
class StateFiles:
    """The files of a sweep's folder.

    Attributes:
        store: The folder.
        document: The newest whole experiment state; None where there is none.
        names: That file and those that belong to it, by kind.
        searched: The name of the experiment state that is as old as the searcher's state.
        damaged: What Ray must not find, and why; `set_damaged_aside` moves it.
        faults: What was set aside, and why.
    """

    store: Store
    document: dict[str, Any] | None = None
    names: dict[str, str] = field(default_factory=dict)
    searched: str | None = None
    damaged: list[tuple[str, str]] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)

    @classmethod
    def look(cls, store: Store) -> StateFiles:
        """Find the newest whole files, and what Ray must not find; nothing is touched."""
        files = cls(store)
        sessions = _sessions(store)
        order = sorted(sessions, reverse=True)
        torn = {session: files._torn(sessions[session]) for session in order}
        whole = [session for session in order if torn[session] is None]
        newer = order[: order.index(whole[0])] if whole else order
        for session in newer:
            files._drop(sessions[session], torn[session] or "", searcher=not whole)
        if not whole:
            files.names = _only_search(sessions[order[0]]) if order else {}
            files._check()
            return files
        files._take([sessions[session] for session in order[len(newer) :]])
        files._check()
        gone = {CALLBACKS, *SEARCH} - files.names.keys()
        files.damaged += [(name, "it is of an older session") for name in files.strays(gone)]
        return files

    def strays(self, kinds: Set[str]) -> list[str]:
        """Return the other files of some kinds, of which Ray would take one if there were none."""
        known = {*self.names.values(), *(name for name, _ in self.damaged)}
        found = (pair for names in _sessions(self.store).values() for pair in names.items())
        return [name for kind, name in found if kind in kinds and name not in known]

    def _take(self, sessions: list[dict[str, str]]) -> None:
        """Take the files of the first session; what nobody has run has those of the one before."""
        state = sessions[0][STATE]
        used = next((names for names in sessions if names.keys() != {STATE}), {})
        self.names = {**used, STATE: state}
        self.searched = used.get(STATE)

    def _torn(self, names: dict[str, str]) -> str | None:
        """Say what is wrong with a session's experiment state; the first whole one is kept."""
        if self.document is not None:
            return "it is not needed"
        return self._load(names[STATE]) if STATE in names else "its experiment state is gone"

    def _drop(self, names: dict[str, str], reason: str, *, searcher: bool) -> None:
        """Note a session's files as damaged; its searcher's state may be all that is left."""
        for kind, name in names.items():
            if kind == STATE:
                self.damaged.append((name, reason))
            elif kind not in SEARCH or not searcher:
                self.damaged.append((name, f"its session's {STATE} is damaged or gone"))

    def _check(self) -> None:
        for kind, name in list(self.names.items()):
            if kind == STATE:
                continue
            reason = leads_nowhere(self.store, name) or broken_pickle(self.store, name)
            if reason is not None:
                self.damaged.append((name, reason))
                del self.names[kind]

    def beside_search(self) -> dict[str, Any] | None:
        """Return the experiment state that is as old as the searcher's; None where that is gone."""
        if self.searched is None or self.searched == self.names.get(STATE):
            return self.document
        former = StateFiles(self.store)
        return None if former._load(self.searched) else former.document

    def _load(self, name: str) -> str | None:
        nowhere = leads_nowhere(self.store, name)
        if nowhere:
            return nowhere
        try:
            document = json.loads(self.store.read_bytes(name))
        except (ValueError, RecursionError) as error:
            return f"it is damaged: {error}"
        if not isinstance(document, dict) or not document.get("trial_data"):
            return "it names no trial"
        self.document = document
        return None

    def set_damaged_aside(self) -> None:
        """Set aside what Ray must not find."""
        for name, reason in self.damaged:
            self._set_aside(name, reason)
        self.damaged = []

    def _set_aside(self, name: str, reason: str) -> None:
        self.faults.append(Fault(set_aside(self.store, name), reason))

    def has_search_state(self) -> bool:
        """Say whether the searcher's state is there and whole."""
        return SEARCH[0] in self.names or set(SEARCH[1:]) <= self.names.keys()

    @property
    def strangers(self) -> set[str]:
        """The trials of which the searcher must hear nothing, as `write` has noted them."""
        return set((self.document or {}).get(_STRANGERS, ()))

    def begin(self) -> str:
        """Return the name of a session that is newer than all others, to begin it."""
        session = datetime.now().strftime(_SESSION)
        for later, names in sorted(_sessions(self.store).items()):
            if later > session and STATE in names:
                self._set_aside(names[STATE], "it is from the future: its clock was ahead")
        return session

    def write(self, session: str, trial_data: list[list[str]], strangers: Set[str]) -> None:
        """Write a session's experiment state.

        Args:
            session: The session's name.
            trial_data: The trials, as Tune writes them.
            strangers: The trials of which the searcher must hear nothing; Tune passes that over,
                and once the sweep runs, the `CheckpointCallback` keeps it.
        """
        document = {"runner_data": {}, "stats": {}, **(self.document or {})}
        runner = {"_session_str": session, "_start_time": 0.0, **document["runner_data"]}
        new = {"trial_data": trial_data, "runner_data": runner, _STRANGERS: sorted(strangers)}
        name = f"{STATE}-{session}.json"
        self.store.write_bytes(name, json.dumps({**document, **new}).encode())


def _only_search(names: dict[str, str]) -> dict[str, str]:
    return {kind: name for kind, name in names.items() if kind in SEARCH}


def _sessions(store: Store) -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = {}
    for entry in store.list():
        match = _NAME.fullmatch(entry.name)
        if match and not entry.is_dir:
            found.setdefault(match[2], {})[match[1]] = entry.name
    return found
