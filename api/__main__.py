"""`python -m api --host HOST --port PORT`."""

from __future__ import annotations

from api.server import main

if __name__ == "__main__":
    main()
