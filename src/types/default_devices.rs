//! Default devices and links that every container has in /dev: names, numbers, targets.

use std::ffi::CStr;

/// Names and numbers: "Default Devices" of the OCI runtime spec, config-linux.md.
pub const NODES: [(&CStr, u64, u64); 6] =
    [(c"null", 1, 3), (c"zero", 1, 5), (c"full", 1, 7), (c"random", 1, 8), (c"urandom", 1, 9), (c"tty", 5, 0)];

/// "Dev symbolic links" of runtime-linux.md, and ptmx.
pub const LINKS: &[(&CStr, &CStr)] = &[
    (c"fd", c"/proc/self/fd"),
    (c"stdin", c"/proc/self/fd/0"),
    (c"stdout", c"/proc/self/fd/1"),
    (c"stderr", c"/proc/self/fd/2"),
    (c"ptmx", c"pts/ptmx"),
];
