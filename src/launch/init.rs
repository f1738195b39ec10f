//! The init's lane: from its birth to the container's program.

use std::cell::{OnceCell, RefCell};
use std::ffi::{CStr, CString};
use std::mem::take;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::stat::{Mode, umask};
use nix::unistd::{fchdir, getpid};

use super::channel::Channel;
use super::confine::{Confine, PARENT_PATIENCE, wait_for_start};
use super::exit_reason::no_execve;
use super::fault::Way;
use super::lane::Lane;
use super::parent::Parent;
use super::rollback::Rollback;
use super::start_page::{Phase, StartPage};
use super::{Launch, signals};
use crate::error::{Context, Error, ErrorKind, Result};
use crate::plan::init_lane::init_lane;
use crate::plan::notify::NotifyMount;
use crate::plan::step::INIT;
use crate::plan::{InitAction, Plan};
use crate::process::exec::{Prepared, WorkingDirectory};
use crate::process::home::{self, Home};
use crate::process::hook::Hook;
use crate::process::identity::{Capabilities, User};
use crate::process::join::{Enter, EnterContainer, Opened};
use crate::process::limits::Rlimit;
use crate::process::start_hook::StartHook;
use crate::process::terminal::Terminal;
use crate::rootfs::enter_tree::EnterTree;
use crate::rootfs::mount::Mount;
use crate::rootfs::root::BindRoot;
use crate::rootfs::{self, Rootfs};
use crate::seccomp::step::Install;
use crate::sys;
use crate::sys::allocator;
use crate::sys::child::{InChild, PidCell};
use crate::sys::helper_thread;
use crate::types::hooks::Kind;

/// In a trace: a root that could not be entered alone, and why.
const COPIED: &str = "in a copy of the host's mounts after all";
const UNBOUND: &str = "the plan uses the rootfs before it is bound";

/// The init while it sets itself up.
struct Init<'a> {
    child: InChild,
    launch: &'a Launch<'a>,
    /// The namespaces to join.
    opened: &'a RefCell<Vec<Opened>>,
    /// Who is shown the root in a joined mount namespace.
    rollback: &'a OnceCell<Rollback>,
    /// Closed as soon as code of the image can run beside it.
    channel: Option<Channel<'static>>,
    page: StartPage,
    /// Where code of the image can look: the one descriptor that it keeps then.
    outlet: Option<OwnedFd>,
    rootfs: Option<Rootfs>,
    /// The working directory that ferrun itself may not enter.
    denied: Option<&'a WorkingDirectory>,
    allocated: Allocated<'a>,
    /// The startContainer hooks, as execve(2) takes them: allocated before limits are set.
    hooks: OnceCell<Vec<StartHook<'static>>>,
    capabilities: Option<&'a Capabilities>,
    filter: Option<&'a Install>,
    /// Whether the filter is still to be installed, as the last thing of all.
    unfiltered: bool,
    /// Where the pid of the process is written that it goes on in.
    cell: &'a OnceCell<PidCell>,
}

/// Memory that the parent allocates for the init. A page that the init writes to is copied first, and with a small limit on
/// memory there may be none, so that the init itself allocates only for what is rare.
pub struct Allocated<'a> {
    /// The program, as execve(2) takes it.
    program: Option<Prepared<'a>>,
    rootfs: rootfs::Room,
    /// Room to look up HOME.
    home: Vec<u8>,
}

