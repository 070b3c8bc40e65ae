"""The newest migration is known without importing alembic, and is alembic's head."""

from __future__ import annotations

import subprocess
import sys

from alembic.script import ScriptDirectory

from messenger.migrations import alembic_config, head_revision


def test_head_revision_equals_alembic_head() -> None:
    assert head_revision() == ScriptDirectory.from_config(alembic_config()).get_current_head()


def test_starting_server_imports_no_alembic() -> None:
    code = "import sys, messenger.cli, messenger.serving, messenger.app; print('alembic' in sys.modules)"
    said = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert said == "False\n"
