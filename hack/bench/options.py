"""Options that the commands of the bench share."""

import argparse
import shutil
import subprocess
import sys
from pathlib import Path

TOP = Path(__file__).resolve().parent.parent.parent


def count(text):
    """A number of runs or elements."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError("a whole number, at least 1")
    return int(text)


def program(text):
    """The absolute path of a program, which may be on PATH."""
    path = shutil.which(text)
    if not path:
        raise argparse.ArgumentTypeError(f"{text or '(no command)'} is not an executable file")
    return str(Path(path).resolve())


def output_file(text):
    """A file to be written at the end, in a directory that exists."""
    path = Path(text)
    if not path.parent.is_dir():
        raise argparse.ArgumentTypeError(f"no such directory: {path.parent}")
    if path.is_dir():
        raise argparse.ArgumentTypeError(f"{path} is a directory")
    return path


def build_ferrun():
    """The path of the release binary."""
    print("bench: building ferrun (hack/build)", file=sys.stderr)
    done = subprocess.run([TOP / "hack/build"], stdout=subprocess.PIPE, text=True)
    if done.returncode:
        raise SystemExit("bench: hack/build failed")
    return done.stdout.strip()
