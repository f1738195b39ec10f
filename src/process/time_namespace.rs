//! A new time namespace and its clocks: time_namespaces(7).

use std::fmt;

use nix::sched::unshare;

use crate::error::{Context, Result};
use crate::sys::namespace::NEWTIME;

/// What is added to a clock: seconds, and nanoseconds, which always count forward.
pub type Offset = (i64, u32);

/// Makes a time namespace for the children of this process, and sets its clocks while it has no process:
/// they cannot be set any more once it has one.
#[derive(PartialEq)]
pub struct NewTime {
    /// Added to CLOCK_MONOTONIC.
    pub monotonic: Option<Offset>,
    /// Added to CLOCK_BOOTTIME.
    pub boottime: Option<Offset>,
}

impl NewTime {
    /// Runs the step, in the parent before the clone. The parent itself stays in its own.
    pub fn run(&self) -> Result<()> {
        unshare(NEWTIME).what(|| "unshare time")?;
        let lines: String =
            self.clocks().map(|(clock, (secs, nanosecs))| format!("{clock} {secs} {nanosecs}\n")).collect();
        if lines.is_empty() {
            return Ok(());
        }
        let written = std::fs::write("/proc/self/timens_offsets", &lines);
        written.what(|| format!("write {:?} to /proc/self/timens_offsets", lines.trim_end())).map_err(|error| {
            let error = error.from_property("/linux/timeOffsets");
            match error.code() {
                nix::errno::Errno::ERANGE => error.hint("a clock goes neither below 0 nor beyond 146 years"),
                _ => error,
            }
        })
    }

    fn clocks(&self) -> impl Iterator<Item = (&'static str, Offset)> {
        let given = |name, offset: Option<Offset>| offset.map(|offset| (name, offset));
        given("monotonic", self.monotonic).into_iter().chain(given("boottime", self.boottime))
    }
}

impl fmt::Display for NewTime {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("new namespace")?;
        self.clocks().try_for_each(|(clock, (secs, nanosecs))| write!(f, ", {clock} {secs:+}.{nanosecs:09} s"))
    }
}
