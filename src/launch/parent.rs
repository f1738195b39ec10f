//! The parent's lane: what ferrun itself does, from before the clone until the init is ready.

use std::cell::{OnceCell, RefCell};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, poll};

use super::channel::{self, Channel, FromInit};
use super::fault::Fault;
use super::init::{self, Allocated};
use super::lane::Lane;
use super::rollback::Rollback;
use super::start_page::Phase;
use super::watch::{Ended, Watch, has_executed};
use super::{Launch, Launched, Process, bind_sources, clone, exit_reason, undo};
use crate::cgroup::freezer;
use crate::error::{Context, Error, ErrorKind, Result};
use crate::plan::ParentAction;
use crate::plan::parent_lane::parent_lane;
use crate::plan::step::{Clone, PARENT};
use crate::pointer::Pointer;
use crate::process::hook::Hook;
use crate::process::join::{Open, Opened};
use crate::rootfs::source::OpenSources;
use crate::sys::child::PidCell;
use crate::sys::seccomp;
use crate::types::namespaces::NamespaceKind;

/// The longest sleep between two looks at a process that is to end, in milliseconds.
const LONGEST_NAP: u8 = 100;
/// Time after which the parent looks for a frozen cgroup.
const PATIENCE: Duration = Duration::from_secs(10);

/// The parent while it starts a container. The init has a copy of it.
pub(super) struct Parent<'a> {
    pub launch: &'a Launch<'a>,
    /// The init, once it exists.
    process: &'a OnceCell<Process>,
    /// The process that it goes on in, in the pid namespace of others: then that is the init.
    crossed: &'a OnceCell<Process>,
    /// Where the pid of that is written.
    pub cell: OnceCell<PidCell>,
    /// The parent's end of the channel to it.
    channel: OnceCell<Channel<'a>>,
    /// The namespaces to join, as far as they are open.
    pub opened: RefCell<Vec<Opened>>,
    /// Who takes the root out of a joined mount namespace if the start fails: empty, until it is joined.
    pub rollback: OnceCell<Rollback>,
}

/// Runs the parent's lane, and in the init the init's.
pub(super) fn run<'a>(launch: &Launch<'a>) -> Result<Launched<'a>> {
    let (process, crossed) = Default::default();
    let (cell, channel, opened, rollback) = Default::default();
    let parent = Parent { launch, process: &process, crossed: &crossed, cell, channel, opened, rollback };
    let result = parent.run();
    let rollback = parent.rollback.into_inner();
    drop(parent.channel);
    let (plan, interrupt) = (launch.plan, launch.interrupt);
    match (result, crossed.into_inner().or(process.into_inner())) {
        (Ok(()), Some(process)) => Ok(Launched { process, plan, interrupt, rollback }),
        (Ok(()), None) => Err(Error::new("the plan makes no process")),
        (Err(error), process) => Err(undo(process.as_ref(), rollback, plan, interrupt, error)),
    }
}

