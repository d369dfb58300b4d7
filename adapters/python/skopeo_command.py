"""skopeo: what `skopeo inspect docker://NAME` says that it looks for, without a network.

Its first argument is the folder that skopeo's packages are unpacked in.
"""

import re
import subprocess
import sys

from contract import answer

_COMMAND = (
    "unshare", "--user", "--map-root-user", "--net", "chroot", sys.argv[1],
    "/usr/bin/skopeo", "--debug", "inspect",
)  # fmt: skip
_ASKED = re.compile(r'Accessing \\"(?P<name>(?P<domain>[^/]+)/(?P<path>[^:@"]+)[^"]*?)\\" failed')
_REFUSED = re.compile(r'level=fatal msg="Error parsing image name .*?\\": (.*)"')


def parts(text: str) -> dict[str, str | None]:
    """Return the name in the message that the registry cannot be reached, or the refusal."""
    try:
        said = subprocess.run(
            [*_COMMAND, f"docker://{text}"], capture_output=True, check=False
        ).stderr.decode(errors="replace")
    except ValueError:
        return {}  # no argument of a command can be like that
    if asked := _ASKED.search(said):
        name = asked["name"]
        # It asks for :latest where there is no tag; whether the text has one, it does not say.
        canonical = name if text.endswith(":latest") else name.removesuffix(":latest")
        return {"domain": asked["domain"], "path": asked["path"], "canonical": canonical}
    if refused := _REFUSED.search(said):
        raise ValueError(refused[1])
    sys.exit(said[-300:])  # it says nothing of the name: no answer, and no refusal either


answer(parts)
