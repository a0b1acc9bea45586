"""Paths and URIs of what is in a sweep, which may have been moved since they were recorded."""

from __future__ import annotations

from urllib.parse import quote, unquote


def last_of(path: str, place: int = 1) -> str:
    """Return a path's last name, or an earlier one."""
    return ["", *path.rstrip("/").split("/")][-place]


def _split(path: str) -> tuple[str, str]:
    """Return a path or URI without its options, and those."""
    head, mark, options = path.partition("?") if "://" in path else (path, "", "")
    return head.rstrip("/"), mark + options


def parent_of(path: str) -> tuple[str, str]:
    """Return the path or URI of the folder above, and the name in it."""
    head, options = _split(path)
    parent, slash, name = head.rpartition("/")
    return (parent or slash) + options, unquote(name) if "://" in path else name


def below(base: str, *names: str) -> str:
    """Return the path or URI of something below a folder."""
    if "://" not in base:
        return "/".join((base.rstrip("/"), *names))
    head, options = _split(base)
    return "/".join((head, *map(_quoted, names))) + options


def _quoted(path: str) -> str:
    return quote(path, safe="/=,:@+")


def places_of(experiment: str, recorded: str) -> list[str]:
    """Return where to look for a path that was recorded before a sweep may have been moved.

    That is within the sweep's folder, beside it, and where it was.
    """
    is_uri = "://" in experiment
    options = _split(experiment)[1]
    parent, name = parent_of(experiment)
    folders = recorded.split("/")  # several may be called as the sweep is
    within = ["/".join(folders[n + 1 :]) for n, each in enumerate(folders) if each == name]
    beside = "/".join(recorded.rstrip("/").split("/")[-2:])
    scheme = experiment.partition("://")[0]
    there = f"{scheme}://{_quoted(recorded)}" if is_uri else recorded
    paths = [below(experiment, path) for path in within if path]
    return [*paths, below(parent, beside), there + options]
