//! Mount propagation: the values of `linux.rootfsPropagation` and their flags of mount(2).

/// The values, sorted, with their flags of mount(2).
const VALUES: &[(&str, u64, bool)] = &[
    ("private", libc::MS_PRIVATE, false),
    ("rprivate", libc::MS_PRIVATE, true),
    ("rshared", libc::MS_SHARED, true),
    ("rslave", libc::MS_SLAVE, true),
    ("runbindable", libc::MS_UNBINDABLE, true),
    ("shared", libc::MS_SHARED, false),
    ("slave", libc::MS_SLAVE, false),
    ("unbindable", libc::MS_UNBINDABLE, false),
];

/// A value of `linux.rootfsPropagation`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Propagation {
    /// The kind: `MS_PRIVATE`, `MS_SHARED`, `MS_SLAVE` or `MS_UNBINDABLE`.
    pub kind: u64,
    /// Whether for the mounts below as well.
    pub recursive: bool,
}

impl Propagation {
    /// The propagation of a root whose config does not name one: `rslave`.
    pub const DEFAULT: Propagation = Propagation { kind: libc::MS_SLAVE, recursive: true };

    /// Reads a value.
    ///
    /// # Errors
    /// A sentence that lists the values.
    pub fn parse(text: &str) -> Result<Propagation, String> {
        match VALUES.binary_search_by_key(&text, |(name, ..)| name) {
            Ok(index) => Ok(Propagation { kind: VALUES[index].1, recursive: VALUES[index].2 }),
            Err(_) => {
                let names: Vec<_> = VALUES.iter().map(|(name, ..)| *name).collect();
                Err(format!("rootfsPropagation={text} is not supported; it is one of {}", names.join(", ")))
            }
        }
    }

    /// The name in config.json; empty for a combination that has none.
    pub fn name(self) -> &'static str {
        let named = VALUES.iter().find(|(_, kind, recursive)| (*kind, *recursive) == (self.kind, self.recursive));
        named.map_or("", |(name, ..)| name)
    }

    /// The propagation of one mount, by its kind (`MS_*`).
    pub fn of_mount(kind: u64) -> Propagation {
        Propagation { kind, recursive: false }
    }

    /// Whether binds of the host's shared mounts stay in their peer groups.
    pub fn is_shared(self) -> bool {
        self.kind == libc::MS_SHARED
    }

    /// Whether the host's later mounts shall arrive.
    pub fn is_slave(self) -> bool {
        self.kind == libc::MS_SLAVE
    }

    /// Whether nothing shall arrive from the host.
    pub fn is_private(self) -> bool {
        self.kind == libc::MS_PRIVATE
    }

    /// The propagation (`MS_*`) of the host's tree in the container's mount namespace.
    pub fn of_host(self) -> u64 {
        if self.is_private() && self.recursive { libc::MS_PRIVATE } else { libc::MS_SLAVE }
    }

    /// The propagation (`MS_*`) of the root itself while mounts are made in it.
    pub fn of_root(self) -> u64 {
        if self.is_slave() { libc::MS_SLAVE } else { libc::MS_PRIVATE }
    }

    /// Whether something is left to do at the end.
    pub fn is_set_last(self) -> bool {
        self.is_shared() || self.kind == libc::MS_UNBINDABLE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_eight_values_and_no_other() {
        assert!(VALUES.is_sorted_by(|a, b| a.0 < b.0));
        for (name, kind, recursive) in VALUES {
            assert_eq!(Propagation::parse(name), Ok(Propagation { kind: *kind, recursive: *recursive }));
            assert_eq!(name.starts_with('r'), *recursive);
        }
        for wrong in ["", "Shared", "rrshared", "shared "] {
            crate::golden::compare(&Propagation::parse(wrong).unwrap_err());
        }
    }
}
