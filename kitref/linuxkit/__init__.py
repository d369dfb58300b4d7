"""LinuxKit's whole path: its files, its clients, its order of look-ups, its cache, its log."""

from __future__ import annotations

from kitref.linuxkit.client import Client, find, machine_arch, of_rule
from kitref.linuxkit.files import Build, Name, alone, load, nitro, nitro_yaml
from kitref.linuxkit.path import (
    Path,
    Setting,
    Step,
    ask_docker,
    follow,
    follow_one,
    read,
    setting,
)
from kitref.linuxkit.rehearsal import Rehearsal, examine, rehearse

__all__ = [
    "Build",
    "Client",
    "Name",
    "Path",
    "Rehearsal",
    "Setting",
    "Step",
    "alone",
    "ask_docker",
    "examine",
    "find",
    "follow",
    "follow_one",
    "load",
    "machine_arch",
    "nitro",
    "nitro_yaml",
    "of_rule",
    "read",
    "rehearse",
    "setting",
]
