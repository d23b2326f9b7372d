"""`ra-server`: what the operator of a consortium runs."""

from ra_core.console import new_app, run_app
from server.dashboard import dashboard
from server.operation.commands import resume, run, runs, start, status, stop, unit
from server.operation.withdraw_command import withdraw
from server.provisioning.provision_command import admit, config, provision, revoke
from server.provisioning.publish_command import publish

__all__ = ["app", "main"]

app = new_app(
    "The operator's side of a federation: it lets hospitals in (`provision`, `admit`), serves them (`start`), "
    "and trains one model at all of them (`run`). Commands look for consortium.yaml in the current folder."
)
app.command("config")(config)
app.command("provision")(provision)
app.command("admit")(admit)
app.command("revoke")(revoke)
app.command("withdraw")(withdraw)
app.command("start")(start)
app.command("run")(run)
app.command("status")(status)
app.command("runs")(runs)
app.command("stop")(stop)
app.command("resume")(resume)
app.command("publish")(publish)
app.command("dashboard")(dashboard)
app.command("unit")(unit)


def main() -> None:
    """Entry point."""
    run_app(app)
