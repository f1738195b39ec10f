//! Names of `linux.netDevices`: the longest, and the location of each in config.json.

use crate::pointer::of_name;

/// Longest name of a network interface: IFNAMSIZ of linux/if.h, less the NUL.
pub const LONGEST_NAME: usize = 15;

/// The JSON pointer of a network interface.
pub fn pointer(name: &str) -> String {
    of_name("/linux/netDevices", name)
}
