"""A site's app answers badly.

`RA_ANSWERS` is a JSON object. A key is "RUN EXCHANGE", the exchange being a round's number, "join", "closing" or
"deliver"; its value names one of `KINDS`, with a colon and an argument where that takes one.
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
    """Put a bad answer in the place of what the site has computed."""
    release, exchange = app.release, ""

    def noting(answer, kind):
        def note(settings, config, record):
            nonlocal exchange
            order = record["order"]
            exchange = f"{order['run']} {kind or (order['round'] if order['steps'] else 'closing')}"
            return answer(settings, config, record)

        return note

    def send(reply, parts):
        kind, _, argument = ANSWERS.get(exchange, "").partition(":")
        return KINDS[kind](reply, argument) if kind else release(reply, parts)

    app.release = send
    app._join, app._train = noting(app._join, "join"), noting(app._train, "")
    app._deliver = noting(app._deliver, "deliver")


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


def raising(reply, text):
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
    "raise": raising,
}
