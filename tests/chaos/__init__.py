"""Restores under fire: hundreds of them, each with processes that are killed, and each held to what is promised."""
