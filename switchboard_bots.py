"""The command `switchboard`: starts it unless another program's modules would run in its place.

`bot` and `registry` are names that a folder of people's own may have, and Python takes the first it
finds. This module is named after the distribution, so its own name is nobody else's.
"""

from __future__ import annotations

import os
import sys
from importlib.util import find_spec
from pathlib import Path

OWN = Path(__file__).resolve().parent
PACKAGES = ("bot", "registry")
SANDBOX_PACKAGES = (*PACKAGES, "simulators")


def main() -> int:
    """Run the command line; 1 and one line where a module of ours is hidden by another."""
    for name in SANDBOX_PACKAGES if "sandbox" in sys.argv[1:] else PACKAGES:
        if stranger := hidden_by(name):
            sys.stderr.write(f"switchboard: {_refusal(name, stranger)}\n")
            return 1
    from bot.cli.main import main as run_verb

    return run_verb()


def hidden_by(name: str) -> Path | None:
    """The file that an import of a package of ours would run instead; it is not run to find out."""
    spec = find_spec(name)
    if spec is None:
        return None  # the import will say so
    found = spec.origin or next(iter(spec.submodule_search_locations or ()), "")
    own = OWN / name / "__init__.py"
    return None if Path(found).resolve() == own else Path(found).absolute()


def _refusal(name: str, stranger: Path) -> str:
    folder = stranger.parent.parent if stranger.name == "__init__.py" else stranger.parent
    named = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    cure = "start it by the command `switchboard`, or rename it"
    if any(one and Path(one).absolute() == folder for one in named):
        cure = "take its folder out of PYTHONPATH, or rename it"
    return f"{stranger} would run in place of Switchboard's own module {name!r}; {cure}"
