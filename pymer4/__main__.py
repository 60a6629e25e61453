"""`python -m pymer4 doctor` says what this machine lacks; `python -m pymer4 install-r` brings it, after asking."""

from __future__ import annotations

import argparse
import sys

from pymer4 import doctor


def main(arguments: list[str]) -> int:
    """Run one of the two; return its exit status."""
    parser = argparse.ArgumentParser(prog="python -m pymer4", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    looked = commands.add_parser("doctor", help="what is here, what is missing, and what fixes it")
    looked.add_argument("--json", action="store_true", help="print JSON: ok, and the checks")
    brought = commands.add_parser("install-r", help="run the commands that the doctor names")
    brought.add_argument("--yes", action="store_true", help="do not ask before each")
    asked = parser.parse_args(arguments)
    return doctor.install(asked.yes) if asked.command == "install-r" else doctor.main(asked.json)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
