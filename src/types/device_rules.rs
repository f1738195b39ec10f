//! Device rules: the access to device nodes that an entry of `linux.resources.devices` allows or denies.

use std::fmt;

/// Kinds of device nodes in rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Both: `a`.
    All,
    /// Character devices: `c`, or `u`.
    Char,
    /// Block devices: `b`.
    Block,
}

/// Kinds of access to a device. The bits are those of `BPF_DEVCG_ACC_*`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Access(u8);

impl Access {
    /// Create a node of it: mknod(2).
    pub const M: Access = Access(1);
    /// Open it for reading.
    pub const R: Access = Access(2);
    /// Open it for writing.
    pub const W: Access = Access(4);

    /// All three.
    pub const fn all() -> Access {
        Access(7)
    }

    /// Reads a config's letters, in any order; at least one of `r`, `w`, `m` and nothing else.
    pub fn parse(letters: &str) -> Option<Access> {
        let add = |access: Access, letter| match letter {
            'r' => Some(access.with(Access::R)),
            'w' => Some(access.with(Access::W)),
            'm' => Some(access.with(Access::M)),
            _ => None,
        };
        letters.chars().try_fold(Access(0), add).filter(|access| !access.is_empty())
    }

    /// The bits as the kernel has them.
    pub const fn bits(self) -> u8 {
        self.0
    }

    /// Whether it is no access at all.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The access in either.
    pub const fn with(self, other: Access) -> Access {
        Access(self.0 | other.0)
    }

    /// The access in both.
    pub const fn common(self, other: Access) -> Access {
        Access(self.0 & other.0)
    }

    /// The access in this one alone.
    pub const fn without(self, other: Access) -> Access {
        Access(self.0 & !other.0)
    }
}

impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let letters = [(Access::R, "r"), (Access::W, "w"), (Access::M, "m")];
        letters.iter().filter(|(bit, _)| !self.common(*bit).is_empty()).try_for_each(|(_, letter)| f.write_str(letter))
    }
}

/// One rule of `linux.resources.devices`; `None` as a number means any.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Allow or deny.
    pub allow: bool,
    /// Which nodes.
    pub kind: Kind,
    /// The driver.
    pub major: Option<u32>,
    /// Which of its devices.
    pub minor: Option<u32>,
    /// What is allowed or denied; the rule leaves the rest as it is.
    pub access: Access,
}

/// `Kind::Char` or `Kind::Block`, major, minor. In order, each comes after all that contain it.
pub type Pattern = (Kind, Option<u32>, Option<u32>);

impl Rule {
    /// Allows access.
    pub const fn allow(kind: Kind, major: Option<u32>, minor: Option<u32>, access: Access) -> Rule {
        Rule { allow: true, kind, major, minor, access }
    }

    /// Reads what [`Rule`]'s Display writes: a device that is allowed.
    pub fn of_list(line: &str) -> Option<Rule> {
        let mut words = line.split(' ');
        let kind = match words.next()? {
            "c" => Kind::Char,
            "b" => Kind::Block,
            _ => return None,
        };
        let number = |text: &str| if text == "*" { Some(None) } else { text.parse().ok().map(Some) };
        let (major, minor) = words.next()?.split_once(':')?;
        Some(Rule::allow(kind, number(major)?, number(minor)?, Access::parse(words.next()?)?))
    }

    /// Whether it decides everything, so that earlier rules no longer count.
    pub fn is_everything(&self) -> bool {
        (self.kind, self.major, self.minor, self.access) == (Kind::All, None, None, Access::all())
    }

    fn kinds(&self) -> &'static [Kind] {
        match self.kind {
            Kind::All => &[Kind::Char, Kind::Block],
            Kind::Char => &[Kind::Char],
            Kind::Block => &[Kind::Block],
        }
    }

    /// The patterns that it is about.
    pub fn patterns(&self) -> impl Iterator<Item = Pattern> + use<> {
        let (major, minor) = (self.major, self.minor);
        self.kinds().iter().map(move |kind| (*kind, major, minor))
    }

    /// Whether it is about all devices of the pattern.
    #[cfg(test)]
    pub fn covers(&self, &(kind, major, minor): &Pattern) -> bool {
        let number = |own: Option<u32>, other| own.is_none() || own == other;
        let same_kind = self.kind == Kind::All || self.kind == kind;
        same_kind && number(self.major, major) && number(self.minor, minor)
    }
}

/// As the kernel's `devices.list` reads: `c 1:3 rwm`. Whether it allows or denies is not in it.
impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let kind = match self.kind {
            Kind::All => 'a',
            Kind::Char => 'c',
            Kind::Block => 'b',
        };
        write!(f, "{kind} {}:{} {}", Number(self.major), Number(self.minor), self.access)
    }
}

/// A number, or any.
struct Number(Option<u32>);

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self.0 {
            Some(number) => write!(f, "{number}"),
            None => f.write_str("*"),
        }
    }
}

/// Devices that a container may always use, whatever its config says; runc appends the same to the config's
/// rules. The nodes are null, zero, full, random, urandom, tty, ptmx, the pseudo-terminals and tun.
pub const DEFAULT: &[Rule] = &[
    Rule::allow(Kind::Char, None, None, Access::M),
    Rule::allow(Kind::Block, None, None, Access::M),
    Rule::allow(Kind::Char, Some(1), Some(3), Access::all()),
    Rule::allow(Kind::Char, Some(1), Some(5), Access::all()),
    Rule::allow(Kind::Char, Some(1), Some(7), Access::all()),
    Rule::allow(Kind::Char, Some(1), Some(8), Access::all()),
    Rule::allow(Kind::Char, Some(1), Some(9), Access::all()),
    Rule::allow(Kind::Char, Some(5), Some(0), Access::all()),
    Rule::allow(Kind::Char, Some(5), Some(2), Access::all()),
    Rule::allow(Kind::Char, Some(10), Some(200), Access::all()),
    Rule::allow(Kind::Char, Some(136), None, Access::all()),
];

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Reads "+c 1:3 rwm, -b *:* w": `+` allows, `-` denies.
    pub(crate) fn list(text: &str) -> Vec<Rule> {
        text.split(", ").filter(|rule| !rule.is_empty()).map(rule).collect()
    }

    pub(crate) fn rule(text: &str) -> Rule {
        let words: Vec<&str> = text[1..].split([' ', ':']).collect();
        let number = |text: &str| (text != "*").then(|| text.parse().unwrap());
        let kind = match words[0] {
            "a" => Kind::All,
            "c" => Kind::Char,
            "b" => Kind::Block,
            other => panic!("kind {other:?}"),
        };
        let access = Access::parse(words[3]).unwrap();
        Rule { allow: text.starts_with('+'), kind, major: number(words[1]), minor: number(words[2]), access }
    }

    #[test]
    fn access_is_read_in_any_order_and_printed_in_one() {
        assert_eq!(Access::parse("mwr").map(|access| access.to_string()).as_deref(), Some("rwm"));
        assert_eq!((Access::parse(""), Access::parse("rx")), (None, None));
        assert_eq!(rule("+a *:* m").to_string(), "a *:* m");
    }
}
