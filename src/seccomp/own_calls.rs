//! Ferrun's own system calls under the filter: those that the init makes between the installation and the program.
//! docs/security.md lists the same.

use super::evaluate::Data;
use super::step::Install;
use super::verdict::Verdict;
use crate::error::Error;

/// An address in user memory.
const ADDRESS: u64 = 0x7f00_0000_1000;
/// A descriptor that is not a standard stream.
const DESCRIPTOR: u64 = 3;

const SIGCHLD: u64 = libc::SIGCHLD as u64;
const CLOEXEC: u64 = libc::O_CLOEXEC as u64;
const MFD_CLOEXEC: u64 = libc::MFD_CLOEXEC as u64;
const P_PID: u64 = libc::P_PID as u64;
const WEXITED: u64 = libc::WEXITED as u64;
const CROSSING: u64 = (libc::CLONE_PARENT | libc::CLONE_PARENT_SETTID) as u64;
const TIOCSCTTY: u64 = libc::TIOCSCTTY as _;
const FUTEX_WAIT: u64 = libc::FUTEX_WAIT as u64;
const FUTEX_WAKE: u64 = libc::FUTEX_WAKE as u64;

/// The loss where a hook cannot be run.
const HOOKS: Option<&str> = Some("startContainer hooks cannot be run");

/// A call, or several that do the same, of which one is enough.
#[derive(Debug, PartialEq, Eq)]
pub struct OwnCall {
    /// The names, each with arguments as ferrun passes them; the first that is allowed is used.
    pub any_of: &'static [(&'static str, [u64; 6])],
    /// The condition under which it is made.
    pub when: When,
    /// The loss where it is denied; `None` where something else makes up for it.
    pub lost: Option<&'static str>,
}

/// The condition under which a call is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// Made by every init.
    Always,
    /// Made by an init that waits for `start`.
    Create,
    /// Made without noNewPrivileges, as CAP_SYS_ADMIN is kept for the installation.
    Privileges,
    /// Made by the helper thread, where the init cannot install the filter itself.
    HelperThread,
    /// Made with a listener.
    Listener,
    /// Made with startContainer hooks.
    Hooks,
    /// Made by `exec`, and by no start.
    Exec,
    /// Made with startContainer hooks and descriptors for the program besides the standard streams.
    HooksAndDescriptors,
}

/// The properties of a start that decide which calls are made.
#[derive(Debug, Clone, Copy, Default)]
pub struct Start {
    /// The init waits for `start`.
    pub create: bool,
    /// `process.noNewPrivileges`.
    pub no_new_privileges: bool,
    /// There are startContainer hooks.
    pub hooks: bool,
    /// The program gets descriptors besides the standard streams.
    pub descriptors: bool,
}

/// A call that is made and denied.
#[derive(Debug, Clone, Copy)]
pub struct Denied {
    /// The call.
    pub call: &'static OwnCall,
    /// The verdict on it: of several, on the first.
    pub verdict: Verdict,
}

