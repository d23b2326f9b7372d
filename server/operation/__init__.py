"""The daemon and the operator's commands: Flower kept up, runs submitted, followed, resumed and shown."""
