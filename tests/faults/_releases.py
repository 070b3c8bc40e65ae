"""The release before the newest migration: its source from git, run with this environment's dependencies."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from messenger.migrations import head_revision

_ROOT = Path(__file__).parents[2]
_VERSIONS = "migrations/versions"
_TRIED = 10


class Release:
    """A source tree. `head`: its newest migration."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        names = (path.name for path in (folder / _VERSIONS).glob("[0-9]*_*.py"))
        self.head = max(name.partition("_")[0] for name in names)

    @property
    def variables(self) -> dict[str, str]:
        """With these a Python of this environment runs it, since `PYTHONPATH` precedes installed packages."""
        return {"PYTHONPATH": str(self.folder / "src")}

    @property
    def knows_newer_schemas(self) -> bool:
        """Whether it can tell whether it can run on a newer schema; the first release cannot yet."""
        return "def bring_up" in (self.folder / "src/messenger/migrations.py").read_text()


def earlier_revision() -> str | None:
    """The commit before the newest migration; None where git does not reach so far back."""
    newest = next((_ROOT / _VERSIONS).glob(f"{head_revision()}_*.py"))
    if not _git("ls-files", "--", str(newest)):
        # Not committed yet: the previous release is the current commit.
        return _git("rev-parse", "--verify", "--quiet", "HEAD") or None
    added = _git("log", "--diff-filter=A", "-1", "--format=%H", "--", str(newest))
    # In a shallow clone the oldest commit seems to have added everything.
    return (_git("rev-parse", "--verify", "--quiet", f"{added}^") if added else "") or None


def needs_history() -> str | None:
    """An earlier release in the git history."""
    if earlier_revision() is None:
        return f"NOT TESTED HERE: git knows no release before migration {head_revision()} (a shallow clone?)"
    return None


def unpack(folder: Path) -> Release:
    """Unpack the earlier release into this folder: the newest commit that starts."""
    revision = earlier_revision()
    assert revision is not None
    for each in _git("rev-list", "--first-parent", f"--max-count={_TRIED}", revision).split():
        archive = subprocess.run(
            ["git", "archive", each, "src", "migrations"], cwd=_ROOT, check=True, capture_output=True
        ).stdout
        folder.mkdir(parents=True, exist_ok=True)
        # Not tarfile: Python has safe filters from 3.11.4 on only.
        subprocess.run(["tar", "--extract", "--directory", folder], input=archive, check=True)
        release = Release(folder)
        if _starts(release):
            return release
        shutil.rmtree(folder)
    raise AssertionError(f"none of the {_TRIED} commits up to {revision} starts")


def _starts(release: Release) -> bool:
    """Build everything except the database."""
    done = subprocess.run(
        [sys.executable, "-m", "messenger", "openapi"],
        env={**os.environ, **release.variables},
        cwd=release.folder,
        capture_output=True,
        check=False,
    )
    return done.returncode == 0


def _git(*words: str) -> str:
    return subprocess.run(["git", *words], cwd=_ROOT, capture_output=True, text=True, check=False).stdout.strip()
