"""The asynchronous client, and the one source of both: `client.sync` is generated from this folder.

One written source instead of two: the two clients cannot drift apart, and both read as ordinary code with
ordinary signatures, which a core without input and output would have hidden behind a layer of request
objects. `python -m tests.sync_client` generates, and a test compares.
"""
