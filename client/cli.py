"""The `vader` command. `client.command` says what its exit status means."""

from __future__ import annotations

import typer

# Registers further commands of `vader jobs`.
import client.commands.job_actions
import client.commands.job_history  # noqa: F401
from client.commands.access import keys_app, members_app
from client.commands.adapters import adapters_app
from client.commands.catalogue import base_models_app, methods_app, rewards_app
from client.commands.generations import add_generate, generations_app
from client.commands.jobs import jobs_app
from client.commands.project import add_project_commands
from client.commands.prompts import prompts_app
from client.commands.stack import add_stack_commands
from client.commands.templates import templates_app
from client.commands.uploads import uploads_app
from client.commands.webhooks import webhooks_app

app = typer.Typer(help="Aligns video diffusion models with rewards.", no_args_is_help=True)
app.add_typer(jobs_app, name="jobs")
app.add_typer(prompts_app, name="prompts")
app.add_typer(templates_app, name="templates")
app.add_typer(adapters_app, name="adapters")
add_generate(app)
app.add_typer(generations_app, name="generations")
app.add_typer(base_models_app, name="base-models")
app.add_typer(rewards_app, name="rewards")
app.add_typer(methods_app, name="methods")
app.add_typer(uploads_app, name="uploads")
app.add_typer(webhooks_app, name="webhooks")
app.add_typer(keys_app, name="keys")
app.add_typer(members_app, name="members")
add_project_commands(app)
add_stack_commands(app)


def main() -> None:
    """The entry point of the `vader` command."""
    app(prog_name="vader")
