"""Which subject of ferrun's own code an address belongs to, by the symbols of an unstripped build."""

import re
import subprocess
import sys
from bisect import bisect_right
from pathlib import Path

# The first of these that the name of a function has: a generic one belongs to the first type that it is of.
SUBJECTS = {
    "entry, relocation, start of the C library":
        r"^(?:ferrun_entry|_start|_start_c|_dlstart_c|__dls2|__init_\w+|__libc_start\w+|main)$|ferrun::sys::(?:entry|start|release)",
    "allocator": r"^__rustc?::|^__rust_|ferrun::sys::(?:allocator|arena|blocks)|^(?:malloc|free|realloc|calloc)$",
    "memcpy(3), memcmp(3) and the like": r"^(?:mem(?:cpy|move|set|cmp|chr)|__memcpy_fwd|bcmp|str\w+)$|memr?chr",
    "the state and its directory": r"ferrun::container",
    "checking the config": r"ferrun::(?:bundle|types|pointer)",
    "the plan": r"ferrun::plan",
    "cgroups": r"ferrun::(?:cgroup|systemd)",
    "steps on mounts and files": r"ferrun::rootfs",
    "other steps, and the channel of parent and init": r"ferrun::(?:launch|process|seccomp|resctrl)",
    "the command line": r"clap_builder|ferrun::cli",
    "reading JSON": r"serde_|zmij|itoa",
    "system calls of the libraries, and the rest of the C library": r"ferrun::sys|\bnix::|std::(?:sys|fs|os|io)",
}
NAMES = re.compile("|".join(f"({pattern})" for pattern in SUBJECTS.values()))
# A sample at the end of a system call, where interrupts are off, counts for the instruction behind it.
C_LIBRARY = "system calls of the libraries, and the rest of the C library"
GENERIC = "other libraries, and code that several share"


def subject_of(function):
    if match := NAMES.search(function):
        return list(SUBJECTS)[match.lastindex - 1]
    return GENERIC if "::" in function else C_LIBRARY


class Symbols:
    def __init__(self, binary, unstripped):
        self.paths = {str(Path(binary).resolve()), "/"}  # the second execution's: the root of a detached mount
        if text_of(binary) != text_of(unstripped):
            raise SystemExit(f"profile: --symbols: {unstripped} and {binary} are not the same build")
        quiet = {"stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
        lines = subprocess.run(["nm", "--demangle", unstripped], text=True, check=True, **quiet).stdout.splitlines()
        symbols = {}
        for line in lines:
            address, kind, name = line[:16], line[17:18], line[19:]
            if kind in "tTwW" and address.strip():
                symbols.setdefault(int(address, 16), name)
        if not symbols:
            print(f"profile: {unstripped} has no symbols: its own code is not split by subject", file=sys.stderr)
        self.addresses = sorted(symbols)
        self.functions = [symbols[address] for address in self.addresses]
        self.subjects = [subject_of(function) for function in self.functions]

    def subject(self, path, offset):
        """Of code at an offset in the file, which is its address as well: it is in the first segment."""
        if path not in self.paths:
            return None
        index = bisect_right(self.addresses, offset) - 1
        return self.subjects[index] if index >= 0 else None


def text_of(binary):
    """The code, as far as it is the same with and without symbols."""
    command = ["objcopy", "-O", "binary", "--only-section=.text", "--only-section=.text.run", binary, "/dev/stdout"]
    return subprocess.run(command, capture_output=True, check=True).stdout