/// Defines the calls, and the list of them.
macro_rules! calls {
    ($($(#[$doc:meta])* $name:ident = $when:ident, $lost:expr, [$($call:tt $arguments:expr),+];)*) => {
        $(
            $(#[$doc])*
            pub static $name: OwnCall =
                OwnCall { any_of: &[$(($call, padded($arguments))),+], when: When::$when, lost: $lost };
        )*
        /// All of them.
        pub static ALL: &[&OwnCall] = &[$(&$name),*];
    };
}

/// The call that is made where a filter lets it be, and its alternative where not.
pub const WAIT4: &str = "wait4";
/// As above.
pub const DUP2: &str = "dup2";

calls! {
    /// Becomes the program.
    EXECVE = Always, Some("no program can be started"), ["execve" &[ADDRESS, ADDRESS, ADDRESS]];
    /// Ends an init whose program cannot be executed.
    EXIT_GROUP = Always, Some("an init that cannot execute its program ends by a signal"), ["exit_group" &[1]];
    /// The end of a signal handler. Not ferrun's, but every program's that has one.
    SIGNAL_RETURN = Always, Some("a program ends by a signal when a signal handler returns"), ["rt_sigreturn" &[]];
    /// Waits for `start`.
    WAIT_FOR_START = Create, Some("a created container that is paused and resumed spins until `start`, or ends"),
        ["futex" &[ADDRESS, FUTEX_WAIT]];
    /// Wakes those that wait on the same word.
    WAKE = Create, WAIT_FOR_START.lost, ["futex" &[ADDRESS, FUTEX_WAKE, 1]];
    /// Drops CAP_SYS_ADMIN after the installation. Where it is denied, the helper thread has the capability alone.
    DROP_CAPABILITY = Privileges, None, ["capset" &[ADDRESS, ADDRESS]];
    /// Ends the helper thread.
    END_THREAD = HelperThread, None, ["exit" &[0]];
    /// Closes the listener.
    CLOSE_LISTENER = Listener, Some("the init waits forever for an agent that has ended"), ["close" &[DESCRIPTOR]];
    /// Creates the process of a hook.
    CREATE_PROCESS = Hooks, HOOKS, ["clone" &[SIGCHLD]];
    /// Waits for the end of a hook.
    WAIT_FOR_PROCESS = Hooks, HOOKS,
        [WAIT4 &[100, ADDRESS, 0, 0], "waitid" &[P_PID, 100, ADDRESS, WEXITED, 0]];
    /// Makes the pipe through which a hook reads its state.
    STATE_PIPE = Hooks, None, ["pipe2" &[ADDRESS, CLOEXEC]];
    /// Fills the pipe.
    WRITE_PIPE = Hooks, None, ["write" &[DESCRIPTOR, ADDRESS, 512]];
    /// Makes a file in memory in place of the pipe, where that is denied or the state is long.
    STATE_FILE = Hooks, None, ["memfd_create" &[ADDRESS, MFD_CLOEXEC]];
    /// Fills the file.
    WRITE_FILE = Hooks, None, ["pwrite64" &[DESCRIPTOR, ADDRESS, 512, 0]];
    /// Either of both, for `check`.
    STATE = Hooks, HOOKS, ["pipe2" &[ADDRESS, CLOEXEC], "memfd_create" &[ADDRESS, MFD_CLOEXEC]];
    /// The same of filling it.
    WRITE_STATE = Hooks, HOOKS, ["write" &[DESCRIPTOR, ADDRESS, 512], "pwrite64" &[DESCRIPTOR, ADDRESS, 512, 0]];
    /// Leads the standard streams of a hook.
    STREAMS = Hooks, HOOKS, [DUP2 &[DESCRIPTOR, 0], "dup3" &[DESCRIPTOR, 0, 0]];
    /// Creates the process of `exec` in the container's pid namespace. Where it is denied, the filter is installed after it.
    CROSS = Exec, None, ["clone" &[CROSSING, 0, ADDRESS]];
    /// Makes the session of that process.
    OWN_SESSION = Exec, None, ["setsid" &[]];
    /// Takes its terminal.
    CONTROL_TERMINAL = Exec, None, ["ioctl" &[0, TIOCSCTTY, 0]];
    /// Closes the program's descriptors in a hook.
    CLOSE_DESCRIPTORS = HooksAndDescriptors, HOOKS, ["close" &[DESCRIPTOR]];
}

/// Whether a filter allows what a process does in the pid namespace of others before its program. With a listener its
/// creator must be able to close that, and to end, before there is an agent to ask.
pub fn allow_crossing(filter: &Install) -> bool {
    let leave: &[&OwnCall] = if filter.listener.is_some() { &[&CLOSE_LISTENER, &EXIT_GROUP] } else { &[] };
    allow_all(filter, &[&CROSS, &OWN_SESSION, &CONTROL_TERMINAL]) && allow_all(filter, leave)
}

/// The same of an init, which has to wait there as well.
pub fn allow_crossing_of_init(filter: &Install) -> bool {
    allow_crossing(filter) && allow_all(filter, &[&DROP_CAPABILITY, &WAIT_FOR_START, &WAKE])
}

fn allow_all(filter: &Install, calls: &[&OwnCall]) -> bool {
    calls.iter().all(|call| call.choice(filter).is_some())
}

/// Six arguments, of which the last ones are 0.
const fn padded(first: &[u64]) -> [u64; 6] {
    let (mut arguments, mut at) = ([0; 6], 0);
    while at < first.len() {
        arguments[at] = first[at];
        at += 1;
    }
    arguments
}

/// The calls of a start that a filter denies, in the order of the table; those of the same names once.
pub fn denied(filter: &Install, start: Start) -> Vec<Denied> {
    let mut found: Vec<Denied> = Vec::new();
    for call in ALL.iter().filter(|call| call.when.applies(filter, start)) {
        let known = found.iter().any(|earlier| earlier.call.names().eq(call.names()) && earlier.call.lost == call.lost);
        if let (false, Some(verdict)) = (known, call.denial(filter)) {
            found.push(Denied { call, verdict });
        }
    }
    found
}

impl When {
    fn applies(self, filter: &Install, start: Start) -> bool {
        let helper = || {
            let needed = |call: &OwnCall| call.when.applies(filter, start) && call.choice(filter).is_none();
            [&WAIT_FOR_START, &WAKE, &DROP_CAPABILITY].into_iter().any(needed)
        };
        match self {
            When::Always => true,
            When::Create => start.create,
            When::Privileges => !start.no_new_privileges,
            When::HelperThread => helper(),
            When::Listener => filter.listener.is_some(),
            When::Hooks => start.hooks,
            When::Exec => false,
            When::HooksAndDescriptors => start.hooks && start.descriptors,
        }
    }
}

impl OwnCall {
    /// The names.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        self.any_of.iter().map(|(name, _)| *name)
    }

    /// The name of the first that a filter allows without asking anyone.
    pub fn choice(&self, filter: &Install) -> Option<&'static str> {
        let allowed = self.any_of.iter().find(|(name, arguments)| filter.allows(name, *arguments));
        allowed.map(|(name, _)| *name)
    }

    /// The first of the alternatives that there is any use in: one that the filter allows, or else asks its agent about.
    /// Without a filter the first that this architecture has.
    pub fn usable(&self, filter: Option<&Install>) -> Option<&'static str> {
        let Some(filter) = filter else {
            return self.names().find(|name| Data::native(name, [0; 6]).is_some());
        };
        let asked = |(name, arguments): &&(&'static str, [u64; 6])| {
            filter.verdict(name, *arguments).is_some_and(|verdict| !verdict.denies())
        };
        self.choice(filter).or_else(|| self.any_of.iter().find(asked).map(|(name, _)| *name))
    }

    /// The first verdict, if all that this architecture has are denied.
    fn denial(&self, filter: &Install) -> Option<Verdict> {
        let verdicts = || self.any_of.iter().filter_map(|(name, arguments)| filter.verdict(name, *arguments));
        verdicts().next().filter(|_| verdicts().all(|verdict| verdict.denies()))
    }
}

