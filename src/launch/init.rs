//! The init's lane: from its birth to the container's program.

use nix::sys::stat::{Mode, umask};
use nix::unistd::{fchdir, getpid};
use std::ffi::CString;
use std::os::fd::{IntoRawFd, OwnedFd};

use nix::errno::Errno;

use super::channel::Channel;
use super::lane::Lane;
use super::trace::INIT;
use super::{Launch, TAKEN, signals};
use crate::error::{Context, Error, Result};
use crate::plan::{Action, Step};
use crate::process::exec::{Program, WorkingDirectory};
use crate::process::hook::{Hook, Kind};
use crate::process::terminal::Terminal;
use crate::rootfs::{Rootfs, withdraw};
use crate::seccomp::step::Install;
use crate::sys;

/// How long the parent may take to hand over a listener, in nanoseconds. One that was killed never does.
const LISTENER_PATIENCE: u64 = 10_000_000_000;

/// The init while it sets itself up.
struct Init<'a> {
    launch: &'a Launch<'a>,
    channel: Channel<'static>,
    rootfs: Option<Rootfs>,
    /// The working directory that ferrun itself may not enter.
    denied: Option<&'a WorkingDirectory>,
    /// The entry of the environment that was looked up.
    home: Option<CString>,
    /// Installed as the last thing of all.
    filter: Option<&'a Install>,
    /// Whether everything is done that comes just before the program.
    prepared: bool,
}

/// Runs the init's lane. Never returns: it becomes the program, or tells the parent what failed and ends.
pub fn main(launch: &Launch, channel: Channel<'static>) -> ! {
    // What the parent has gathered is the parent's to write; this is a copy.
    launch.trace.iter().for_each(|trace| trace.forget());
    let mut init = Init { launch, channel, rootfs: None, denied: None, home: None, filter: None, prepared: false };
    let first = launch.plan.parent.len() + 1;
    let mut lane = Lane { name: INIT, first, trace: launch.trace, fault: launch.fault };
    let mut ready = false;
    for (index, step) in launch.plan.init.iter().enumerate() {
        if let Err(error) = lane.timed(index, step, || init.step(step)) {
            init.fail(&launch.plan.explained(error, &step.action), ready);
        }
        if matches!(step.action, Action::Ready(_)) {
            ready = true;
            // Once `create` has returned, its trace is complete, and there is no parent to kill.
            if launch.gate.is_some() {
                lane.trace = None;
                lane.fault = lane.fault.filter(|fault| !fault.kill);
            }
        }
    }
    sys::program::exit(1)
}

