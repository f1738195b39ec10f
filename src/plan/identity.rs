//! `process`: who it is, what it may do and use, and the program itself.

use nix::sys::resource::Resource;
use nix::unistd::Gid;

use super::Compiler;
use crate::bundle::process::{Process, RlimitKind};
use crate::pointer::Pointer;
use crate::process::exec::{Program, Umask, WorkingDirectory};
use crate::process::identity::{BoundingSet, Capabilities, NoNewPrivileges, User};
use crate::process::limits::Rlimit;
use crate::process::stdio::Stdio;
use crate::sys::capability::Sets;

/// Standard input, output and error.
const STREAMS: u32 = 3;

/// Who has it may install a filter without no_new_privs.
const SYS_ADMIN: u64 = 1 << 21;

impl Compiler<'_> {
    fn process(&self) -> Option<&Process> {
        self.spec.process.as_ref()
    }

    /// The working directory, made before the root becomes read-only.
    pub(super) fn working_directory(&mut self) {
        if let Some(cwd) = self.process().map(|process| process.cwd.0.clone()) {
            self.init(Some(Pointer::new("/process/cwd")), WorkingDirectory(cwd));
        }
    }

    /// From most to least privileged: each step still may do what it does. `filter`: a filter of system
    /// calls is still to be installed.
    pub(super) fn identity(&mut self, filter: bool) {
        let Some(process) = &self.spec.process else { return };
        self.init(None, Stdio { uid: process.user.uid });
        // From here on no file is opened: a limit of no descriptors is no obstacle.
        for (index, limit) in process.rlimits.iter().enumerate() {
            let step = Rlimit { resource: resource(limit.kind), soft: limit.soft, hard: limit.hard };
            self.init(Some(Pointer::at("/process/rlimits/#", index)), step);
        }
        let bounding = process.capabilities.as_ref().map(|capabilities| capabilities.bounding.mask);
        if let Some(mask) = bounding {
            self.init(Some(Pointer::new("/process/capabilities/bounding")), BoundingSet(mask));
        }
        let keep = if filter && !process.no_new_privileges { SYS_ADMIN & self.host.permitted } else { 0 };
        self.user(process, keep);
        self.capabilities(process, keep);
        if process.no_new_privileges {
            self.init(Some(Pointer::new("/process/noNewPrivileges")), NoNewPrivileges);
        }
        self.init(Some(Pointer::new("/process/user/umask")), Umask(process.user.umask.unwrap_or(0o022)));
    }

    fn user(&mut self, process: &Process, keep: u64) {
        let groups = process.user.additional_gids.iter().map(|gid| Gid::from_raw(*gid)).collect();
        let (uid, gid) = (process.user.uid, process.user.gid);
        let keep_capabilities = uid != 0 && (process.capabilities.is_some() || keep != 0);
        self.init(Some(Pointer::new("/process/user")), User { uid, gid, groups, keep_capabilities });
    }

    /// The sets, less what ferrun itself does not have: config.md of the spec wants that warned about,
    /// not refused. `keep` is effective until the program is executed, which takes it away: what a process
    /// may do after execve(2) does not depend on its permitted set before.
    fn capabilities(&mut self, process: &Process, keep: u64) {
        let Some(wanted) = &process.capabilities else {
            if process.user.uid != 0 && keep != 0 {
                let sets = Sets { effective: keep, permitted: keep, inheritable: 0 };
                self.init(Some(Pointer::new("/linux/seccomp")), Capabilities { sets, ambient: 0, keep });
            }
            return;
        };
        let have = self.host.permitted;
        let sets = [
            ("/process/capabilities/permitted", wanted.permitted.mask),
            ("/process/capabilities/effective", wanted.effective.mask),
            ("/process/capabilities/inheritable", wanted.inheritable.mask),
        ];
        for (pattern, mask) in sets {
            if mask & !have != 0 {
                let missing = crate::process::identity::names(mask & !have);
                self.warn(Pointer::new(pattern), format!("ferrun does not have {missing} to give; left out"));
            }
        }
        let permitted = wanted.permitted.mask & have;
        let inheritable = wanted.inheritable.mask & have;
        let effective = wanted.effective.mask & permitted;
        if wanted.effective.mask & have != effective {
            let outside = crate::process::identity::names(wanted.effective.mask & have & !permitted);
            self.warn(
                Pointer::new("/process/capabilities/effective"),
                format!("{outside} is not in permitted; left out"),
            );
        }
        let ambient = wanted.ambient.mask & permitted & inheritable;
        if wanted.ambient.mask != ambient {
            let outside = crate::process::identity::names(wanted.ambient.mask & !ambient);
            let message = format!("{outside} is not in both permitted and inheritable; left out");
            self.warn(Pointer::new("/process/capabilities/ambient"), message);
        }
        let sets = Sets { effective: effective | keep, permitted: permitted | keep, inheritable };
        let keep = keep & !permitted;
        self.init(Some(Pointer::new("/process/capabilities")), Capabilities { sets, ambient, keep });
    }

    /// The program.
    pub(super) fn execute(&mut self) {
        let Some(process) = self.process() else { return };
        let strings = |list: &[crate::bundle::text::Text]| list.iter().map(|text| text.0.clone()).collect();
        let keep_descriptors = STREAMS + self.options.preserve_fds;
        let program = Program { args: strings(&process.args), env: strings(&process.env), keep_descriptors };
        self.init(Some(Pointer::new("/process/args")), program);
    }
}

fn resource(kind: RlimitKind) -> Resource {
    match kind {
        RlimitKind::As => Resource::RLIMIT_AS,
        RlimitKind::Core => Resource::RLIMIT_CORE,
        RlimitKind::Cpu => Resource::RLIMIT_CPU,
        RlimitKind::Data => Resource::RLIMIT_DATA,
        RlimitKind::Fsize => Resource::RLIMIT_FSIZE,
        RlimitKind::Locks => Resource::RLIMIT_LOCKS,
        RlimitKind::Memlock => Resource::RLIMIT_MEMLOCK,
        RlimitKind::Msgqueue => Resource::RLIMIT_MSGQUEUE,
        RlimitKind::Nice => Resource::RLIMIT_NICE,
        RlimitKind::Nofile => Resource::RLIMIT_NOFILE,
        RlimitKind::Nproc => Resource::RLIMIT_NPROC,
        RlimitKind::Rss => Resource::RLIMIT_RSS,
        RlimitKind::Rtprio => Resource::RLIMIT_RTPRIO,
        RlimitKind::Rttime => Resource::RLIMIT_RTTIME,
        RlimitKind::Sigpending => Resource::RLIMIT_SIGPENDING,
        RlimitKind::Stack => Resource::RLIMIT_STACK,
    }
}
