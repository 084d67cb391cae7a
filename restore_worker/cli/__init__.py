"""The command line, `restore-worker`, on cliff."""
