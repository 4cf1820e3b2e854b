"""A headless Chromium: what a page is like after its script has run."""

import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

_FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--virtual-time-budget=5000",
)  # fmt: skip


def dom(page: Path, fragment: str = "") -> str:
    """The page as it stands after its script has run, as HTML."""
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("there is no chromium (Debian's package of that name)")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        command = [
            chromium,
            *_FLAGS,
            f"--user-data-dir={profile}",
            "--dump-dom",
            f"{page.resolve().as_uri()}{fragment}",
        ]
        return subprocess.run(command, capture_output=True, text=True, timeout=100, check=True).stdout
