"""`ra-server`: what the operator of a consortium runs."""

from ra_core.console import new_app, run_app

__all__ = ["app", "main"]

app = new_app(
    "The operator's side of a federation. So far it only tells what is installed: "
    "provisioning sites, aggregating and publishing models are not built yet. "
    "Training on one site's images works: `ra-simulate train`."
)


def main() -> None:
    """Entry point."""
    run_app(app)
