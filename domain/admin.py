"""`python -m domain.admin`: what operators do once. Each command prints one line of JSON.

migrate                           brings the database to the newest schema
prepare                           waits for the database, migrates it, makes the store's folder or bucket
create-project --name NAME        makes a project
create-key --project NAME --name NAME   makes an API key, and the project where it is missing
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence

from domain import api_keys, db, projects
from domain.errors import DomainError, NotFound, Unavailable
from domain.ids import from_public, to_public
from domain.settings import SettingsInvalid, get_settings
from domain.store import open_store
from migrations import upgrade

WAIT_S = 60
_RETRY_S = 0.5


def migrate(_: argparse.Namespace) -> dict[str, object]:
    upgrade(get_settings().database_url.get_secret_value())
    return {"migrated": True}


def prepare(_: argparse.Namespace) -> dict[str, object]:
    for ready in (db.ping, open_store(get_settings()).prepare):
        _wait(ready)
    upgrade(get_settings().database_url.get_secret_value())
    return {"prepared": True}


def create_project(arguments: argparse.Namespace) -> dict[str, object]:
    with db.transaction() as session:
        project = projects.create(session, name=arguments.name)
        return {"project_id": to_public("prj", project.id), "name": project.name}


def create_key(arguments: argparse.Namespace) -> dict[str, object]:
    with db.transaction() as session:
        try:
            project = projects.by_name(session, arguments.project)
        except NotFound:
            project = projects.create(session, name=arguments.project)
        key, token = api_keys.create(session, project_id=project.id, name=arguments.name)
        return {
            "api_key": token,
            "key_id": to_public("key", key.id),
            "project_id": to_public("prj", project.id),
            "project": project.name,
            "scopes": key.scopes,
        }


def revoke_key(arguments: argparse.Namespace) -> dict[str, object]:
    with db.transaction() as session:
        project = projects.by_name(session, arguments.project)
        key_id = from_public("key", arguments.key)
        api_keys.revoke(session, project_id=project.id, key_id=key_id)
        return {"key_id": arguments.key, "revoked": True}


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command; 0 when it was done, 1 with a reason on stderr, 2 for wrong usage."""
    parsed = _parser().parse_args(arguments)
    try:
        answer = parsed.run(parsed)
    except (DomainError, SettingsInvalid) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.write(json.dumps(answer) + "\n")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m domain.admin", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    options: list[tuple[str, Callable[[argparse.Namespace], object], list[str]]] = [
        ("migrate", migrate, []),
        ("prepare", prepare, []),
        ("create-project", create_project, ["--name"]),
        ("create-key", create_key, ["--project", "--name"]),
        ("revoke-key", revoke_key, ["--project", "--key"]),
    ]
    for name, run, needed in options:
        command = commands.add_parser(name)
        command.set_defaults(run=run)
        command.add_argument("--json", action="store_true", help="the only format; for scripts")
        for option in needed:
            command.add_argument(option, required=True)
    return parser


def _wait(ready: Callable[[], None]) -> None:
    give_up_at = time.monotonic() + WAIT_S
    while True:
        try:
            return ready()
        except Unavailable:
            if time.monotonic() > give_up_at:
                raise
            time.sleep(_RETRY_S)


if __name__ == "__main__":
    sys.exit(main())
