"""Which version of the service this process runs, and the commit that it was built from."""

from __future__ import annotations

from domain.settings import get_settings

VERSION = "0.1.0"
"""As in pyproject.toml; not read from there, so that it is known where nothing was installed."""
_SHOWN_DIGITS = 7


def code_version() -> str:
    """`v0.1.0+g3fa91c2`; without the commit where the build did not name one (`VADER_COMMIT`)."""
    commit = get_settings().commit[:_SHOWN_DIGITS]
    return f"v{VERSION}+g{commit}" if commit else f"v{VERSION}"
