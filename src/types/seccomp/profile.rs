//! A seccomp profile: rules, actions, conditions and flags, in the kernel's own terms.

use std::fmt;

use super::arch::Arch;
use super::syscalls::Call;
use crate::error::Reason;

/// A profile.
#[derive(Debug, Default)]
pub struct Profile {
    /// For calls that no rule fits.
    pub default: Action,
    /// Architectures besides the machine's own.
    pub architectures: Vec<Arch>,
    /// How it is installed.
    pub flags: Flags,
    /// The socket of the agent that answers notifications.
    pub listener: Option<Listener>,
    /// The rules, in the order of the config.
    pub rules: Vec<Rule>,
}

/// The agent that answers notifications.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listener {
    /// The path of its socket.
    pub path: String,
    /// What it receives besides the container's state.
    pub metadata: String,
}

/// How a filter is installed: seccomp(2).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Flags {
    /// Log every action but "allow".
    pub log: bool,
    /// Leave speculation as it is: the kernel's mitigation costs more than most containers want to pay.
    pub spec_allow: bool,
    /// Give the filter to all threads.
    pub tsync: bool,
    /// A call that waits for an answer can only be ended by a deadly signal.
    pub wait_killable: bool,
}

/// One entry of `syscalls`.
#[derive(Debug)]
pub struct Rule {
    /// The calls.
    pub names: Vec<Call>,
    /// Names that no architecture has, with their place in the list.
    pub unknown: Vec<(usize, String)>,
    /// What happens.
    pub action: Action,
    /// The conditions on the arguments.
    pub conditions: Vec<Condition>,
}

/// A comparison of an argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Condition {
    /// Which argument, from 0.
    pub argument: u8,
    /// How it is compared.
    pub operator: Operator,
    /// The bits that count; all but for [`Operator::MaskedEqual`].
    pub mask: u64,
    /// With what.
    pub value: u64,
}

impl Rule {
    /// The conditions in groups, of which one must hold as a whole: runc takes several conditions on one argument for
    /// so many rules. Otherwise all must hold.
    pub fn groups(&self) -> Vec<&[Condition]> {
        let twice = |one: &Condition| self.conditions.iter().filter(|other| other.argument == one.argument).count() > 1;
        if self.conditions.iter().any(twice) { self.conditions.chunks(1).collect() } else { vec![&self.conditions] }
    }

    /// Whether the conditions hold for the arguments of a call of a 64-bit architecture.
    pub fn fits(&self, arguments: &[u64; 6]) -> bool {
        self.groups().iter().any(|group| group.iter().all(|condition| condition.holds(arguments)))
    }
}

impl Condition {
    /// Whether it holds for the arguments of a call of a 64-bit architecture.
    pub fn holds(&self, arguments: &[u64; 6]) -> bool {
        let argument = arguments[usize::from(self.argument)];
        match self.operator {
            Operator::Equal => argument == self.value,
            Operator::NotEqual => argument != self.value,
            Operator::Less => argument < self.value,
            Operator::LessOrEqual => argument <= self.value,
            Operator::Greater => argument > self.value,
            Operator::GreaterOrEqual => argument >= self.value,
            Operator::MaskedEqual => argument & self.mask == self.value & self.mask,
        }
    }
}

/// `SCMP_CMP_*`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Operator {
    NotEqual,
    Less,
    LessOrEqual,
    Equal,
    GreaterOrEqual,
    Greater,
    MaskedEqual,
}

/// What happens to a call: the value that the filter returns (`SECCOMP_RET_*` of linux/seccomp.h).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Action(pub u32);

impl Action {
    /// The thread is killed. What a call of an unlisted architecture gets.
    pub const KILL_THREAD: Action = Action(0);
    /// The process is killed.
    pub const KILL_PROCESS: Action = Action(0x8000_0000);
    /// SIGSYS.
    pub const TRAP: Action = Action(0x0003_0000);
    /// An errno, which is the low half.
    pub const ERRNO: Action = Action(0x0005_0000);
    /// Someone else decides.
    pub const NOTIFY: Action = Action(0x7fc0_0000);
    /// A tracer is notified, with the low half.
    pub const TRACE: Action = Action(0x7ff0_0000);
    /// It is logged and happens.
    pub const LOG: Action = Action(0x7ffc_0000);
    /// It happens.
    pub const ALLOW: Action = Action(0x7fff_0000);
    /// The call does not exist.
    pub const ENOSYS: Action = Action::ERRNO.with(nix::libc::ENOSYS as u16);

    /// With a low half.
    pub const fn with(self, data: u16) -> Action {
        Action(self.0 | data as u32)
    }

    /// Whether the kernel executes the call without asking anyone.
    pub fn allows(self) -> bool {
        matches!(self.kind(), Action::ALLOW | Action::LOG)
    }

    /// The kernel's order of actions: of several filters' the smallest counts.
    pub fn precedence(self) -> i32 {
        self.kind().0.cast_signed()
    }

    /// Which of the actions it is.
    pub fn kind(self) -> Action {
        Action(self.0 & 0xffff_0000)
    }

    /// The low half.
    pub fn data(self) -> u16 {
        self.0 as u16
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self.kind() {
            Action::KILL_THREAD => f.write_str("kill the thread"),
            Action::KILL_PROCESS => f.write_str("kill the process"),
            Action::TRAP => f.write_str("trap"),
            Action::ERRNO => {
                let errno = nix::errno::Errno::from_raw(self.data().into());
                write!(f, "errno {} ({errno:?}: {})", self.data(), Reason(errno))
            }
            Action::NOTIFY => f.write_str("notify"),
            Action::TRACE => write!(f, "trace {}", self.data()),
            Action::LOG => f.write_str("log"),
            Action::ALLOW => f.write_str("allow"),
            _ => write!(f, "{:#x}", self.0),
        }
    }
}

impl Profile {
    /// Whether any rule asks for notifications.
    pub fn notifies(&self) -> bool {
        self.default == Action::NOTIFY || self.rules.iter().any(|rule| rule.action == Action::NOTIFY)
    }
}
