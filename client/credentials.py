"""Where the service is and with which key: what is given, then the environment, then a data folder's file."""

from __future__ import annotations

import json
import os
from pathlib import Path

from client.errors import NotConfigured
from client.sync.api import VaderClient

CREDENTIALS = "credentials.json"
DEFAULT_DATA_DIR = Path("vader-data")
URL, API_KEY, DATA_DIR = "VADER_URL", "VADER_API_KEY", "VADER_DATA_DIR"


def connect(
    *, url: str | None = None, api_key: str | None = None, data_dir: Path | None = None
) -> VaderClient:
    """A client for `url` and `api_key`. What is missing comes from VADER_URL and VADER_API_KEY, then from
    the file that `vader up` writes into its data folder: `data_dir`, VADER_DATA_DIR or ./vader-data.

    The file's key is used for the file's own URL alone. Raises `NotConfigured`.
    """
    # The client's own three variables; the service's settings are none of its business.
    environment = os.environ  # noqa: TID251
    url, api_key = url or environment.get(URL), api_key or environment.get(API_KEY)
    folder = data_dir or Path(environment.get(DATA_DIR) or DEFAULT_DATA_DIR)
    if url is None or api_key is None:
        kept = _kept(folder / CREDENTIALS)
        if url is None or url.rstrip("/") == kept.get("url"):
            url, api_key = url or kept.get("url"), api_key or kept.get("api_key")
    if url is None or api_key is None:
        missing = "URL" if url is None else "API key"
        raise NotConfigured(
            f"No {missing} is known. Give --url and --api-key, or set {URL} and {API_KEY}, or "
            f"name the data folder of a `vader up` with --data-dir ({folder} has no {CREDENTIALS})."
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
