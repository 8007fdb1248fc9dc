"""Why a file was refused, as it may be published: without the folders of the machine that it was tried on."""

from __future__ import annotations

import re

# An absolute path begins a word: OpenVINO's `src/core/...` and a URL are left alone.
FOLDERS = re.compile(r"(?<![^\s'\"(\[=])/(?:[^\s/'\":]+/)+")


def reason(error: Exception) -> str:
    """The error's text, every absolute path in it cut to the file's name."""
    return FOLDERS.sub("", str(error))
