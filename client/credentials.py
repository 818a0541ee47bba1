"""Where the service is and with which key: options, then the environment, then a data folder's file."""

from __future__ import annotations

import json
from pathlib import Path

from client.api import VaderClient
from client.errors import NotConfigured

CREDENTIALS = "credentials.json"


def connect(*, url: str | None, api_key: str | None, data_dir: Path) -> VaderClient:
    """A client for `url` and `api_key`; what is missing comes from the file that `vader up` writes.

    The file's key is used for the file's own URL alone. Raises `NotConfigured`.
    """
    if url is None or api_key is None:
        kept = _kept(data_dir / CREDENTIALS)
        if url is None or url.rstrip("/") == kept.get("url"):
            url, api_key = url or kept.get("url"), api_key or kept.get("api_key")
    if url is None or api_key is None:
        missing = "URL" if url is None else "API key"
        raise NotConfigured(
            f"No {missing} is known. Give --url and --api-key, or set VADER_URL and VADER_API_KEY, or "
            f"name the data folder of a `vader up` with --data-dir ({data_dir} has no {CREDENTIALS})."
        )
    return VaderClient(url, api_key)


def _kept(path: Path) -> dict[str, str]:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise NotConfigured(f"{path} cannot be read: {error}") from error
    return document if isinstance(document, dict) else {}
