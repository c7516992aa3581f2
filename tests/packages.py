"""Installed packages for tests: a module with its metadata, in a folder for `sys.path`."""

from __future__ import annotations

from pathlib import Path

from bot.skills import GROUP

WORKDAYS = Path(__file__).parents[1] / "docs" / "examples" / "workdays" / "workdays.py"


def install(site: Path, name: str, code: str, value: str = "") -> Path:
    """A package of one module whose entry point is `value`, or the module itself."""
    info = site / f"{name}-1.0.dist-info"
    info.mkdir(parents=True)
    (site / f"{name}.py").write_text(code)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[{GROUP}]\n{name} = {value or name}\n")
    return site
