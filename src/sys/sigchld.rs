//! SIGCHLD while there are children whose exit status is wanted: the kernel drops it where the signal is ignored.

use nix::errno::Errno;

/// Keeps the exit statuses of this process's children: sigaction(2). When it is dropped, SIGCHLD is as the caller had it.
#[must_use]
pub struct KeptStatuses {
    /// The caller's action, where that is not the default.
    before: Option<libc::sigaction>,
}

impl KeptStatuses {
    /// Sets SIGCHLD to its default action.
    ///
    /// # Errors
    /// Those of sigaction(2).
    pub fn begin() -> nix::Result<KeptStatuses> {
        // SAFETY: all-zero is the default action, with no flags and no signals blocked.
        let default: libc::sigaction = unsafe { std::mem::zeroed() };
        let before = exchange(&default)?;
        let is_default = before.sa_sigaction == libc::SIG_DFL && before.sa_flags & libc::SA_NOCLDWAIT == 0;
        Ok(KeptStatuses { before: (!is_default).then_some(before) })
    }
}

impl Drop for KeptStatuses {
    fn drop(&mut self) {
        if let Some(before) = &self.before {
            let _ = exchange(before);
        }
    }
}

/// Sets the action, and gives the one before.
fn exchange(action: &libc::sigaction) -> nix::Result<libc::sigaction> {
    // SAFETY: all-zero is a valid `struct sigaction`.
    let mut before = unsafe { std::mem::zeroed() };
    // SAFETY: both outlive the call. The action runs no code, or is one that the kernel has given here before.
    Errno::result(unsafe { libc::sigaction(libc::SIGCHLD, action, &mut before) })?;
    Ok(before)
}
