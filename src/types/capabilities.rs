//! Names of capabilities(7), one by one and of a mask.

use std::fmt;

/// All names, in the kernel's order.
pub fn all() -> Vec<String> {
    let mut known: Vec<_> = caps::all().into_iter().collect();
    known.sort_by_key(caps::Capability::index);
    known.iter().map(ToString::to_string).collect()
}

/// The capability with this name, in letters of any case.
pub fn named(name: &str) -> Option<caps::Capability> {
    let shouted = name.bytes().any(|byte| byte.is_ascii_lowercase()).then(|| name.to_ascii_uppercase());
    shouted.as_deref().unwrap_or(name).parse().ok()
}

/// A capability's name without its prefix; its number if its name is unknown.
pub fn name(number: u32) -> String {
    let known = caps::all().into_iter().find(|known| u32::from(known.index()) == number);
    known.map_or_else(|| number.to_string(), |known| known.to_string().trim_start_matches("CAP_").to_owned())
}

/// A mask, printed as names.
pub struct Names(pub u64);

impl fmt::Display for Names {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let count = self.0.count_ones();
        match count {
            0 => f.write_str("none"),
            1..=14 => {
                let named: Vec<String> = (0..64).filter(|n| self.0 & (1 << n) != 0).map(name).collect();
                f.write_str(&named.join(" "))
            }
            _ => write!(f, "{count} capabilities"),
        }
    }
}
