"""Writes docs/openapi.json anew: `python -m tests.openapi [--breaking]`.

The file is what clients were promised. Changes that break them are listed and refused, unless
`--breaking` says that this is meant, as before the first release or with a new version of the API.
"""

from __future__ import annotations

import json
import sys

from tests.openapi.changes import breaking
from tests.openapi.document import FILE, current, published


def main() -> int:
    new = current()
    broken = breaking(published(), new) if FILE.exists() else []
    if broken and "--breaking" not in sys.argv[1:]:
        sys.stderr.write("These changes break clients:\n" + "\n".join(broken) + "\n")
        return 1
    FILE.write_text(json.dumps(new, indent=1, sort_keys=False) + "\n", encoding="utf-8")
    sys.stdout.write(f"{len(new['paths'])} paths, {len(broken)} breaking changes\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
