"""A site's app answers badly.

`RA_ANSWERS` is a JSON object. A key is "RUN EXCHANGE", the exchange being a round's number, "join", "closing" or
"deliver"; its value names one of `KINDS` or "raise", with a colon and an argument where that takes one.
"""

import json
import os
from dataclasses import replace

from loading import once_loaded

ANSWERS = json.loads(os.environ["RA_ANSWERS"])


def arrange():
    """Have the app changed as soon as it is imported."""
    once_loaded("client.app", change)


def change(app):
    """Put a bad answer in the place of what the site has let out; its ledger has what the site would have sent."""
    release = app.release

    def send(reply, order, door, message, why=""):
        kind, _, argument = ANSWERS.get(exchange(app, order), "").partition(":")
        if not kind or isinstance(reply, app.Failure):
            return release(reply, order, door, message, why)
        if kind == "raise":
            raising(argument)
        head = release(reply, order, door, message).content["facts"]
        told = replace(reply, ledger_length=head["ledger_length"], ledger_head=head["ledger_head"])
        return app.Message(KINDS[kind](told, argument), reply_to=message)

    app.release = send


def exchange(app, order):
    """As a key of `RA_ANSWERS` names it."""
    if isinstance(order, app.RoundOrder):
        return f"{order.run} {order.round if order.steps else 'closing'}"
    return f"{order.run} {'join' if isinstance(order, app.JoinOrder) else 'deliver'}" if order else ""


def updating(edit):
    """Sends what `edit` makes of each array of the update."""
    return lambda reply, _: replace(reply, update={name: edit(a) for name, a in reply.update.items()}).to_record()


def counting(reply, argument):
    """Sends other counts: NAME=NUMBER."""
    name, _, number = argument.partition("=")
    return replace(reply, **{name: int(number)}).to_record()


def measuring(reply, number):
    """Sends another validation error."""
    return replace(reply, metrics=dict(reply.metrics) | {"validation_error": float(number)}).to_record()


def without_tensor(reply, _):
    """Sends an update that lacks its last tensor."""
    return replace(reply, update=dict(list(reply.update.items())[:-1])).to_record()


def without_field(reply, name):
    """Sends an answer that lacks a field."""
    record = reply.to_record()
    del record["facts"][name]
    return record


def raising(text):
    """Fails with an error that says more than may leave the site, as errors of files do."""
    raise PermissionError(13, f"no access to the image of {text}", f"/images/{text}.png")


def _nan(array):
    return (array * float("nan")).astype("float32")


def _large(array):
    """A thousand times the update, as far as codes go: it's the norm that has to tell."""
    return (array.astype("int64") * 1000).clip(-(2**26), 2**26).astype("int32")


KINDS = {
    "nan": updating(_nan),
    "shape": updating(lambda array: array.reshape(-1, 1, 1)),
    "broadcast": updating(lambda array: array.reshape(-1)[:1]),
    "large": updating(_large),
    "count": counting,
    "error": measuring,
    "tensor": without_tensor,
    "field": without_field,
}
