"""Parsers under bytes that nobody would write: `python -m tests.fuzz` looks for those that break one."""