impl<'a> Allocated<'a> {
    /// What a plan needs.
    pub fn for_init(plan: &'a Plan) -> Allocated<'a> {
        let program = plan.program.as_ref().map(|program| program.prepare());
        let rootfs = rootfs::Room::new(plan.kept, plan.devices);
        Allocated { program, rootfs, home: Vec::with_capacity(home::ROOM) }
    }
}

/// Runs the init's lane. Never returns: it becomes the program, or leaves on the start page what failed and ends.
///
/// Its first act is to let go of what is not its own: of all that ferrun or its caller has open but for `own`, and of what
/// they do with signals.
pub fn main(child: InChild, parent: &Parent, channel: Channel<'static>, own: &[i32], allocated: Allocated) -> ! {
    allocator::count_anew();
    let launch = parent.launch;
    let closed =
        child.close_from(launch.plan.handed_on(), own.iter().copied(), ()).what(|| "close what is not the init's");
    sys::program::default_signals();
    // Until the program: a hook need not read its input.
    sys::program::ignore_sigpipe(true);
    // What the parent has gathered is the parent's to write; this is a copy.
    launch.trace.iter().for_each(|trace| trace.forget());
    let page = launch.means.page.for_init();
    page.set_begun();
    let mut init = Init {
        child,
        launch,
        opened: &parent.opened,
        rollback: &parent.rollback,
        channel: Some(channel),
        page,
        outlet: launch.means.outlet.take(),
        rootfs: None,
        denied: None,
        allocated,
        hooks: OnceCell::new(),
        capabilities: None,
        filter: None,
        unfiltered: false,
        cell: &parent.cell,
    };
    if let Err(error) = closed {
        init.fail(&error);
    }
    let first = launch.plan.parent.len() + 1;
    let mut lane = Lane { name: INIT, first, trace: launch.trace, fault: launch.fault };
    for (index, step) in launch.plan.init.iter().enumerate() {
        let last = matches!(step.action, InitAction::Ready(_) | InitAction::Execute(_));
        if let Err(error) = lane.timed(index, step, last, || init.act(&step.action)) {
            init.fail(&launch.plan.explained(error, &step.action));
        }
        if matches!(step.action, InitAction::Ready(_)) {
            // Its file is closed where code of the image can look.
            lane.trace = lane.trace.filter(|_| !init.is_watched());
            if launch.waits_for_start() {
                // There is no parent to kill any more.
                lane.fault = lane.fault.filter(|fault| fault.way != Way::Kill);
            }
        }
    }
    sys::program::exit(1)
}

/// Defines how each step is run.
macro_rules! dispatch {
    ($lane:ident: $($(#[$doc:meta])* $name:ident($inner:ty) = $verb:literal, |$step:ident, $init:ident| $run:expr;)*) => {
        impl<'a> Init<'a> {
            #[allow(unused_variables)] // most steps need nothing of the lane, some nothing of the step
            fn act(&mut self, action: &'a $lane) -> Result<()> {
                match action {
                    $($lane::$name($step) => {
                        let $init = self;
                        $run
                    })*
                }
            }
        }
    };
}
init_lane!(dispatch);

impl<'a> Init<'a> {
    fn enter(&self, namespaces: &Enter) -> Result<()> {
        namespaces.run(&self.opened.borrow())
    }

    fn enter_container(&mut self, namespaces: &EnterContainer) -> Result<()> {
        let Some(target) = self.launch.target else {
            return Err(Error::new("the plan enters a container that is not given"));
        };
        namespaces.run(&target.init, &target.root)?;
        self.rootfs = Some(Rootfs::of_this_process()?);
        Ok(())
    }

    /// Goes on in a process that is in the container's pid namespace.
    fn cross(&self) -> Result<()> {
        let Some(cell) = self.cell.get() else {
            return Err(Error::new("the plan goes on in a process that nobody waits for"));
        };
        let crossed = self.child.go_on_in_sibling(cell);
        crossed.what(|| "create a process in the container's pid namespace").map_err(|error| match error.code() {
            Errno::EAGAIN => error.hint("pids.max, or RLIMIT_NPROC of its user, leaves room for no process"),
            Errno::ENOMEM => error.hint("a pid namespace whose first process has ended takes no other"),
            _ => error,
        })
    }

    /// Makes no system call: the filter is on, and the process no more ferrun's alone.
    fn await_parent(&self) -> Result<()> {
        helper_thread::spin_until_taken(self.page.proceed_word(), PARENT_PATIENCE);
        Ok(())
    }

    fn await_start(&self) -> Result<()> {
        if self.launch.waits_for_start() {
            wait_for_start(&self.page);
        }
        Ok(())
    }

    fn bind_root(&mut self, root: &BindRoot) -> Result<()> {
        let room = take(&mut self.allocated.rootfs);
        let rootfs = self.rootfs.insert(root.run()?.with(room));
        self.rollback.get().map_or(Ok(()), |rollback| rollback.pass_root(rootfs.root()))
    }

    fn enter_tree(&mut self, tree: &EnterTree) -> Result<()> {
        let room = take(&mut self.allocated.rootfs);
        let copied = |why: Error| {
            if let Some(trace) = self.launch.trace {
                trace.remark(INIT, "bind", &format!("{COPIED}: {why}"));
            }
        };
        self.rootfs = Some(tree.run(copied)?.with(room));
        Ok(())
    }

    fn mount(&mut self, mount: &Mount) -> Result<()> {
        if mount.handed {
            self.take_source()?;
        }
        // It may take the place of the root.
        mount.run(self.rootfs_mut()?)
    }

    fn mount_notify(&mut self, NotifyMount(mount): &NotifyMount) -> Result<()> {
        self.mount(mount).map_err(|error| error.of_variable("NOTIFY_SOCKET"))
    }

    fn limit(&mut self, limit: &Rlimit) -> Result<()> {
        // Afterwards there may be no memory for it.
        self.prepare_hooks();
        limit.run()
    }

    fn look_up_home(&mut self, home: &Home) -> Result<()> {
        let room = take(&mut self.allocated.home);
        let entry = home.run(self.rootfs()?, room);
        if let Some(program) = &mut self.allocated.program {
            program.add(entry);
        }
        Ok(())
    }

    fn become_user(&mut self, user: &User) -> Result<()> {
        user.run()?;
        self.work_in_as_user()
    }

    fn set_capabilities(&mut self, capabilities: &'a Capabilities) -> Result<()> {
        self.capabilities = Some(capabilities);
        capabilities.run()
    }

    /// Keeps the filter for when all is set up.
    fn keep_filter(&mut self, filter: &'a Install) {
        (self.filter, self.unfiltered) = (Some(filter), true);
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
        self.rootfs.as_ref().ok_or_else(|| Error::new(UNBOUND))
    }

    fn rootfs_mut(&mut self) -> Result<&mut Rootfs> {
        self.rootfs.as_mut().ok_or_else(|| Error::new(UNBOUND))
    }

    /// The host's root directory, if that is no longer the init's own.
    fn host_root(&self) -> Option<BorrowedFd<'_>> {
        self.rootfs.as_ref().and_then(Rootfs::host_root)
    }

    /// The socket is closed afterwards, so that nothing of it is left while the init waits for `start`.
    fn terminal(&self, terminal: &Terminal) -> Result<()> {
        let console = self.launch.console.take().ok_or_else(|| Error::new("nobody takes the terminal"))?;
        terminal.run(self.rootfs()?, &console)
    }

    fn channel(&self) -> &Channel<'static> {
        // Plans have no step that talks to the parent after the one that closes the channel.
        self.channel.as_ref().unwrap_or_else(|| sys::program::exit(1))
    }

    /// Waits for the parent; one that is gone takes the init with it.
    fn wait(&self) -> Result<()> {
        if self.channel().await_release() { Ok(()) } else { sys::program::exit(1) }
    }

    /// Takes the source of a bind from the parent, at whose end it is opened now.
    fn take_source(&self) -> Result<()> {
        if !self.channel().ask_for_source() {
            sys::program::exit(1);
        }
        let source = self.channel().take_source().what(|| "take the source of a bind")?;
        self.rootfs()?.hand(source.unwrap_or_else(|| sys::program::exit(1)));
        Ok(())
    }

    /// Says that it is time for the parent's hooks.
    fn mounted(&self) -> Result<()> {
        if self.channel().mounted() { Ok(()) } else { sys::program::exit(1) }
    }

    /// Runs a hook in the container's namespaces. One of `createContainer` begins in the container's root,
    /// as by runc, and with the usual umask instead of the init's own, which is 0.
    fn hook(&self, hook: &Hook) -> Result<()> {
        let result = match hook.kind {
            Kind::StartContainer => self.start_hook(hook.index),
            _ => self.create_hook(hook),
        };
        // Whatever failed: it is the hook that has not run.
        result.map_err(|error| error.of_kind(ErrorKind::Hook))
    }

    fn create_hook(&self, hook: &Hook) -> Result<()> {
        let state = self.launch.container.state_for(hook.kind, getpid());
        fchdir(self.rootfs()?.root()).what(|| "enter the rootfs")?;
        let own = umask(Mode::from_bits_truncate(0o022));
        let result = hook.run(&state, None, None);
        umask(own);
        result
    }

    fn start_hook(&self, index: usize) -> Result<()> {
        let hook = self.hooks.get().and_then(|hooks| hooks.get(index));
        let (Some(hook), Some(outlet)) = (hook, &self.outlet) else {
            return Err(Error::new("the plan has a hook that was not prepared"));
        };
        self.page.set_hook(Some(index));
        let report = |error: &Error| self.page.report(error);
        let result = hook.run(self.filter, outlet.as_fd(), self.launch.plan.preserved, &report);
        if self.page.reported().is_some() {
            // The hook's own process knows more than its status says.
            sys::program::exit(1);
        }
        result.map(|()| self.page.set_hook(None))
    }

    /// A hook of `startContainer` without an environment gets the program's, with the HOME that was looked up,
    /// as by runc, on which people rely (the spec does not say so).
    fn environment(&self, hook: &Hook) -> Vec<CString> {
        hook.env.clone().unwrap_or_else(|| {
            let program = self.launch.plan.program.as_ref();
            let env = program.map_or_else(Vec::new, |program| program.env.clone());
            let home = self.allocated.program.as_ref().and_then(Prepared::added);
            env.into_iter().chain(home.map(CStr::to_owned)).collect()
        })
    }

    /// Allocates what is needed to execute the hooks, which are given the init's pid.
    fn prepare_hooks(&self) {
        self.hooks.get_or_init(|| {
            let state = |hook: &Hook| self.launch.container.state_for(hook.kind, getpid());
            let start_hooks = self.launch.plan.start_hooks.iter();
            start_hooks.map(|hook| StartHook::new(hook.clone(), self.environment(hook), state(hook))).collect()
        });
    }

    /// Whether code of the image can run while this process is still ferrun, or it waits until somebody starts it.
    fn is_watched(&self) -> bool {
        self.outlet.is_some()
    }

    /// Makes itself fit to be looked at, says so by closing the channel, and after `create` waits for `start`. That the
    /// program is there is looked at before, so that `create` reports it.
    fn ready(&mut self) -> Result<()> {
        self.prepare_hooks();
        if self.is_watched() || self.filter.is_some() {
            // What fails under the filter cannot be explained as well.
            let program = self.allocated.program.as_mut();
            program.map_or(Ok(()), Prepared::look_up).map_err(|error| error.from_property("/process/args"))?;
        }
        if !self.channel().has_parent() {
            sys::program::exit(1);
        }
        sys::program::ignore_sigpipe(false);
        if self.is_watched() || self.launch.plan.joins_pid_namespace {
            // The engine's environment is not the container's to read.
            sys::program::forget_arguments();
        }
        signals::unblock_all().what(|| "set the signal mask")?;
        self.close_all_but_the_one()?;
        if let Some(cell) = self.cell.get() {
            cell.hide().what(|| "hide the place of the pid")?;
        } else if !self.is_watched() {
            return Ok(());
        }
        self.page.set_allocated();
        let confine = Confine {
            filter: self.filter,
            capabilities: self.capabilities,
            page: &self.page,
            waits: self.launch.waits_for_start(),
            looked_at: !self.launch.plan.start_hooks.is_empty() || self.launch.plan.joins_pid_namespace,
            crosses: self.cell.get().is_some(),
        };
        self.unfiltered = !confine.run()? && self.filter.is_some();
        Ok(())
    }

    /// Leaves open the streams, what is preserved for the program, and one descriptor: where code of the image can look,
    /// that to which hooks print; else the channel.
    fn close_all_but_the_one(&mut self) -> Result<()> {
        let outlet = self.outlet.as_ref().map(AsRawFd::as_raw_fd);
        let one = outlet.or(self.channel.as_ref().map(|channel| channel.as_fd().as_raw_fd()));
        self.launch.trace.iter().for_each(|trace| trace.flush());
        // Nobody looks: the last step is still to be traced.
        let trace = self.launch.trace.filter(|_| !self.is_watched()).map(|trace| trace.as_fd().as_raw_fd());
        let given_up = (self.rootfs.take(), self.channel.take_if(|_| outlet.is_some()));
        let closed = self.child.close_from(self.launch.plan.handed_on(), one.into_iter().chain(trace), given_up);
        closed.what(|| "close the descriptors that the program must not have")
    }

    /// Becomes the program, under its filter.
    fn execute(&mut self) -> Result<()> {
        if let (true, Some(filter)) = (self.unfiltered, self.filter) {
            filter.run().map_err(|error| error.from_property("/linux/seccomp"))?;
        }
        let program = self.allocated.program.as_ref().ok_or_else(|| Error::new("the plan has no program"))?;
        self.page.set_allocated();
        self.page.set_phase(Phase::Executing);
        let failed = program.execute();
        if self.launch.plan.denies_execve {
            return Err(Error { errno: failed.errno as i32, ..no_execve() });
        }
        // What explains it makes calls that the filter may punish.
        self.page.report(&failed.named().from_property("/process/args"));
        Err(match failed.errno {
            // Every kernel has the call.
            Errno::ENOSYS => failed.named().hint("the seccomp filter says so, or the agent that it asks is gone"),
            _ => failed.explained(),
        })
    }

    /// Leaves the reason on the page, for whoever started this.
    fn fail(&self, error: &Error) -> ! {
        if !self.is_watched() || self.channel.is_some() {
            self.launch.trace.iter().for_each(|trace| trace.flush());
        }
        self.page.report(error);
        sys::program::exit(1)
    }
}