impl<'a> Init<'a> {
    fn step(&mut self, step: &'a Step) -> Result<()> {
        match &step.action {
            Action::Isolate(action) => action.run(),
            Action::KeyLabel(action) => action.run(),
            Action::Keyring(action) => action.run(),
            Action::OomScoreAdj(action) => action.run(),
            Action::Enter(action) => action.run(&self.launch.opened.borrow()),
            Action::CheckMap(action) => action.run(),
            Action::BecomeRoot(action) => action.run(),
            Action::Unshare(action) => action.run(),
            Action::Loopback(action) => action.run(),
            Action::Hostname(action) => action.run(),
            Action::DomainName(action) => action.run(),
            Action::BindRoot(action) => {
                let rootfs = self.rootfs.insert(action.run()?);
                self.launch.guard.get().map_or(Ok(()), |guard| guard.show(rootfs.root()))
            }
            Action::Mount(action) if action.handed => {
                self.take_source()?;
                action.run(self.rootfs()?)
            }
            Action::Mount(action) => action.run(self.rootfs()?),
            Action::Remount(action) => action.run(self.rootfs()?),
            Action::CgroupMount(action) => action.run(self.rootfs()?),
            Action::Devices(action) => action.run(self.rootfs()?),
            Action::Node(action) => action.run(self.rootfs()?),
            Action::Wait(_) => self.wait(),
            Action::Mounted(_) => self.mounted(),
            Action::Hook(hook) => self.hook(hook),
            Action::Join(action) => action.run(),
            Action::Pivot(action) => action.run(self.rootfs()?),
            Action::MoveRoot(action) => action.run(self.rootfs()?),
            Action::EnterRoot(action) => action.run(self.rootfs()?),
            Action::Terminal(terminal) => self.terminal(terminal),
            Action::Sysctl(action) => action.run(),
            Action::Mask(action) => action.run(self.rootfs()?),
            Action::ReadOnlyPath(action) => action.run(self.rootfs()?),
            Action::SealReadOnly(action) => action.run(self.rootfs()?),
            Action::ReadOnlyRoot(action) => action.run(self.rootfs()?),
            Action::PropagateRoot(action) => action.run(self.rootfs()?),
            Action::Rlimit(action) => action.run(),
            Action::WorkingDirectory(action) => self.work_in(action),
            Action::Stdio(action) => action.run(self.rootfs()?),
            Action::Home(action) => {
                self.home = Some(action.run(self.rootfs()?));
                Ok(())
            }
            Action::ExecLabel(action) => action.run(),
            Action::Scheduler(action) => action.run(),
            Action::IoPriority(action) => action.run(),
            Action::MemoryPolicy(action) => action.run(),
            Action::Personality(action) => action.run(),
            Action::BoundingSet(action) => action.run(),
            Action::User(action) => action.run().and_then(|()| self.work_in_as_user()),
            Action::Capabilities(action) => action.run(),
            Action::NoNewPrivileges(action) => action.run(),
            Action::Umask(action) => action.run(),
            Action::Ready(_) => self.ready(),
            Action::Seccomp(filter) if filter.listener.is_some() => self.listen(filter),
            Action::Seccomp(filter) => {
                self.filter = Some(filter);
                Ok(())
            }
            Action::Execute(program) => self.execute(program),
            other => Err(Error::new(format!("the plan has \"{other}\" in the wrong lane"))),
        }
    }

    /// A directory that ferrun may not enter (it may be root without CAP_DAC_OVERRIDE, or the directory on a
    /// network that knows no root) is perhaps the user's.
    fn work_in(&mut self, directory: &'a WorkingDirectory) -> Result<()> {
        match directory.run(self.rootfs()?) {
            Err(error) if error.code() == Errno::EACCES => {
                self.denied = Some(directory);
                Ok(())
            }
            result => result,
        }
    }

    fn work_in_as_user(&mut self) -> Result<()> {
        let Some(directory) = self.denied.take() else { return Ok(()) };
        directory.run(self.rootfs()?).map_err(|error| error.from_property("/process/cwd"))
    }

    fn rootfs(&self) -> Result<&Rootfs> {
        self.rootfs.as_ref().ok_or_else(|| Error::new("the plan uses the rootfs before it is bound"))
    }

    /// The socket is closed afterwards, so that nothing of it is left while the init waits for `start`.
    fn terminal(&self, terminal: &Terminal) -> Result<()> {
        let console = self.launch.console.take().ok_or_else(|| Error::new("nobody takes the terminal"))?;
        terminal.run(self.rootfs()?, &console)
    }

    /// Waits for the parent; one that is gone takes the init with it.
    fn wait(&self) -> Result<()> {
        if self.channel.await_release() { Ok(()) } else { sys::program::exit(1) }
    }

    /// Takes the source of a bind from the parent, at whose end it is opened now.
    fn take_source(&self) -> Result<()> {
        if !self.channel.ask_for_source() {
            sys::program::exit(1);
        }
        match self.channel.take_source() {
            Ok(source) => self.rootfs()?.hand(source),
            Err(Errno::EMFILE) => return Err(Error::os("take the source of a bind", Errno::EMFILE)),
            Err(_) => sys::program::exit(1),
        }
        Ok(())
    }

    /// Says that it is time for the parent's hooks.
    fn mounted(&self) -> Result<()> {
        if self.channel.mounted() { Ok(()) } else { sys::program::exit(1) }
    }

    /// Runs a hook in the container's namespaces. One of `createContainer` begins in the container's root,
    /// as by runc, and with the usual umask instead of the init's own, which is 0.
    fn hook(&self, hook: &Hook) -> Result<()> {
        let state = (self.launch.state_for)(hook.kind, getpid());
        if hook.kind != Kind::CreateContainer {
            return self.with_environment(hook).run(&state, None, None);
        }
        fchdir(self.rootfs()?.root()).what(|| "enter the rootfs")?;
        let own = umask(Mode::from_bits_truncate(0o022));
        let result = hook.run(&state, None, None);
        umask(own);
        result
    }

