"""Keep `uv.lock` free of addresses: pins alone, which uv completes to the full lock at the next `uv run`.

    python .ci/slim_lock.py            # rewrite uv.lock in its slim form
    python .ci/slim_lock.py --check    # exit 1 when the committed uv.lock is not slim

The slim form drops the files' addresses and hashes (`sdist`, `wheels`) and the root's `[package.metadata]`
tables, and names the registry `pypi`, whichever mirror the machine that made the lock used.
"""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LOCK = ROOT / "uv.lock"


def slim(text: str) -> str:
    """Return the lock without addresses; applying it twice changes nothing more."""
    text = re.sub(r"^sdist = \{.*\}\n", "", text, flags=re.M)
    text = re.sub(r"^wheels = \[\n(?:    .*\n)*\]\n", "", text, flags=re.M)
    text = re.sub(r'\{ registry = "[^"]*" \}', '{ registry = "pypi" }', text)
    # A table runs to the next blank line; `.requires-dev` and its kin go with their parent.
    text = re.sub(r"^\[package\.metadata[^\]]*\]\n(?:.+\n)*\n?", "", text, flags=re.M)
    return text.rstrip("\n") + "\n"


def main(argv: list[str]) -> int:
    """Rewrite or check the lock; return the exit status."""
    if argv == ["--check"]:
        committed = subprocess.run(["git", "show", "HEAD:uv.lock"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
        if committed != slim(committed) or "://" in committed:
            print("the committed uv.lock names addresses: run `python .ci/slim_lock.py` and commit", file=sys.stderr)
            return 1
        print("uv.lock: pins alone, no address")
        return 0
    if argv:
        print(__doc__, file=sys.stderr)
        return 2
    LOCK.write_text(slim(LOCK.read_text(encoding="utf-8")), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
