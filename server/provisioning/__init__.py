"""Certificates, kits and keys: who belongs to the consortium, and what is signed in its name."""
