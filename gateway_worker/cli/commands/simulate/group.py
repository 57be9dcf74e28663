"""The group ``simulate``; alone it runs the simulator."""

from __future__ import annotations

import typer

from gateway_worker.cli.commands.simulate import conversation, faults, people, run
from gateway_worker.cli.options import DEFAULT_SIMULATOR_FILE, JsonOption, SimulatorFileOption, examples

app = typer.Typer(rich_markup_mode="rich", add_completion=False)


@app.callback(
    invoke_without_command=True,
    epilog=examples(
        "simulate",
        "simulate phone add 6281200000001",
        "simulate contact add 6281300000001 --echo",
        "simulate scan 6281200000001 --session alpha",
        "simulate say 6281300000001 6281200000001 'Hello'",
        "simulate inbox 6281300000001",
    ),
)
def simulate(
    context: typer.Context,
    *,
    file: SimulatorFileOption = DEFAULT_SIMULATOR_FILE,
    verbose: run.VerboseOption = False,
    as_json: JsonOption = False,
) -> None:
    """Run a WhatsApp server of your own on loopback, and play its phones and contacts.

    Without a command it runs the server, as run does. The other commands act in
    a simulator that runs: phones scan the QR codes of sessions; contacts are
    people whom sessions write to, with keys of their own, and who answer.
    A worker uses it instead of WhatsApp when GATEWAY_SIMULATOR names its file.
    """
    if context.invoked_subcommand is None:
        run.simulate_run(file, verbose=verbose, as_json=as_json)
        return
    for name, option in (("file", "--file"), ("as_json", "--json"), ("verbose", "--verbose")):
        source = context.get_parameter_source(name)
        if source is not None and source.name == "COMMANDLINE":
            raise typer.BadParameter(f"write it after {context.invoked_subcommand}", param_hint=option)


app.add_typer(run.commands)
app.add_typer(people.phone, name="phone")
app.add_typer(people.contact, name="contact")
app.add_typer(people.commands)
app.add_typer(conversation.commands)
app.add_typer(faults.commands)
