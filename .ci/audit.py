"""Have pip-audit ask whether one of the pinned packages has a known vulnerability: `make audit`.

The arguments are those of pip-audit. Exit code 1 if there is such a package, 2 if pip-audit cannot begin, such as
with a broken file of requirements, else 0: where nobody can be asked, this says so in one line and is no reason to
stop.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

# For one package, in seconds; there are about two hundred.
_PATIENCE = "10"
# What pip-audit ends with if the service does not answer, or answers with an error or a proxy's page.
_UNREACHED = ("requests.exceptions.", "pip_audit._service.interface.", "ERROR:pip_audit._cli:Tip: your network")


def main(arguments: list[str]) -> int:
    """Ask and tell."""
    command = [str(Path(sys.executable).with_name("pip-audit")), "--disable-pip", "--progress-spinner=off"]
    done = subprocess.run(
        [*command, "--format=json", "--desc=off", f"--timeout={_PATIENCE}", *arguments],
        capture_output=True,
        text=True,
        check=False,
    )
    try:
        packages = json.loads(done.stdout)["dependencies"]
    except ValueError:
        # It says nothing of any package: it has come to none.
        said = done.stderr.strip().splitlines() or ["pip-audit does not say why"]
        if said[-1].startswith(_UNREACHED):
            print(f"not audited, since the vulnerability service cannot be reached: {said[-1]}")
            return 0
        # What follows its error shows the place.
        reason = next((line for line in said if line.startswith("ERROR:")), said[-1])
        print(f"not audited: {reason.removeprefix('ERROR:pip_audit._cli:')}")
        return 2
    vulnerable, told = verdict(packages)
    print(*told, sep="\n")
    return 1 if vulnerable else 0


def verdict(packages: list[dict[str, Any]]) -> tuple[bool, list[str]]:
    """Return whether a package is vulnerable, and what there is to tell; packages: as pip-audit reports them."""
    # pip-audit itself calls it a success if it got no answer about any package.
    skipped = [each["skip_reason"] for each in packages if "skip_reason" in each]
    if skipped and len(skipped) == len(packages):
        return False, [f"not audited, since the vulnerability service knows none of the packages: {skipped[0]}"]
    told = [
        f"{each['name']} {each['version']}: {flaw['id']}, mended in {', '.join(flaw['fix_versions']) or 'none'}"
        for each in packages
        for flaw in each.get("vulns", ())
    ]
    audited = len(packages) - len(skipped)
    return bool(told), [*told, f"known vulnerabilities of {audited} packages, of {len(packages)}: {len(told)}"]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