impl Denied {
    /// The problem with the rule's pointer; `None` where nothing is lost.
    pub fn problem(&self) -> Option<Error> {
        let Denied { call, verdict } = self;
        let lost = call.lost?;
        let names: Vec<&str> = call.names().filter(|name| Data::native(name, [0; 6]).is_some()).collect();
        let message = format!("the profile denies {} ({verdict}): {lost}", listed(&names, "and"));
        let hint = format!("allow {} in the profile", listed(&names, "or"));
        Some(Error::new(message).hint(hint).from_property(verdict.rule))
    }
}

/// `a, b and c`.
fn listed(names: &[&str], and: &str) -> String {
    match names {
        [first @ .., last] if !first.is_empty() => format!("{} {and} {last}", first.join(", ")),
        _ => names.concat(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::rc::Rc;

    use serde_json::json;

    use super::*;
    use crate::bundle::seccomp::read;
    use crate::seccomp::compile;
    use crate::types::seccomp::Arch;

    /// The filter that denies some calls, and allows the rest.
    fn without(names: &[&str]) -> Install {
        let rules = json!([{ "names": names, "action": "SCMP_ACT_ERRNO" }]);
        let profile = json!({ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": rules });
        let profile = Rc::new(read(&profile.to_string()).unwrap().unwrap());
        Install::new(compile(&profile, Arch::NATIVE.unwrap()).unwrap(), profile)
    }

    fn denied_names(names: &[&str], start: Start) -> Vec<&'static str> {
        let filter = without(names);
        denied(&filter, start).iter().map(|denied| denied.call.any_of[0].0).collect()
    }

    const ALL_OF_IT: Start = Start { create: true, no_new_privileges: false, hooks: true, descriptors: true };

    #[test]
    fn a_call_counts_where_it_is_made() {
        let names: Vec<&str> = ALL.iter().flat_map(|call| call.names()).collect();
        let always = ["execve", "exit_group", "rt_sigreturn"];
        assert_eq!(denied_names(&names, Start { no_new_privileges: true, ..Start::default() }), always);
        let create = Start { create: true, no_new_privileges: true, ..Start::default() };
        assert_eq!(denied_names(&names, create), [&always[..], &["futex", "exit"]].concat());
        assert_eq!(denied_names(&names, Start::default()), [&always[..], &["capset", "exit"]].concat());
        let hooks = Start { no_new_privileges: true, hooks: true, ..Start::default() };
        let needed = ["clone", "wait4", "pipe2", "write", "memfd_create", "pwrite64", "pipe2", "write", "dup2"];
        assert_eq!(denied_names(&names, hooks), [&always[..], &needed].concat());
        let hooks = Start { descriptors: true, ..hooks };
        assert_eq!(denied_names(&names, hooks), [&always[..], &needed, &["close"]].concat());
        assert_eq!(denied_names(&["close"], Start { hooks: false, ..ALL_OF_IT }), [""; 0]);
    }

    #[test]
    fn the_end_of_the_helper_thread_counts_where_there_is_one() {
        assert_eq!(denied_names(&["exit"], ALL_OF_IT), [""; 0]);
        assert_eq!(denied_names(&["exit", "capset"], ALL_OF_IT), ["capset", "exit"]);
        assert_eq!(denied_names(&["exit", "capset"], Start { no_new_privileges: true, ..ALL_OF_IT }), [""; 0]);
        assert_eq!(denied_names(&["exit", "futex"], ALL_OF_IT), ["futex", "exit"]);
    }

    #[test]
    fn one_of_several_is_enough() {
        for (allowed, group) in [
            ("waitid", &WAIT_FOR_PROCESS),
            ("wait4", &WAIT_FOR_PROCESS),
            ("pipe2", &STATE),
            ("pwrite64", &WRITE_STATE),
            ("dup3", &STREAMS),
        ] {
            let others: Vec<&str> = group.names().filter(|name| *name != allowed).collect();
            let lost = denied(&without(&others), ALL_OF_IT).iter().any(|denied| denied.call.lost.is_some());
            assert!(!lost, "{allowed}");
            assert_eq!(group.choice(&without(&others)), Some(allowed));
            assert_eq!(group.choice(&without(&group.names().collect::<Vec<_>>())), None);
        }
    }

    #[test]
    fn a_denial_without_loss_is_no_warning() {
        let found = denied(&without(&["capset", "exit"]), Start::default());
        let warnings: Vec<String> = found.iter().filter_map(Denied::problem).map(|error| error.to_string()).collect();
        assert_eq!((found.len(), warnings.len()), (2, 0));
    }

    /// The names in the first column of the table in docs/security.md.
    fn documented() -> BTreeSet<String> {
        let text = include_str!("../../docs/security.md");
        let (_, section) = text.split_once("## Calls under the filter\n").expect("the section in docs/security.md");
        let section = section.split("\n## ").next().unwrap();
        let cells = section.lines().filter_map(|line| line.strip_prefix("| ")?.split('|').next());
        cells.flat_map(|cell| cell.split('`').skip(1).step_by(2)).map(str::to_owned).collect()
    }

    #[test]
    fn every_call_is_documented() {
        let names: BTreeSet<String> = ALL.iter().flat_map(|call| call.names()).map(str::to_owned).collect();
        assert_eq!(documented(), names, "docs/security.md and the table of calls differ");
    }
}
