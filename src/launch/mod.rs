//! Running a plan: the clone, the two lanes, and the word between parent and init.

mod birth;
mod channel;
mod death;
pub mod fault;
pub mod gate;
mod guard;
mod init;
mod lane;
pub mod notify;
pub mod probe;
pub mod relay;
pub mod self_exe;
pub mod signals;
mod sources;
pub mod trace;

use std::cell::{Cell, OnceCell, RefCell};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use nix::errno::Errno;
use nix::sched::CloneFlags;
use nix::sys::signal::SigSet;
use nix::unistd::Pid;

use crate::cgroup::directory::Directory;
use crate::cgroup::kill;
use crate::error::{Context, Error, Result};
use crate::plan::{Action, Plan, Step};
use crate::process::hook::Kind;
use crate::process::join::Opened;
use crate::process::terminal::Console;
use crate::seccomp::profile::Listener;
use crate::sys::clone::Side;
use crate::sys::seccomp::{self, SharedNumber};
use crate::sys::{self, pidfd};
use channel::{Channel, FromInit};
use fault::Fault;
use gate::Gate;
use guard::Guard;
use lane::Lane;
use signals::Interrupt;
use trace::{PARENT, Trace};

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
    /// Where the init waits for `start`; none: it goes on to the program at once.
    pub gate: Option<Gate>,
    /// The signal mask of the container's program.
    pub signal_mask: SigSet,
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
    /// Where the init tells the number of that descriptor.
    pub listener: Option<SharedNumber>,
    /// Who takes the root out of a joined mount namespace if the start fails: empty, until it is joined.
    pub guard: OnceCell<Guard>,
}

/// What the parent makes of that number once the descriptor is handed over.
const TAKEN: i32 = -2;

impl Launch<'_> {
    /// Runs the plan. On return the init has executed the program, or waits at the gate; the caller tells by
    /// [`Launch::keep`] or [`Launch::undo`] whether that is to stay so.
    ///
    /// # Errors
    /// The step that failed, in either lane. The init is then gone; what was made on the host (cgroups)
    /// is for the caller to remove.
    pub fn run(&mut self) -> Result<Process> {
        if self.listener_step().is_some() {
            self.listener = Some(SharedNumber::new().what(|| "make memory for a number")?);
        }
        sys::program::default_sigchld().what(|| "set SIGCHLD to its default action")?;
        let (mut channel, mut process) = (None::<Channel>, None::<Process>);
        let lane = Lane { name: PARENT, first: 1, trace: self.trace, fault: self.fault };
        for (index, step) in self.plan.parent.iter().enumerate() {
            let result = lane.timed(index, step, || {
                let Action::Clone(clone) = &step.action else {
                    return self.parent_step(&step.action, process.as_ref(), channel.as_ref());
                };
                // Before there is a channel: its ends are ferrun's and the init's alone.
                self.post_guard()?;
                let (ours, theirs) = channel::pair(self.interrupt.map(AsFd::as_fd), &self.plan.cgroup)?;
                match birth::birth(clone, &self.opened.borrow())? {
                    Side::Child => {
                        drop(ours);
                        init::main(self, theirs)
                    }
                    Side::Parent(pid, fd) => {
                        channel = Some(ours);
                        process = Some(Process { pid, fd });
                        Ok(())
                    }
                }
            });
            if let Err(error) = result {
                return Err(self.undo(process.as_ref(), error));
            }
        }
        drop(self.gate.take());
        process.ok_or_else(|| Error::new("the plan makes no process"))
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

    fn post_guard(&self) -> Result<()> {
        let opened = self.opened.borrow();
        let Some(mounts) = Opened::find(&opened, CloneFlags::CLONE_NEWNS) else { return Ok(()) };
        Guard::post(mounts).map(|guard| drop(self.guard.set(guard)))
    }

    fn parent_step(&self, action: &Action, process: Option<&Process>, channel: Option<&Channel>) -> Result<()> {
        let result = self.act(action, process, channel);
        match (result, process, channel) {
            (Err(error), Some(process), Some(channel)) if matches!(action.verb(), "unit" | "cgroup") => {
                self.unless_the_init_failed(error, process, channel)
            }
            (result, ..) => result,
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
    fn unless_the_init_failed(&self, error: Error, process: &Process, channel: &Channel) -> Result<()> {
        if !channel.has_word() {
            return Err(error);
        }
        match channel.receive()? {
            FromInit::Failed(error) => Err(error),
            FromInit::KillMe => Fault::kill_myself(),
            FromInit::Closed => Err(death::during_set_up(process, self.plan)),
            _ => Err(error),
        }
    }

    /// Waits until the init has made the mounts.
    fn await_mounts(&self, process: &Process, channel: &Channel) -> Result<()> {
        match channel.receive()? {
            FromInit::Mounted => Ok(()),
            FromInit::Failed(error) => Err(error),
            FromInit::KillMe => Fault::kill_myself(),
            FromInit::Closed => Err(death::during_set_up(process, self.plan)),
            FromInit::Ready | FromInit::Listener => {
                Err(Error::new("the plan makes the init ready before the hooks have run"))
            }
        }
    }

    /// Waits until the init is ready; without a gate, until it has executed the program: the channel
    /// then closes by itself.
    fn await_ready(&self, process: &Process, channel: &Channel) -> Result<()> {
        if self.gate.is_none() && self.listener.is_none() {
            // It comes to its end by itself: to be woken up by its words would cost a change of context each.
            channel.await_close()?;
        }
        let mut ready = false;
        loop {
            match channel.receive()? {
                FromInit::Ready if self.gate.is_some() => return Ok(()),
                FromInit::Ready => ready = true,
                FromInit::Mounted => return Err(Error::new("the plan has nobody to wait for the mounts")),
                FromInit::Listener => {
                    if self.hand_over_listener(process, channel)? {
                        if self.gate.is_some() {
                            return Ok(());
                        }
                        ready = true;
                    }
                }
                FromInit::Failed(error) => return Err(error),
                FromInit::KillMe => Fault::kill_myself(),
                FromInit::Closed if ready => return Ok(()),
                FromInit::Closed => return Err(death::during_set_up(process, self.plan)),
            }
        }
    }
}

impl Launch<'_> {
    fn listener_step(&self) -> Option<(&Step, &Listener)> {
        self.plan.init.iter().find_map(|step| match &step.action {
            Action::Seccomp(filter) => filter.listener.as_ref().map(|listener| (step, listener)),
            _ => None,
        })
    }

    /// Takes the descriptor of the filter that the init installs to whoever listens; the init waits so long.
    /// False: there will be none, and the init says why.
    fn hand_over_listener(&self, process: &Process, channel: &Channel) -> Result<bool> {
        let (Some(number), Some((step, listener))) = (&self.listener, self.listener_step()) else { return Ok(false) };
        while number.get() < 0 {
            if channel.has_word() {
                return Ok(false);
            }
        }
        let descriptor = seccomp::descriptor_of(&process.fd, number.get()).what(|| "take the filter's descriptor");
        let handed = descriptor.and_then(|descriptor| (self.hand_over)(process.pid, descriptor, listener));
        handed.map_err(|error| step.from.iter().fold(error, Error::from_property))?;
        number.set(TAKEN);
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
