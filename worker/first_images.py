"""Brings the first images of a job's prompts into the attempt's folder, before the trainer starts."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from domain.claims import Claim
from domain.errors import ArtifactExpired, ChecksumMismatch
from domain.job_errors import JobError
from domain.store import ObjectStore
from worker import transfer
from worker.workspace import Workspace


class ImageLost(Exception):
    """The store no longer has a first image as it was uploaded; `error` is what the attempt ends with."""

    def __init__(self, name: str, reason: Exception) -> None:
        super().__init__(name, reason)
        self.error = JobError(
            code="first_image_lost",
            message=f"The first image {name} cannot be used: {reason}",
            hint="Upload it again and submit the job with the new upload.",
            retryable=False,
        )


def fetch_images(
    claim: Claim, space: Workspace, store: ObjectStore, *, give_up: Callable[[], bool]
) -> None:
    """Every image of the claim as a file of its name, each checked by its sha256.

    Raises `ImageLost`, and `Unavailable` when the store stays away until `give_up()`.
    """
    for image in claim.images:
        path = transfer.inside(space.images, image.name)
        fetch = partial(store.download, image.key, path, sha256=image.sha256)
        try:
            transfer.while_away(fetch, give_up=give_up)
        except (ArtifactExpired, ChecksumMismatch) as error:
            raise ImageLost(image.name, error) from error
