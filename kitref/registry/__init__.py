"""A registry's answer to a pull, and the private registry of tests and notebooks.

The private registry stands in `kitref.registry.private`, which needs more libraries than a pull.
"""

from __future__ import annotations

from kitref.registry.address import Place, locate
from kitref.registry.client import Answer, pull
from kitref.registry.credentials import Keychain, Login, docker_login
from kitref.registry.wire import Exchange, Outcome

__all__ = [
    "Answer",
    "Exchange",
    "Keychain",
    "Login",
    "Outcome",
    "Place",
    "docker_login",
    "locate",
    "pull",
]
