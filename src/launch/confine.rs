//! Puts the init under the container's filter, with no rights but the program's, while code of the image may already run
//! beside it.
//!
//! Without no_new_privs the installation needs CAP_SYS_ADMIN. Where the filter allows it, the init drops that by
//! capset(2) afterwards, and waits by futex(2): two calls of ferrun's own under the filter, which every engine's profile
//! allows. For other profiles a helper thread, which alone keeps CAP_SYS_ADMIN, installs the filter once the init has
//! given up its rights and waits already; then execve(2) is the only call that is left under it.

use std::mem::forget;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::{Acquire, Release};

use nix::errno::Errno;

use super::start_page::{Phase, StartPage};
use crate::error::{Context, Error, Result};
use crate::process::identity::Capabilities;
use crate::seccomp::own_calls::{
    CLOSE_LISTENER, DROP_CAPABILITY, END_THREAD, OwnCall, WAIT_FOR_START, WAKE, allow_crossing,
};
use crate::seccomp::step::Install;
use crate::sys::helper_thread::{self, Job};
use crate::sys::shared;

/// Nanoseconds that the parent may take for what a process spins for meanwhile. One that was killed never does it.
pub(super) const PARENT_PATIENCE: u64 = 10_000_000_000;

/// What is to be done.
pub struct Confine<'a> {
    /// The filter, if there is one.
    pub filter: Option<&'a Install>,
    /// The capabilities of which some are kept for the installation.
    pub capabilities: Option<&'a Capabilities>,
    /// The page that the init waits on, and reports its listener on.
    pub page: &'a StartPage,
    /// Whether the init waits for `start`.
    pub waits: bool,
    /// Whether code of the image can look before the program is executed: hooks, neighbours in a pid namespace.
    pub looked_at: bool,
    /// Whether another process is created under the filter, which makes a session of its own.
    pub crosses: bool,
}

impl Confine<'_> {
    /// Does it, and waits for `start` if that is asked for. False: the filter is still to be installed, just before the
    /// program is executed, since there is no room for a helper thread.
    ///
    /// # Errors
    /// Those of [`Install::run`] and capset(2); EAGAIN: no room for a helper thread, without which code of the image would
    /// run beside an init that has no filter yet.
    pub fn run(&self) -> Result<bool> {
        // No thread can be created while the children's pid namespace is another than one's own.
        let is_possible = |filter: &Install| allow_crossing(filter) && self.is_allowed(filter);
        if let Some(filter) = self.filter.filter(|filter| self.crosses && !is_possible(filter)) {
            // What is created is without rights all the same, but for that to install it.
            return if filter.listener.is_none() { Ok(false) } else { Err(from_profile(no_crossing())) };
        }
        let is_confined = match self.filter {
            Some(filter) if !self.is_allowed(filter) => self.with_helper(filter)?,
            Some(filter) => self.alone(filter).map(|()| true)?,
            None => true,
        };
        if self.waits && !self.crosses {
            wait_for_start(self.page);
        }
        Ok(is_confined)
    }

    /// Whether the filter allows what the init does under it.
    fn is_allowed(&self, filter: &Install) -> bool {
        let is_allowed = |call: &OwnCall| call.choice(filter).is_some();
        let drops = self.capabilities.is_some_and(Capabilities::keeps);
        (!drops || is_allowed(&DROP_CAPABILITY)) && (!self.waits || is_allowed(&WAIT_FOR_START) && is_allowed(&WAKE))
    }

    fn alone(&self, filter: &Install) -> Result<()> {
        if let Some(listener) = filter.run().map_err(from_profile)? {
            self.hand_over(listener, may_close(filter));
        }
        self.drop_kept()
    }

    fn drop_kept(&self) -> Result<()> {
        self.capabilities.map_or(Ok(()), Capabilities::drop_kept)
    }

    /// Waits until the parent has the listener. Any call could be one that waits for an answer, so none is made until then.
    /// Who asks and has this open would wait forever for an agent that is gone: where the filter does not let it be
    /// closed, execve(2) does.
    fn hand_over(&self, listener: OwnedFd, closes: bool) {
        self.page.set_listener(listener.as_raw_fd());
        helper_thread::spin_until_taken(self.page.listener_word(), PARENT_PATIENCE);
        match closes {
            true => drop(listener),
            false => forget(listener),
        }
    }

    /// False: there is no room for a thread, and nothing has changed.
    fn with_helper(&self, filter: &Install) -> Result<bool> {
        let page: &'static StartPage = Box::leak(Box::new(self.page.for_init()));
        let then = if self.waits { page.phase_word() } else { page.helper_word() };
        let job: &'static Job = Box::leak(Box::new(Job {
            ready: AtomicU32::new(0),
            wait: [page.entry_word(), then],
            program: filter.program.clone().leak(),
            flags: filter.bits(),
            listener: page.listener_word(),
            patience: PARENT_PATIENCE,
            closes: may_close(filter),
            done: self.waits.then(|| (page.phase_word(), Phase::Waiting as u32)),
            exits: END_THREAD.choice(filter).is_some(),
            failed: AtomicU32::new(0),
            runs: page.helper_word(),
        }));
        match helper_thread::begin(job) {
            Err(Errno::EAGAIN) if !self.looked_at && filter.listener.is_none() => return Ok(false),
            result => result.what(|| "create the thread that installs the seccomp filter").map_err(|error| {
                from_profile(error).hint("allow capset and futex in the profile, or one more process in pids.limit")
            })?,
        }
        self.drop_kept()?;
        job.ready.store(1, Release);
        // From here on in the kernel, unless something interrupts it: until `start`, or until the thread has ended.
        let _ = shared::wait(page.entry_word(), 0, None);
        while page.has_helper() {
            std::hint::spin_loop();
        }
        match job.failed.load(Acquire) {
            0 => Ok(true),
            errno => Err(from_profile(filter.explained(Errno::from_raw(errno as i32)))),
        }
    }
}

/// Waits for `start`, whatever interrupts the wait or a filter answers: the word alone counts.
pub(super) fn wait_for_start(page: &StartPage) {
    if page.phase() == Phase::SettingUp {
        page.set_phase(Phase::Waiting);
        page.wake();
    }
    while page.phase() == Phase::Waiting {
        page.wait_while(Phase::Waiting, None);
    }
}

fn no_crossing() -> Error {
    Error::new(
        "the profile has a listener and does not allow clone, setsid, ioctl, capset, close or exit_group, without which no \
         process can be added",
    )
}

/// Whether close(2) does no harm under the filter: its agent may be asked.
fn may_close(filter: &Install) -> bool {
    CLOSE_LISTENER.usable(Some(filter)).is_some()
}

fn from_profile(error: Error) -> Error {
    error.from_property("/linux/seccomp")
}
