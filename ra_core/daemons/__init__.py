"""What the daemons of hospital and server have in common: children that are kept alive, events as JSON lines, units.

The only place of `ra_core`, beside `messages`, that knows of a network; nothing else in `ra_core` imports it.
"""
