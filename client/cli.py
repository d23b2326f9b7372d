"""`ra-client`: what a hospital runs."""

from client.check import check
from client.score.command import score
from client.setup import config, init
from ra_core.console import new_app, run_app

__all__ = ["app", "main"]

app = new_app(
    "A hospital's side of a federation: it describes its folder (`init`), checks it and scores studies. "
    "Joining a federation is not built yet; training on one site's images works: `ra-simulate train`."
)
app.command("init")(init)
app.command("config")(config)
app.command("check")(check)
app.command("score")(score)


def main() -> None:
    """Entry point."""
    run_app(app)
