"""`ra-client`: what a hospital runs."""

from ra_core.console import new_app, run_app

__all__ = ["app", "main"]

app = new_app(
    "A hospital's side of a federation. So far it only tells what is installed: "
    "joining a federation, checking a folder and scoring studies are not built yet. "
    "Training on one site's images works: `ra-simulate train`."
)


def main() -> None:
    """Entry point."""
    run_app(app)
