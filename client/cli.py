"""`ra-client`: what a hospital runs."""

from client.calibrate.command import calibrate
from client.check import check
from client.doctor import doctor
from client.drift.command import drift
from client.import_command import import_model
from client.leak.command import leak
from client.ledger.command import ledger
from client.member.commands import allow, allowed, models, start, unit
from client.member.keys_command import keygen
from client.score.command import score
from client.setup.command import config, init
from ra_core.console import new_app, run_app

__all__ = ["app", "main"]

app = new_app(
    "A hospital's side of a federation. It describes its folder (`init`) and checks it (`check`); joins and stays "
    "(`keygen`, `doctor`, `start`, `unit`) and tells what left it (`ledger`); sets thresholds of the models "
    "that come (`models`, `calibrate`), scores studies with them (`score`) and watches whether these still fit "
    "(`drift`), and tries out what models tell of its patients (`leak`)."
)
app.command("init")(init)
app.command("config")(config)
app.command("check")(check)
app.command("keygen")(keygen)
app.command("doctor")(doctor)
app.command("start")(start)
app.command("unit")(unit)
app.command("allow")(allow)
app.command("allowed")(allowed)
app.add_typer(ledger, name="ledger")
app.command("models")(models)
app.command("import")(import_model)
app.command("calibrate")(calibrate)
app.command("score")(score)
app.command("drift")(drift)
app.command("leak")(leak)


def main() -> None:
    """Entry point."""
    run_app(app)
