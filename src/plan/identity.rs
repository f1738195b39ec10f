//! `process`: who it is, what it may do and use, and the program itself.

use std::collections::BTreeSet;
use std::ffi::CString;
use std::rc::Rc;

use nix::sched::CloneFlags;

use super::{Compiler, notify};
use crate::bundle::path::clean;
use crate::bundle::process::Process;
use crate::bundle::text::Text;
use crate::error::Error;
use crate::pointer::Pointer;
use crate::process::exec::{MakeWorkingDirectory, Program, Umask, WorkingDirectory};
use crate::process::home::Home;
use crate::process::identity::{BoundingSet, Capabilities, NoNewPrivileges, User};
use crate::process::limits::Rlimit;
use crate::process::stdio::Stdio;
use crate::process::terminal::Terminal;
use crate::sys::capability::Sets;
use crate::sys::terminal::Size;
use crate::types::capabilities::Names;
use crate::types::rlimits::RlimitKind;

/// Who has it may install a filter without no_new_privs.
const SYS_ADMIN: u64 = 1 << 21;

impl Compiler<'_> {
    fn process(&self) -> Option<&Process> {
        self.spec.process.as_deref()
    }

    /// The terminal, once the host's tree is out of reach and before the root becomes read-only.
    pub(super) fn terminal(&mut self) {
        let Some(process) = self.process().filter(|process| process.terminal) else { return };
        let side = |length: u64| u16::try_from(length).ok().filter(|length| *length != 0);
        let size = process.console_size;
        let size = size.and_then(|size| Some(Size { rows: side(size.height)?, columns: side(size.width)? }));
        self.init(
            Some(Pointer::new("/process/terminal")),
            Terminal { size, console: !self.plan.is_further, controls: !self.crosses },
        );
    }

    /// The working directory, made before the root becomes read-only.
    pub(super) fn working_directory(&mut self) {
        if let Some(cwd) = self.process().map(|process| clean(&process.cwd)) {
            let step = WorkingDirectory { path: cwd, make: !self.plan.is_further };
            self.init(Some(Pointer::new("/process/cwd")), step);
        }
    }

    /// The same directory, created before anything at all becomes read-only.
    pub(super) fn make_working_directory(&mut self) {
        if let Some(cwd) = self.process().map(|process| clean(&process.cwd)).filter(|cwd| cwd.as_c_str() != c"/") {
            self.init(Some(Pointer::new("/process/cwd")), MakeWorkingDirectory(cwd));
        }
    }

    /// From most to least privileged: each step still may do what it does. `filter`: a filter of system
    /// calls is still to be installed.
    pub(super) fn identity(&mut self, filter: bool) {
        let Some(process) = &self.spec.process else { return self.without_process() };
        self.init(None, Stdio { uid: process.user.uid, own_terminal: process.terminal });
        self.home(process);
        if !self.plan.is_further {
            self.exec_labels(process);
        }
        // From here on no file is opened: a limit of no descriptors is no obstacle.
        for (index, limit) in process.rlimits.iter().flatten().enumerate() {
            let step = Rlimit { resource: limit.kind.resource(), soft: limit.soft, hard: limit.hard };
            let pointer = Pointer::at("/process/rlimits/#", index);
            if matches!(limit.kind, RlimitKind::Cpu | RlimitKind::Rttime | RlimitKind::Fsize) {
                self.plan.deadly.resources.push((pointer, step));
            }
            self.init(Some(pointer), step);
        }
        self.scheduling(process);
        let bounding = process.capabilities.as_ref().map(|capabilities| capabilities.bounding.mask);
        if let Some(mask) = bounding {
            self.init(Some(Pointer::new("/process/capabilities/bounding")), BoundingSet(mask));
        }
        let keep = if filter && !process.no_new_privileges { SYS_ADMIN & self.host.permitted } else { 0 };
        self.user(process, keep);
        self.capabilities(process, keep);
        if process.no_new_privileges {
            self.plan.no_new_privileges = true;
            self.init(Some(Pointer::new("/process/noNewPrivileges")), NoNewPrivileges);
        }
        self.init(Some(Pointer::new("/process/user/umask")), Umask(process.user.umask.unwrap_or(0o022)));
    }

    /// An init that will never execute a program needs no rights while it waits.
    fn without_process(&mut self) {
        const PROCESS: Option<Pointer> = Some(Pointer::new("/process"));
        self.init(PROCESS, BoundingSet(0));
        self.init(PROCESS, Capabilities { sets: Sets::default(), ambient: 0, keep: 0 });
        self.init(PROCESS, NoNewPrivileges);
        self.plan.no_new_privileges = true;
    }

    /// HOME, where the environment has none: nothing is looked up where it has. An empty one counts as none,
    /// as for runc.
    fn home(&mut self, process: &Process) {
        if home_of(&process.env).is_none() {
            self.init(Some(Pointer::new("/process/env")), Home { uid: process.user.uid });
        }
    }

    fn user(&mut self, process: &Process, keep: u64) {
        let groups = process.user.additional_gids.clone();
        let (uid, gid) = (process.user.uid, process.user.gid);
        let keep_capabilities = uid != 0 && (process.capabilities.is_some() || keep != 0);
        let may_keep_groups = self.joined_namespaces().contains(CloneFlags::CLONE_NEWUSER);
        self.init(Some(Pointer::new("/process/user")), User { uid, gid, groups, may_keep_groups, keep_capabilities });
    }

    /// The sets, less what ferrun itself does not have: config.md of the spec wants that warned about,
    /// not refused. `keep` is effective until the filter is installed.
    fn capabilities(&mut self, process: &Process, keep: u64) {
        let Some(wanted) = &process.capabilities else {
            if process.user.uid != 0 && keep != 0 {
                let sets = Sets::default();
                self.init(Some(Pointer::new("/linux/seccomp")), Capabilities { sets, ambient: 0, keep });
            }
            return;
        };
        // A user namespace comes with all capabilities over what is its own.
        let have = if self.has_user_namespace() { u64::MAX } else { self.host.permitted };
        let sets = [
            ("/process/capabilities/permitted", wanted.permitted.mask),
            ("/process/capabilities/effective", wanted.effective.mask),
            ("/process/capabilities/inheritable", wanted.inheritable.mask),
        ];
        for (pattern, mask) in sets {
            if mask & !have != 0 {
                let missing = Names(mask & !have);
                self.warn(Pointer::new(pattern), format!("ferrun does not have {missing} to give; left out"));
            }
        }
        let permitted = wanted.permitted.mask & have;
        // The kernel lets nothing become inheritable that is not in the bounding set: capset(2).
        let inheritable = wanted.inheritable.mask & have & wanted.bounding.mask;
        if wanted.inheritable.mask & have != inheritable {
            let outside = Names(wanted.inheritable.mask & have & !wanted.bounding.mask);
            let message = format!("{outside} is not in bounding; left out");
            self.warn(Pointer::new("/process/capabilities/inheritable"), message);
        }
        let effective = wanted.effective.mask & permitted;
        if wanted.effective.mask & have != effective {
            let outside = Names(wanted.effective.mask & have & !permitted);
            self.warn(
                Pointer::new("/process/capabilities/effective"),
                format!("{outside} is not in permitted; left out"),
            );
        }
        let ambient = wanted.ambient.mask & permitted & inheritable;
        if wanted.ambient.mask != ambient {
            let outside = Names(wanted.ambient.mask & !ambient);
            let message = format!("{outside} is not in both permitted and inheritable; left out");
            // As buildah and `runc spec` write it, and mean it: worth no line at each start.
            self.plan.remarks.push(Error::new(message).from_property(Pointer::new("/process/capabilities/ambient")));
        }
        let sets = Sets { effective, permitted, inheritable };
        self.init(Some(Pointer::new("/process/capabilities")), Capabilities { sets, ambient, keep });
    }

    /// The program.
    pub(super) fn execute(&mut self) {
        let Some(process) = self.process() else { return };
        let args = process.args.iter().map(|text| text.0.clone()).collect();
        let mut env = last_of_each(&process.env);
        if home_of(&process.env).is_none() {
            env.retain(|entry| !entry.as_bytes().starts_with(b"HOME="));
        }
        if self.options.listening > 0 {
            env.retain(|entry| !entry.as_bytes().starts_with(b"LISTEN_"));
            let text = |text: String| CString::new(text).expect("written here without NUL");
            // As runc: the program is process 1, where it has a pid namespace of its own.
            env.push(text(format!("LISTEN_FDS={}", self.options.listening)));
            env.push(text("LISTEN_PID=1".into()));
        }
        if self.options.notify.is_some() {
            env.retain(|entry| !entry.as_bytes().starts_with(b"NOTIFY_SOCKET="));
            env.push(notify::ENTRY.to_owned());
        }
        let program = Rc::new(Program { args, env });
        self.plan.program = Some(program.clone());
        self.init(Some(Pointer::new("/process/args")), program);
    }
}

/// The environment with only the last of entries of one name: programs differ in which they would take.
fn last_of_each(env: &[Text]) -> Vec<CString> {
    let mut seen = BTreeSet::new();
    fn name(entry: &Text) -> Option<&[u8]> {
        entry.bytes().split(|byte| *byte == b'=').next()
    }
    let mut last: Vec<CString> =
        env.iter().rev().filter(|entry| seen.insert(name(entry))).map(|entry| entry.0.clone()).collect();
    last.reverse();
    last
}

/// The last HOME of an environment, unless it is empty.
fn home_of(env: &[Text]) -> Option<&[u8]> {
    let last = env.iter().rev().find_map(|entry| entry.bytes().strip_prefix(b"HOME="));
    last.filter(|home| !home.is_empty())
}
