//! Running a plan: the clone, the two lanes, and the protocol between parent and init.

mod birth;
mod channel;
mod confine;
pub mod death;
pub mod exec_fifo;
pub mod fault;
mod guard;
mod init;
mod lane;
pub mod notify;
pub mod probe;
pub mod relay;
pub mod self_exe;
pub mod signals;
mod sources;
pub mod start_page;
pub mod trace;
pub mod watch;

use std::cell::{Cell, OnceCell, RefCell};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, poll};
use nix::sched::CloneFlags;
use nix::unistd::Pid;

use crate::cgroup::directory::Directory;
use crate::cgroup::kill;
use crate::error::{Context, Error, Result};
use crate::plan::{Action, Plan};
use crate::pointer::Pointer;
use crate::process::hook::Kind;
use crate::process::join::Opened;
use crate::process::terminal::Console;
use crate::seccomp::profile::Listener;
use crate::sys::clone::Side;
use crate::sys::{self, pidfd, seccomp};
use channel::{Channel, FromInit};
use fault::Fault;
use guard::Guard;
use lane::Lane;
use signals::Interrupt;
use start_page::{Phase, StartPage};
use trace::{PARENT, Trace};
use watch::{Ended, Watch, has_executed};

/// A process that runs the container, or will.
pub struct Process {
    /// Its pid here.
    pub pid: Pid,
    /// Its descriptor.
    pub fd: OwnedFd,
}

/// How to start.
pub struct Launch<'a> {
    /// What is run.
    pub plan: &'a Plan,
    /// What the init shares with whoever starts it.
    pub page: StartPage,
    /// The one descriptor that the init keeps where code of the image can look: where it waits for `start`, or runs hooks.
    pub outlet: Cell<Option<OwnedFd>>,
    /// Its other end, where the init goes on to the program at once; `None`: it waits for `start`.
    pub goes_on: Option<GoesOn>,
    /// Where each step's time is written.
    pub trace: Option<&'a Trace>,
    /// A failure that a test asks for.
    pub fault: Option<Fault>,
    /// What ends the start before the program runs.
    pub interrupt: Option<&'a Interrupt>,
    /// The namespaces to join: empty, until the plan's steps open them.
    pub opened: RefCell<Vec<Opened>>,
    /// Writes the init's identity to the state directory.
    pub record: &'a dyn Fn(Pid, BorrowedFd) -> Result<()>,
    /// The state that hooks of a kind are given, with the init's pid as they see it.
    pub state_for: &'a dyn Fn(Kind, Pid) -> Vec<u8>,
    /// Who gets the terminal's other side; the init takes it and lets go of it.
    pub console: Cell<Option<Console>>,
    /// Where the parent's hooks work.
    pub bundle: &'a Path,
    /// Gives the descriptor of a filter to whoever answers its calls.
    pub hand_over: &'a dyn Fn(Pid, OwnedFd, &Listener) -> Result<()>,
    /// Who takes the root out of a joined mount namespace if the start fails: empty, until it is joined.
    pub guard: OnceCell<Guard>,
}

/// An init that does not wait for `start`.
#[derive(Default)]
pub struct GoesOn {
    /// The reader's end of its outlet, if it has one.
    pub outlet: Cell<Option<OwnedFd>>,
}