    /// A hook of `startContainer` without an environment gets the program's, with the HOME that was looked up,
    /// as by runc, on which people rely (the spec does not say so).
    fn with_environment(&self, hook: &Hook) -> Hook {
        let mut hook = hook.clone();
        if let (true, Some(program)) = (hook.env.is_empty(), self.program()) {
            hook.env.extend(program.env.iter().chain(&self.home).cloned());
        }
        hook
    }

    /// Says that all is set up, and after `create` waits for `start`. That the program is there is
    /// looked at before, so that `create` reports it.
    fn ready(&mut self) -> Result<()> {
        let Some(gate) = &self.launch.gate else {
            return if self.prepared || self.channel.ready() { Ok(()) } else { sys::program::exit(1) };
        };
        // Under a filter, both is done.
        if !self.prepared {
            if let Some(program) = self.program() {
                program.look_up().map_err(|error| error.from_property("/process/args"))?;
            }
            if !self.channel.ready() {
                sys::program::exit(1);
            }
        }
        gate.wait()
    }

    fn program(&self) -> Option<&'a Program> {
        match self.launch.plan.init.last().map(|step| &step.action) {
            Some(Action::Execute(program)) => Some(program),
            _ => None,
        }
    }

    /// What comes before the program, for which a filter may not leave the calls.
    fn prepare(&mut self) -> Result<()> {
        // No directory is open any more that a path such as /proc/self/fd/7 could begin at.
        self.rootfs = None;
        signals::restore(&self.launch.signal_mask).what(|| "restore the signal mask")?;
        self.prepared = true;
        Ok(())
    }

    /// Becomes the program, under its filter.
    fn execute(&mut self, program: &Program) -> Result<()> {
        if !self.prepared {
            self.prepare()?;
        }
        if let Some(filter) = self.filter.take() {
            // What fails under the filter may not be told any more.
            program.look_up()?;
            filter.run().map_err(|error| error.from_property("/linux/seccomp"))?;
        }
        let error = program.execute(self.home.as_deref());
        Err(match error.code() {
            // Every kernel has the call.
            Errno::ENOSYS => error.hint("the seccomp filter says so, or the agent that it asks is gone"),
            _ => error,
        })
    }

    /// Installs a filter that asks someone, and waits until the parent has handed over the descriptor on
    /// which that one answers. Any call could be one that waits for an answer, so none is made until then.
    fn listen(&mut self, filter: &Install) -> Result<()> {
        let program = self.program().ok_or_else(|| Error::new("the plan has no program"))?;
        self.prepare()?;
        program.look_up().map_err(|error| error.from_property("/process/args"))?;
        let Some(number) = &self.launch.listener else { return Err(Error::new("nobody expects a listener")) };
        if !self.channel.listener() {
            sys::program::exit(1);
        }
        let descriptor = filter.run()?.map(OwnedFd::into_raw_fd);
        number.set(descriptor.unwrap_or(-1));
        let begin = sys::program::nanoseconds();
        while number.get() != TAKEN {
            std::hint::spin_loop();
            if sys::program::nanoseconds() - begin > LISTENER_PATIENCE {
                sys::program::exit(1);
            }
        }
        // Who asks and has this open would wait forever for an agent that is gone. Where the filter does not let
        // it be closed, execve(2) does.
        if let Some(descriptor) = descriptor.filter(|_| filter.closes) {
            let _ = nix::unistd::close(descriptor);
        }
        Ok(())
    }

    /// Tells whoever listens: the parent, or after `start` the file that it reads.
    fn fail(&self, error: &Error, ready: bool) -> ! {
        self.launch.trace.iter().for_each(|trace| trace.flush());
        match &self.launch.gate {
            Some(gate) if ready => {
                // The guard has gone with `create`; there may be rights for this.
                let _ = self.rootfs.as_ref().filter(|rootfs| rootfs.is_foreign()).map(|tree| withdraw(tree.root()));
                gate.fail(error);
            }
            _ => self.channel.fail(error),
        }
        sys::program::exit(1)
    }
}
