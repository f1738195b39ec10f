//! What the kernel says of a process in one line: /proc/PID/stat, proc_pid_stat(5).

use nix::errno::Errno;
use nix::unistd::Pid;

use super::file;

/// The number in a field, counted from 1 as in the man page; the third is the first that can be asked for, and is none.
///
/// # Errors
/// ENOENT or ESRCH: there is no such process. EBADMSG: no such number.
pub fn field(pid: Pid, number: usize) -> nix::Result<u64> {
    let text = file::read(format!("/proc/{pid}/stat").as_str())?;
    // The second field may have spaces and brackets.
    let fields = text.rsplit(|byte| *byte == b')').next().unwrap_or_default();
    let mut fields = fields.split(|byte| byte.is_ascii_whitespace()).filter(|field| !field.is_empty());
    let field = number.checked_sub(3).and_then(|index| fields.nth(index)).ok_or(Errno::EBADMSG)?;
    std::str::from_utf8(field).ok().and_then(|field| field.parse().ok()).ok_or(Errno::EBADMSG)
}