impl Launch<'_> {
    /// Whether the init waits for `start`.
    pub fn waits_for_start(&self) -> bool {
        self.goes_on.is_none()
    }

    /// Runs the plan. On return the init has executed the program, or waits for `start`; the caller tells by
    /// [`Launch::keep`] or [`Launch::undo`] whether that is to stay so.
    ///
    /// # Errors
    /// The step that failed, in either lane. The init is then gone; what was made on the host (cgroups)
    /// is for the caller to remove.
    pub fn run(&mut self) -> Result<Process> {
        sys::program::default_sigchld().what(|| "set SIGCHLD to its default action")?;
        let process = OnceCell::<Process>::new();
        let mut channel = None::<Channel>;
        let lane = Lane { name: PARENT, first: 1, trace: self.trace, fault: self.fault };
        for (index, step) in self.plan.parent.iter().enumerate() {
            let result = lane.timed(index, step, || {
                let Action::Clone(clone) = &step.action else {
                    return self.parent_step(&step.action, process.get(), channel.as_ref());
                };
                // Before there is a channel: its ends are ferrun's and the init's alone.
                self.post_guard()?;
                let (ours, theirs) = channel::pair(self.interrupt.map(AsFd::as_fd), &self.plan.cgroup)?;
                let own = self.descriptors_of_init(&theirs);
                match birth::birth(clone, &self.opened.borrow(), &own)? {
                    // The descriptors of what is left in this copy of the memory are closed there.
                    Side::Child => init::main(self, theirs, &own),
                    Side::Parent(pid, fd) => {
                        let process = process.get_or_init(|| Process { pid, fd });
                        channel = Some(ours.watching(process.fd.as_fd()));
                        // Only the init has it now.
                        drop(self.outlet.take());
                        self.plan.nodes.iter().for_each(|store| store.close());
                        Ok(())
                    }
                }
            });
            if let Err(error) = result {
                return Err(self.undo(process.get(), error));
            }
        }
        drop(channel);
        process.into_inner().ok_or_else(|| Error::new("the plan makes no process"))
    }

    /// What was launched stays.
    pub fn keep(&self) {
        self.guard.get().iter().for_each(|guard| guard.dismiss());
    }

    /// Ends the init after a failure, and takes away what would outlive it in a namespace that is joined.
    pub fn undo(&mut self, process: Option<&Process>, error: Error) -> Error {
        process.iter().for_each(|process| process.kill_and_reap(&self.plan.cgroup));
        let error = match self.interrupt {
            Some(interrupt) if error.code() == Errno::ECANCELED => interrupt.error().unwrap_or(error),
            _ => error,
        };
        match self.guard.take().map(Guard::call) {
            Some(Err(other)) => error.note(other.to_string()),
            _ => error,
        }
    }

    /// The descriptors that the init keeps while it sets itself up; all others are closed before anybody sees it.
    fn descriptors_of_init(&self, channel: &Channel) -> Vec<i32> {
        let (console, outlet, opened) = (self.console.take(), self.outlet.take(), self.opened.borrow());
        let mut own: Vec<BorrowedFd> = opened.iter().map(AsFd::as_fd).collect();
        own.push(channel.as_fd());
        own.extend(outlet.iter().map(AsFd::as_fd));
        own.extend(console.iter().map(|console| console.socket.as_fd()));
        own.extend(self.guard.get().map(AsFd::as_fd));
        own.extend(self.trace.map(AsFd::as_fd));
        own.extend(self.plan.maps.iter().filter_map(|namespace| namespace.descriptor()));
        let nodes = self.plan.nodes.as_ref().and_then(|store| store.descriptor());
        let numbers = (0..3 + self.plan.preserved).chain(own.iter().map(AsRawFd::as_raw_fd)).chain(nodes).collect();
        self.console.set(console);
        self.outlet.set(outlet);
        numbers
    }

    fn post_guard(&self) -> Result<()> {
        let opened = self.opened.borrow();
        let Some(mounts) = Opened::find(&opened, CloneFlags::CLONE_NEWNS) else { return Ok(()) };
        Guard::post(mounts).map(|guard| drop(self.guard.set(guard)))
    }

    fn parent_step(&self, action: &Action, process: Option<&Process>, channel: Option<&Channel>) -> Result<()> {
        let result = self.act(action, process, channel);
        match (result, process) {
            (Err(error), Some(process)) if matches!(action.verb(), "unit" | "cgroup") => {
                Err(self.unless_the_init_failed(error, process))
            }
            (result, _) => result,
        }
    }

    fn act(&self, action: &Action, process: Option<&Process>, channel: Option<&Channel>) -> Result<()> {
        let (process, channel) = (process.ok_or(()), channel.ok_or(()));
        match (action, process, channel) {
            (Action::MakeCgroupV1(step), ..) => step.run(),
            (Action::MakeCgroupV2(step), ..) => step.run(),
            (Action::StartUnit(step), Ok(process), _) => step.run(process.pid),
            (Action::GiveCgroup(step), ..) => step.run(),
            (Action::Join(step), Ok(process), _) => step.run_for(process.pid),
            (Action::Limit(step), ..) => step.run(),
            (Action::DevicesV1(step), ..) => step.run(),
            (Action::DevicesV2(step), ..) => step.run().map(drop),
            (Action::Resctrl(step), Ok(process), _) => step.run(process.pid),
            (Action::Open(step), ..) => step.run().map(|opened| self.opened.borrow_mut().push(opened)),
            (Action::NewTime(step), ..) => step.run(),
            (Action::WriteMap(step), Ok(process), _) => step.run(process.pid),
            (Action::MoveLink(step), Ok(process), _) => step.run(process.pid, &self.opened.borrow()),
            (Action::OomScoreAdj(step), Ok(process), _) => step.run_for(process.pid),
            (Action::GiveStreams(step), ..) => {
                step.run();
                Ok(())
            }
            (Action::MakeUserNamespace(step), ..) => step.run(),
            (Action::CreateNodes(step), ..) => step.run(),
            (Action::OpenSources(step), Ok(process), Ok(channel)) => sources::open(step, process.pid, channel),
            (Action::Record(_), Ok(process), _) => (self.record)(process.pid, process.fd.as_fd()),
            (Action::Release(_), _, Ok(channel)) => channel.release(),
            (Action::AwaitMounts(_), Ok(process), Ok(channel)) => self.await_mounts(process, channel),
            (Action::Hook(hook), Ok(process), _) => {
                let interrupt = self.interrupt.map(AsFd::as_fd);
                hook.run(&(self.state_for)(hook.kind, process.pid), Some(self.bundle), interrupt)
            }
            (Action::AwaitReady(_), Ok(process), Ok(channel)) => self.await_ready(process, channel),
            _ => Err(Error::new(format!("the plan has \"{action}\" in the wrong place"))),
        }
    }

    /// A process that is dead is in no cgroup, and the unit that systemd made for it is gone: why it died says
    /// more than that.
    fn unless_the_init_failed(&self, error: Error, process: &Process) -> Error {
        let mut exited = [PollFd::new(process.fd.as_fd(), PollFlags::POLLIN)];
        match poll(&mut exited, 1u8) {
            Ok(1..) => self.failure(process),
            _ => self.page.reported().map_or(error, |error| self.believed(error)),
        }
    }

    /// Why the init is gone, or is about to be.
    fn failure(&self, process: &Process) -> Error {
        match self.page.reported() {
            Some(error) => self.believed(error),
            None => death::before_the_program(process, self.plan),
        }
    }

    fn believed(&self, error: Error) -> Error {
        match self.fault {
            Some(fault) if fault.is_kill(&error) => Fault::kill_myself(),
            _ => error,
        }
    }

    /// Waits until the init has made the mounts.
    fn await_mounts(&self, process: &Process, channel: &Channel) -> Result<()> {
        match channel.receive()? {
            FromInit::Mounted => Ok(()),
            FromInit::Closed => Err(self.failure(process)),
        }
    }

    /// Waits until the init waits for `start`, or has executed the program.
    fn await_ready(&self, process: &Process, channel: &Channel) -> Result<()> {
        channel.await_close(&mut || match self.waits_for_start() {
            true => Ok(self.page.phase() != Phase::SettingUp),
            false => match has_executed(process.pid) {
                // The process is gone.
                Err(error) if matches!(error.code(), Errno::ENOENT | Errno::ESRCH) => Ok(true),
                executed => executed.map_err(|error| error.code()),
            },
        })?;
        let mut watch = Watch {
            pid: process.pid,
            process: process.fd.as_fd(),
            page: &self.page,
            outlet: self.goes_on.as_ref().and_then(|goes_on| goes_on.outlet.take()),
            hooks: &self.plan.start_hooks,
            denies_execve: self.plan.denies_execve,
            interrupt: self.interrupt.map(AsFd::as_fd),
            cgroup: &self.plan.cgroup,
        };
        let mut handed = false;
        let mut listener = || {
            // Once: what the init says later may be somebody else's words.
            handed = handed || self.hand_over_listener(process)?;
            Ok(())
        };
        let watched = match self.waits_for_start() {
            true => watch.until_waiting(&mut listener),
            false => watch.until_executed(&mut listener),
        };
        watched.map_err(|ended| match ended {
            Ended::Failed(error) => self.believed(error),
            Ended::Died => death::before_the_program(process, self.plan),
        })
    }

    /// Takes the descriptor of the filter, once it is installed, to whoever listens; the init waits so long. The number is
    /// the init's, which may be in others' hands: nothing but such a descriptor is taken.
    fn hand_over_listener(&self, process: &Process) -> Result<bool> {
        let (Some(to), Some(number)) = (&self.plan.listener, self.page.listener()) else { return Ok(false) };
        let descriptor = seccomp::descriptor_of(&process.fd, number).what(|| "take the filter's descriptor");
        let handed = descriptor.and_then(|descriptor| match seccomp::is_listener(&descriptor) {
            true => (self.hand_over)(process.pid, descriptor, to),
            false => Err(Error::new("the container's first process has no listener of a filter")),
        });
        handed.map_err(|error| error.from_property(Pointer::new("/linux/seccomp")))?;
        self.page.set_taken();
        Ok(true)
    }
}

impl Process {
    /// Ends it, whatever it does and wherever it stands still, and takes its status.
    pub(crate) fn kill_and_reap(&self, cgroup: &[Directory]) {
        let _ = pidfd::send_signal(&self.fd, libc::SIGKILL);
        kill::thaw(cgroup);
        let _ = kill::wait_for_exit(&self.fd).and_then(|()| self.wait());
    }

    /// Waits for its exit and takes its status, as a shell tells it: 128 and the number for a signal.
    pub fn wait(&self) -> Result<i32> {
        loop {
            match pidfd::wait(&self.fd) {
                Ok(Ok(code)) => return Ok(code),
                Ok(Err(signal)) => return Ok(128 + signal),
                Err(Errno::EINTR) => {}
                Err(errno) => return Err(errno).what(|| "wait for the container's process"),
            }
        }
    }
}
