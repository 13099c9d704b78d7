"""The command line: one function per command. Heavy modules are imported by the command that needs them.

Exit codes: 0 good, 1 the answer is "no", 2 your input, 3 the environment, 130 interrupted.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import click

from holdfast import __version__
from holdfast.errors import AnswerNo, HoldfastError, InputError

F = TypeVar("F", bound=Callable[..., Any])

json_option = click.option(
    "--json", "as_json", is_flag=True, help="One JSON object on standard output, for machines."
)
env_option = click.option("--env", metavar="NAME", help="Apply the [env.NAME] overlay of the manifest.")
dir_option = click.option(
    "-C",
    "directory",
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="Project folder. Default: the manifest above this folder, else the only system that runs.",
)
dir_argument = click.argument(
    "directory", metavar="[DIR]", required=False, type=click.Path(path_type=Path), default=None
)


class Group(click.Group):
    """Turns every error into a message and an exit code; a traceback never reaches the user unless ``-v`` asks."""

    verbose: ClassVar[bool] = False

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            # Whoever reads has seen enough. Here, because click itself would make a 1 of it, which is an answer.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(0)

    def main(self, *args: Any, **kwargs: Any) -> Any:
        kwargs["standalone_mode"] = False
        try:
            return super().main(*args, **kwargs)
        except click.exceptions.Abort:
            sys.exit(130)
        except KeyboardInterrupt:
            sys.exit(130)
        except click.ClickException as error:
            error.show()
            sys.exit(2)
        except click.exceptions.Exit as leave:
            sys.exit(leave.exit_code)
        except HoldfastError as error:
            _report(error, verbose=self.verbose)
            sys.exit(error.exit_code)
        except OSError as error:
            if self.verbose:
                raise
            _say(f"error: {error.strerror or error}" + (f": {error.filename}" if error.filename else ""))
            sys.exit(3)


def _say(text: str) -> None:
    click.echo(text, err=True)


def _report(error: HoldfastError, *, verbose: bool) -> None:
    if isinstance(error, InputError):
        for problem in error.problems:
            _say(click.style("error: ", fg="red", bold=True) + str(problem))
    else:
        _say(click.style("error: ", fg="red", bold=True) + error.message)
    if error.hint:
        _say(click.style("hint: ", fg="cyan") + error.hint)
    if verbose and error.__cause__ is not None:
        _say(f"caused by: {error.__cause__!r}")


def _print_json(value: object) -> None:
    click.echo(json.dumps(value, indent=2 if sys.stdout.isatty() else None))


def _quiet() -> bool:
    return bool(click.get_current_context().find_root().params["quiet"])


@click.group(cls=Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="holdfast")
@click.option("-v", "--verbose", is_flag=True, help="Say what caused an error.")
@click.option("-q", "--quiet", is_flag=True, help="Say nothing on the way to the answer.")
@click.pass_context
def main(context: click.Context, verbose: bool, quiet: bool) -> None:
    """Describe an HTTP API once; run it highly available on this machine, break it, and see what clients saw.

    \b
    Start here:
      holdfast init my-api      a manifest and a small service
      holdfast up my-api        two regions, three zones each, on this machine
      holdfast kill eu-west-1a  lose a zone, and see what was expected and what happened
    """
    Group.verbose = verbose
    if os.environ.get("NO_COLOR"):
        context.color = False


# ---------------------------------------------------------------------------------------------- declare


@main.command()
@click.argument("directory", type=click.Path(path_type=Path), default=Path())
@click.option(
    "--template", default="asgi", show_default=True, help="Which small service to write; --list shows them."
)
@click.option("--list", "listing", is_flag=True, help="List the templates.")
def init(directory: Path, template: str, listing: bool) -> None:
    """Write a manifest and a small service that runs.

    \b
    Example:
      holdfast init my-api && holdfast up my-api
    """
    from holdfast import scaffold

    if listing:
        for name, text in scaffold.TEMPLATES.items():
            click.echo(f"{name:10} {text}")
        return
    for path in scaffold.write(directory, template):
        click.echo(f"wrote {path}")
    where = "" if directory == Path() else f" {directory}"
    click.echo(f"next: holdfast up{where}")


@main.command()
@dir_argument
@env_option
@json_option
@click.option(
    "--graph", type=click.Path(path_type=Path, dir_okay=False), help="Draw the topology into this SVG file."
)
def check(directory: Path | None, env: str | None, as_json: bool, graph: Path | None) -> None:
    """Check the manifest and show the topology that it means.

    \b
    Example:
      holdfast check --graph topology.svg
    """
    from holdfast import report

    topology = _topology(directory, env)
    if graph is not None:
        graph.write_text(report.graph_svg(topology), encoding="utf-8")
        _say(f"wrote {graph}")
    if as_json:
        _print_json(report.to_json(topology))
    else:
        click.echo(report.tree(topology))


def _topology(directory: Path | None, env: str | None) -> Any:
    from holdfast import manifest, topology

    return topology.resolve(manifest.load(manifest.find(directory or Path()), env))


# ---------------------------------------------------------------------------------------------- run


@main.command()
@dir_argument
@env_option
@json_option
@click.option("--plan", "plan_only", is_flag=True, help="Show what would be started, and stop.")
@click.option("--detach", "-d", is_flag=True, help="Return as soon as the system is ready.")
@click.option("--speed", type=click.FloatRange(min=1.0), default=1.0, show_default=True,
              help="Compress AWS's control plane (launches, scaling); what clients see stays real.")  # fmt: skip
@click.option(
    "--http-port", type=click.IntRange(0, 65535), default=8080, show_default=True, help="Edge, HTTP; 0: any."
)
@click.option(
    "--https-port",
    type=click.IntRange(0, 65535),
    default=8443,
    show_default=True,
    help="Edge, HTTPS and HTTP/3.",
)
@click.option(
    "--dns-port", type=click.IntRange(0, 65535), default=8053, show_default=True, help="Name server."
)
@click.option("--timeout", "timeout_s", type=click.FloatRange(min=1.0), default=60.0, show_default=True,
              help="Seconds until every region must serve.")  # fmt: skip
@click.option("--ready-fd", type=int, hidden=True)
def up(
    directory: Path | None,
    env: str | None,
    as_json: bool,
    plan_only: bool,
    detach: bool,
    ready_fd: int | None,
    **options: Any,
) -> None:
    """Run the system on this machine in its real shape.

    \b
    Examples:
      holdfast up                    runs until Ctrl-C, with a live table
      holdfast up --detach --json    returns when ready: urls, run_dir, ready_s, memory_mb
      holdfast up --speed 20         a replacement that takes AWS 57 s takes 3 s
    """
    from holdfast import manifest, running

    path = manifest.find(directory or Path())
    request = running.Request(
        path=path, env=env, as_json=as_json, quiet=as_json or _quiet(), ready_fd=ready_fd, **options
    )
    if plan_only:
        running.show_plan(request)
    elif detach:
        running.up_detached(request)
    else:
        running.up(request)


@main.command()
@dir_option
@json_option
@click.option("--watch", "-w", is_flag=True, help="Keep showing until Ctrl-C.")
def status(directory: Path | None, as_json: bool, watch: bool) -> None:
    """Regions, zones, nodes, health and requests per second of the running system."""
    from holdfast import running

    client = running.connect(directory)
    if watch:
        running.watch(client)
    elif as_json:
        _print_json(client.get("status"))
    else:
        from holdfast.report.status import render

        render(client.get("status"))


@main.command()
@dir_option
@click.argument("name", required=False)
@click.option("--follow", "-f", is_flag=True, help="Go on as new lines come, until Ctrl-C.")
@click.option(
    "--lines",
    "-n",
    type=click.IntRange(0),
    default=20,
    show_default=True,
    help="Lines from the end of each log.",
)
@click.option(
    "--events", is_flag=True, help="What happened in the system instead of what the programs printed."
)
@json_option
def logs(
    directory: Path | None, name: str | None, follow: bool, lines: int, events: bool, as_json: bool
) -> None:
    """Logs of every process, or of one.

    \b
    Examples:
      holdfast logs -f
      holdfast logs eu-west-1a/ecs-1
      holdfast logs --events --json
    """
    from holdfast import running

    if events:
        running.show_events(directory, follow=follow, last=lines, as_json=as_json)
    else:
        running.show_logs(directory, name, follow=follow, last=lines)


@main.command()
@dir_option
@json_option
@click.argument("replicas", type=click.IntRange(min=1))
@click.option("--region", help="Only this region. Default: every region.")
def scale(directory: Path | None, as_json: bool, replicas: int, region: str | None) -> None:
    """Set the desired number of replicas of a region.

    \b
    Example:
      holdfast scale 6
    """
    from holdfast import running

    answer = running.connect(directory).post("scale", desired=replicas, region=region)
    if as_json:
        _print_json(answer)
    for name, desired in ({} if as_json else answer["desired"]).items():
        click.echo(f"{name}: {desired} replicas desired")
    if answer["tracked"] and not as_json:
        click.echo("[compute] scale tracks a target and may change this again, as it would on AWS")


@main.command()
@dir_option
@json_option
@click.option("--no-wait", is_flag=True, help="Return at once.")
def reload(directory: Path | None, as_json: bool, no_wait: bool) -> None:
    """Deploy the program as it is on disk now, a few replicas at a time; roll back if it does not get healthy.

    Exits 1 when the new version was rolled back.
    """
    from holdfast import running

    answer = running.reload(running.connect(directory), wait=not no_wait, quiet=as_json or _quiet())
    if as_json:
        _print_json(answer)
    if answer["outcome"] == "rolled back":
        raise AnswerNo(f"rolled back: {answer['reason']}", hint="the version before still serves")


@main.command()
@dir_option
@json_option
def down(directory: Path | None, as_json: bool) -> None:
    """Stop the system, and clean up after one that was killed."""
    from holdfast import running

    answer = running.down(directory)
    if as_json:
        _print_json(answer)
    else:
        click.echo(answer["message"])


# ---------------------------------------------------------------------------------------------- break


def _fault(operation: str, help_text: str, example: str) -> None:
    @main.command(operation, help=f"{help_text}\n\n\b\nExample:\n  holdfast {operation} {example}")
    @dir_option
    @json_option
    @click.option("--no-wait", is_flag=True, help="Return at once instead of watching what follows.")
    @click.argument("target")
    def command(directory: Path | None, as_json: bool, no_wait: bool, target: str) -> None:
        from holdfast import running

        answer = running.fault(
            running.connect(directory), operation, target, wait=not no_wait, quiet=as_json or _quiet()
        )
        if as_json:
            _print_json(answer)


_fault("kill", "Kill a node, a zone or a region at once (SIGKILL).", "eu-west-1a")
_fault(
    "pause", "Freeze a node, a zone or a region: it hangs instead of refusing (SIGSTOP).", "eu-west-1a/ecs-1"
)
_fault("cut", "Cut the network to a node, a zone, a region or of a link.", "cloudfront:apigateway.eu-west-1")
_fault("resume", "Heal what was killed, paused or cut.", "eu-west-1a")
_fault("interrupt", "Take a spot node back with the platform's notice.", "eu-west-1c/ecs-3")


# ---------------------------------------------------------------------------------------------- shell


@main.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print the completion script of a shell.

    \b
    Example:
      holdfast completion bash >> ~/.bashrc
    """
    from click.shell_completion import get_completion_class

    found = get_completion_class(shell)
    if found is not None:
        click.echo(found(main, {}, "holdfast", "_HOLDFAST_COMPLETE").source())
