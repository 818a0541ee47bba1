"""`python -m domain.admin`: what operators do once. Each command prints one line of JSON.

migrate                           brings the database to the newest schema
prepare                           waits for the database, migrates it, makes the store's folder or bucket
create-project --name NAME        makes a project
create-key --project NAME --name NAME [--scope SCOPE ...]
                                  makes an API key, and the project where it is missing
revoke-key --project NAME --key ID      ends an API key
invite --project NAME --email EMAIL --name NAME --role viewer|editor|admin
                                  invites somebody to the dashboards; shows the token once
set-quota --project NAME [--running-jobs N] [--queued-jobs N] [--gpu-seconds-a-month N]
          [--storage-bytes N] [--generations-a-month N] [--templates N] [--template-versions N]
                                  sets what is given; `default` goes back to the settings
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import get_args

from sqlalchemy.orm import Session

from domain import api_keys, audit, db, members, projects, quotas
from domain.errors import DomainError, NotFound, Unavailable
from domain.ids import from_public, to_public
from domain.settings import SettingsInvalid, get_settings
from domain.store import open_store
from domain.tables import Json, Project
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
        _record(session, project, "project.create", to_public("prj", project.id))
        return {"project_id": to_public("prj", project.id), "name": project.name}


def create_key(arguments: argparse.Namespace) -> dict[str, object]:
    with db.transaction() as session:
        try:
            project = projects.by_name(session, arguments.project)
        except NotFound:
            project = projects.create(session, name=arguments.project)
        key, token = api_keys.create(
            session,
            project_id=project.id,
            name=arguments.name,
            scopes=arguments.scope or api_keys.ALL_SCOPES,
        )
        _record(session, project, "api_key.create", to_public("key", key.id))
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
        _record(session, project, "api_key.revoke", arguments.key)
        return {"key_id": arguments.key, "revoked": True}


def invite(arguments: argparse.Namespace) -> dict[str, object]:
    with db.transaction() as session:
        project = projects.by_name(session, arguments.project)
        member, token = members.invite(
            session,
            project_id=project.id,
            email=arguments.email,
            name=arguments.name,
            role=arguments.role,
        )
        member_id = to_public("mem", member.id)
        _record(session, project, "member.invite", member_id)
        return {"member_id": member_id, "role": member.role, "invitation_token": token}


def set_quota(arguments: argparse.Namespace) -> dict[str, object]:
    changes = {
        name: None if given == "default" else int(given)
        for name in quotas.NAMES
        if (given := getattr(arguments, name)) is not None
    }
    with db.transaction() as session:
        project = projects.by_name(session, arguments.project)
        limits = quotas.set_limits(session, project.id, **changes)
        project_id = to_public("prj", project.id)
        _record(session, project, "quota.set", project_id, details=dict(changes))
        return {"project_id": project_id, **asdict(limits)}


def _record(
    session: Session, project: Project, action: str, target: str, details: Json | None = None
) -> None:
    who = audit.Operator(project.id)
    audit.record(session, who, action=action, target=target, details=details)


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
        ("invite", invite, ["--project", "--email", "--name"]),
        ("set-quota", set_quota, ["--project"]),
    ]
    for name, run, needed in options:
        command = commands.add_parser(name)
        command.set_defaults(run=run)
        command.add_argument("--json", action="store_true", help="the only format; for scripts")
        for option in needed:
            command.add_argument(option, required=True)
        _add_optional(command, name)
    return parser


def _add_optional(command: argparse.ArgumentParser, name: str) -> None:
    if name == "create-key":
        command.add_argument("--scope", action="append", choices=api_keys.ALL_SCOPES)
    if name == "invite":
        command.add_argument("--role", choices=get_args(members.Role), required=True)
    if name == "set-quota":
        for quota in quotas.NAMES:
            option = f"--{quota.replace('_', '-')}"
            command.add_argument(option, dest=quota, type=_amount, metavar="N")


def _amount(text: str) -> str:
    if text != "default" and not (text.isascii() and text.isdigit()):
        raise argparse.ArgumentTypeError("give a whole number of at least 0, or `default`")
    return text


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