/// Defines how each step is run.
macro_rules! dispatch {
    ($lane:ident: $($(#[$doc:meta])* $name:ident($inner:ty) = $verb:literal, |$step:ident, $parent:ident| $run:expr;)*) => {
        impl Parent<'_> {
            #[allow(unused_variables)] // most steps need nothing of the lane, some nothing of the step
            fn act(&self, action: &$lane) -> Result<()> {
                match action {
                    $($lane::$name($step) => {
                        let $parent = self;
                        $run
                    })*
                }
            }
        }
    };
}
parent_lane!(dispatch);

impl<'a> Parent<'a> {
    fn run(&self) -> Result<()> {
        let lane = Lane { name: PARENT, first: 1, trace: self.launch.trace, fault: self.launch.fault };
        let mut steps = self.launch.plan.parent.iter().enumerate();
        steps.try_for_each(|(index, step)| lane.timed(index, step, false, || self.step(&step.action)))
    }

    fn step(&self, action: &ParentAction) -> Result<()> {
        match (self.act(action), action, self.init().ok()) {
            // They report the init's failure themselves, or a hook's.
            (
                result,
                ParentAction::AwaitMounts(_) | ParentAction::AwaitCrossing(_) | ParentAction::AwaitReady(_),
                _,
            ) => result,
            (result, ParentAction::Hook(_), _) => result,
            (Err(error), _, Some(process)) => Err(self.unless_the_init_failed(error, process)),
            (result, ..) => result,
        }
    }

    fn init(&self) -> Result<&'a Process> {
        self.crossed
            .get()
            .or(self.process.get())
            .ok_or_else(|| Error::new("the plan has a step before the clone that needs the init"))
    }

    fn channel(&self) -> Result<&Channel<'a>> {
        self.channel.get().ok_or_else(|| Error::new("the plan has a step before the clone that needs the channel"))
    }

    fn open(&self, step: &Open) -> Result<()> {
        self.opened.borrow_mut().push(step.run()?);
        Ok(())
    }

    /// Creates the init, which goes on in its own lane and never comes back.
    fn create_init(&self, step: &Clone) -> Result<()> {
        let launch = self.launch;
        // Before there is a channel: its ends are ferrun's and the init's alone.
        self.begin_rollback()?;
        let (ours, theirs) = channel::pair(launch.interrupt.map(AsFd::as_fd), &launch.plan.cgroup)?;
        let (handed_on, own) = (launch.plan.handed_on(), self.descriptors_of_init(&theirs));
        if step.crosses {
            let cell = PidCell::new().what(|| clone::WHAT)?;
            self.cell.get_or_init(|| cell);
        }
        let allocated = Allocated::for_init(launch.plan);
        let init = |child| init::main(child, self, theirs, &own, allocated);
        let born = clone::create_init(step, &self.opened.borrow(), handed_on, &own, init)?;
        let process = self.process.get_or_init(|| born);
        self.channel.get_or_init(|| ours).watch(process.fd.as_fd());
        // Only the init has it now.
        drop(launch.means.outlet.take());
        launch.plan.nodes.iter().for_each(|store| store.close());
        Ok(())
    }

    /// Waits until the init has ended and goes on in another process, which is ferrun's child as well.
    fn await_crossing(&self) -> Result<()> {
        let first = self.init()?;
        let ended = self.await_end(first);
        if ended.is_err() {
            first.end(self.launch.plan);
        }
        let crossed = self.cell.get().and_then(PidCell::pid).map(clone::adopt).transpose()?;
        let Some(crossed) = crossed.map(|process| self.crossed.get_or_init(|| process)) else {
            return Err(ended.err().unwrap_or_else(|| self.failure(first)));
        };
        let listener = ended?;
        first.wait()?;
        self.channel()?.watch(crossed.fd.as_fd());
        match (listener, &self.launch.plan.listener) {
            (Some(listener), Some(to)) => {
                self.launch.container.hand_over(crossed.pid, listener, to).map_err(of_seccomp)
            }
            _ => Ok(()),
        }
    }

    /// Waits until a process has ended, unless something asks for ferrun's own end. Gives the descriptor of the filter that
    /// it has put on, if somebody is to have that.
    fn await_end(&self, process: &Process) -> Result<Option<OwnedFd>> {
        let (launch, mut listener) = (self.launch, None);
        let (mut nap, mut last_look) = (1, Instant::now());
        let interrupt = launch.interrupt.map(AsFd::as_fd);
        let mut events =
            [process.fd.as_fd(), interrupt.unwrap_or(process.fd.as_fd())].map(|fd| PollFd::new(fd, PollFlags::POLLIN));
        loop {
            if listener.is_none() {
                let taken = self.take_listener(process);
                listener = taken.map_err(|error| self.unless_the_init_failed(error, process))?;
                listener.iter().for_each(|_| launch.means.page.set_taken());
            }
            let awaits_listener = launch.plan.listener.is_some() && listener.is_none();
            match poll(&mut events, if awaits_listener { nap } else { LONGEST_NAP }) {
                Ok(0) => nap = (nap * 2).min(LONGEST_NAP),
                Ok(_) if events[0].any().unwrap_or(true) => return Ok(listener),
                Ok(_) => return Err(Error::new(clone::WHAT).of_kind(ErrorKind::Interrupted)),
                Err(Errno::EINTR) => {}
                Err(errno) => return Err(errno).what(|| clone::WHAT),
            }
            // A further process waits as long as its container is paused.
            if last_look.elapsed() > PATIENCE && !launch.plan.is_further {
                freezer::refuse_frozen(&launch.plan.cgroup)?;
                last_look = Instant::now();
            }
        }
    }

    fn proceed(&self) -> Result<()> {
        self.launch.means.page.set_proceed();
        Ok(())
    }

    fn open_sources(&self, step: &OpenSources) -> Result<()> {
        bind_sources::open(step, self.init()?.pid, self.channel()?)
    }

    fn record(&self) -> Result<()> {
        let process = self.init()?;
        self.launch.container.record(process.pid, process.fd.as_fd())
    }

    fn hook(&self, hook: &Hook) -> Result<()> {
        let (launch, process) = (self.launch, self.init()?);
        let state = launch.container.state_for(hook.kind, process.pid);
        hook.run(&state, Some(launch.container.bundle()), launch.interrupt.map(AsFd::as_fd))
    }

    /// The descriptors of ferrun's that the init keeps while it sets itself up; all others are closed before anybody sees
    /// it.
    fn descriptors_of_init(&self, channel: &Channel) -> Vec<i32> {
        let (launch, opened) = (self.launch, self.opened.borrow());
        let (console, outlet) = (launch.console.take(), launch.means.outlet.take());
        let mut own: Vec<BorrowedFd> = opened.iter().map(AsFd::as_fd).collect();
        own.push(channel.as_fd());
        own.extend(outlet.iter().map(AsFd::as_fd));
        own.extend(console.iter().map(|console| console.socket.as_fd()));
        own.extend(self.rollback.get().map(AsFd::as_fd));
        own.extend(launch.trace.map(AsFd::as_fd));
        own.extend(launch.target.iter().flat_map(|target| [target.init.as_fd(), target.root.as_fd()]));
        own.extend(launch.plan.maps.iter().filter_map(|namespace| namespace.descriptor()));
        let nodes = launch.plan.nodes.as_ref().and_then(|store| store.descriptor());
        let numbers = own.iter().map(AsRawFd::as_raw_fd).chain(nodes).collect();
        launch.console.set(console);
        launch.means.outlet.set(outlet);
        numbers
    }

    fn begin_rollback(&self) -> Result<()> {
        let opened = self.opened.borrow();
        let Some(mounts) = Opened::find(&opened, NamespaceKind::Mount) else { return Ok(()) };
        Rollback::begin(mounts).map(|rollback| drop(self.rollback.set(rollback)))
    }

    /// A process that is dead is in no cgroup and has no namespaces, and the unit that systemd made for it is gone: why it
    /// died says more than that.
    fn unless_the_init_failed(&self, error: Error, process: &Process) -> Error {
        let mut exited = [PollFd::new(process.fd.as_fd(), PollFlags::POLLIN)];
        match poll(&mut exited, 1u8) {
            Ok(1..) => self.failure(process),
            _ => self.launch.means.page.reported().map_or(error, |error| self.believed(error)),
        }
    }

    /// Why the init is gone, or is about to be.
    fn failure(&self, process: &Process) -> Error {
        match self.launch.means.page.reported() {
            Some(error) => self.believed(error),
            None => self.died(process),
        }
    }

    fn died(&self, process: &Process) -> Error {
        // What has crossed has begun, whatever somebody may have written to the page since.
        let begun = self.crossed.get().is_some() || self.launch.means.page.has_begun();
        exit_reason::before_the_program(process, self.launch.plan, begun)
    }

    fn believed(&self, error: Error) -> Error {
        match self.launch.fault {
            Some(fault) if fault.is_kill(&error) => Fault::kill_myself(),
            _ => error,
        }
    }

    /// Waits until the init has made the mounts.
    fn await_mounts(&self) -> Result<()> {
        match self.channel()?.receive()? {
            FromInit::Mounted => Ok(()),
            FromInit::Closed => Err(self.failure(self.init()?)),
        }
    }

    /// Waits until the init waits for `start`, or has executed the program.
    fn await_ready(&self) -> Result<()> {
        let (launch, process) = (self.launch, self.init()?);
        let page = &launch.means.page;
        self.channel()?.await_close(&mut || match launch.waits_for_start() {
            true => Ok(page.phase() != Phase::SettingUp),
            false => match has_executed(process.pid) {
                // The process is gone.
                Err(error) if matches!(error.code(), Errno::ENOENT | Errno::ESRCH) => Ok(true),
                executed => executed,
            },
        })?;
        let mut watch = Watch {
            pid: process.pid,
            process: process.fd.as_fd(),
            page,
            outlet: launch.means.goes_on.as_ref().and_then(|goes_on| goes_on.outlet.take()),
            hooks: &launch.plan.start_hooks,
            denies_execve: launch.plan.denies_execve,
            interrupt: launch.interrupt.map(AsFd::as_fd),
            cgroup: &launch.plan.cgroup,
        };
        // That of a process that came from elsewhere is handed over already.
        let mut handed = self.crossed.get().is_some();
        let mut listener = || {
            // Once: what the init says later may be somebody else's words.
            handed = handed || self.hand_over_listener(process)?;
            Ok(())
        };
        let watched = match launch.waits_for_start() {
            true => watch.until_waiting(&mut listener),
            false => watch.until_executed(&mut listener),
        };
        launch.trace.iter().for_each(|trace| trace.allocated(page.allocated()));
        watched.map_err(|ended| match ended {
            Ended::Failed(error) => self.believed(error),
            Ended::Died => self.died(process),
        })
    }

    /// Takes the descriptor of the filter, once it is installed, to whoever listens; the init waits so long.
    fn hand_over_listener(&self, process: &Process) -> Result<bool> {
        let (Some(to), Some(listener)) = (&self.launch.plan.listener, self.take_listener(process)?) else {
            return Ok(false);
        };
        self.launch.container.hand_over(process.pid, listener, to).map_err(of_seccomp)?;
        self.launch.means.page.set_taken();
        Ok(true)
    }

    /// The descriptor of the filter. The number is the init's, which may be in others' hands: nothing but such a descriptor
    /// is taken.
    fn take_listener(&self, process: &Process) -> Result<Option<OwnedFd>> {
        let (plan, page) = (self.launch.plan, &self.launch.means.page);
        let (Some(_), Some(number)) = (&plan.listener, page.listener()) else { return Ok(None) };
        let descriptor = seccomp::descriptor_of(&process.fd, number).what(|| "take the filter's descriptor");
        match descriptor.map_err(of_seccomp)? {
            listener if seccomp::is_listener(&listener) => Ok(Some(listener)),
            _ => Err(of_seccomp(Error::new("the container's first process has no listener of a filter"))),
        }
    }
}

fn of_seccomp(error: Error) -> Error {
    error.from_property(Pointer::new("/linux/seccomp"))
}
