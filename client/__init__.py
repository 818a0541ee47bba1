"""The typed Python client of the service and the `vader` command. Imports none of the other packages.

>>> from client import VaderClient
>>> with VaderClient("http://127.0.0.1:8000", "vdr_live_...") as vader:
...     job = vader.create_job({"base_model": "tiny-unet", ...})
...     for event in vader.events(job.id):
...         print(event.type, event.message)

`AsyncVaderClient` is the same for asyncio.
"""

from client.aio.api import AsyncVaderClient
from client.credentials import connect
from client.errors import RequestRefused, Unreachable, VaderError
from client.models import Event, Job, Scoring, Upload
from client.sync.api import VaderClient

__all__ = [
    "AsyncVaderClient",
    "Event",
    "Job",
    "RequestRefused",
    "Scoring",
    "Unreachable",
    "Upload",
    "VaderClient",
    "VaderError",
    "connect",
]
