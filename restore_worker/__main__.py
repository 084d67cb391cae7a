"""`python -m restore_worker`: the program `restore-worker`, of this Python."""

import sys

from restore_worker.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
