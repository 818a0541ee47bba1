"""The synchronous client: generated from `client.aio` by `python -m tests.sync_client`, but for `basics`."""
