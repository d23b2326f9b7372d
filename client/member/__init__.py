"""A hospital as a member of a federation: its key, its way to the server, the daemon that stays."""
