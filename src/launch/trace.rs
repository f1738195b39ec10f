//! `--trace FILE`: the time of each step as a Chrome trace, which Perfetto and chrome://tracing open.

use std::cell::{Cell, RefCell};
use std::fs::File;
use std::io::{Read, Seek, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use nix::errno::Errno;
use serde_json::{Value, json};

use crate::error::{Context, Result};
use crate::escape;
use crate::plan::{Action, Step};
use crate::sys::allocator::{taken, uncounted};
use crate::sys::program::nanoseconds;
use crate::sys::regular;

impl AsFd for Trace {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

/// A moment in a process: the clock in nanoseconds, and what was allocated until then.
#[derive(Clone, Copy, Default)]
pub struct Moment {
    time: u64,
    allocated: usize,
}

/// A trace that parent and init write to: each its events in one piece, so that they do not mix.
pub struct Trace {
    file: File,
    /// Print a table at the end instead of keeping the file.
    table: bool,
    events: RefCell<Vec<u8>>,
    /// The first failure to write.
    failed: Cell<Option<Errno>>,
}

impl Trace {
    /// Begins a trace in a file, which is emptied and must be a regular one; `-` for a table on standard error.
    ///
    /// # Errors
    /// A link, a device or a fifo; a file that cannot be written.
    pub fn begin(path: &Path) -> Result<Trace> {
        let table = path.as_os_str() == "-";
        let file = match table {
            true => nix::sys::memfd::memfd_create(c"trace", nix::sys::memfd::MFdFlags::MFD_CLOEXEC)
                .map(File::from)
                .what(|| "make a trace")?,
            false => regular::create(path).what(|| format!("create trace {path:?}"))?,
        };
        let trace = Trace { file, table, events: RefCell::default(), failed: Cell::default() };
        trace.events.borrow_mut().extend_from_slice(b"[\n");
        trace.flush();
        trace.check()?;
        Ok(trace)
    }

    /// This moment.
    pub fn now(&self) -> Moment {
        Moment { time: nanoseconds(), allocated: taken() }
    }

    /// A step that began at `begin` and ends now.
    pub fn step<A: Action>(&self, lane: &'static str, number: usize, step: &Step<A>, begin: Moment) {
        let end = self.now();
        uncounted(|| {
            let (what, from) = (step.action.to_string(), step.from.map(|pointer| pointer.to_string()));
            let allocated = end.allocated.saturating_sub(begin.allocated);
            let args = json!({ "step": number, "what": what, "from": from, "allocated": allocated });
            self.event(lane, step.action.verb(), &args, [begin, end]);
        });
    }

    /// Time of a lane that belongs to no step of the plan, or is a part of one.
    pub fn phase(&self, lane: &str, name: &str, begin: Moment) {
        let end = self.now();
        uncounted(|| self.event(lane, name, &json!({}), [begin, end]));
    }

    /// Something that turned out otherwise than planned.
    pub fn remark(&self, lane: &str, name: &str, what: &str) {
        let now = self.now();
        uncounted(|| self.event(lane, name, &json!({ "what": what }), [now, now]));
    }

    fn event(&self, lane: &str, name: &str, args: &Value, [begin, end]: [Moment; 2]) {
        let microseconds = |nanoseconds: u64| nanoseconds as f64 / 1000.0;
        let duration = microseconds(end.time.saturating_sub(begin.time));
        self.add(&json!({
            "ph": "X", "name": name, "pid": 1, "tid": lane, "ts": microseconds(begin.time), "dur": duration, "args": args
        }));
    }

    /// The bytes that the init has allocated since its creation, as a counter: after `create` until it waits for `start`,
    /// after `run` and `start` until it executed the program.
    pub fn allocated(&self, bytes: u32) {
        let ts = nanoseconds() as f64 / 1000.0;
        uncounted(|| {
            self.add(
                &json!({ "ph": "C", "name": "allocated by the init", "pid": 1, "ts": ts, "args": { "bytes": bytes } }),
            );
        });
    }

    fn add(&self, event: &Value) {
        let mut events = self.events.borrow_mut();
        events.extend_from_slice(event.to_string().as_bytes());
        events.extend_from_slice(b",\n");
    }

    /// Drops what was gathered.
    pub fn forget(&self) {
        self.events.take();
    }

    /// Writes what this process has gathered. A failure is kept for the end.
    pub fn flush(&self) {
        if let Err(error) = (&self.file).write_all(&self.events.take()) {
            let errno = Errno::from_raw(error.raw_os_error().unwrap_or(libc::EIO));
            self.failed.set(self.failed.get().or(Some(errno)));
        }
    }

    /// The first failure to write.
    fn check(&self) -> Result<()> {
        self.failed.get().map_or(Ok(()), |errno| Err(errno).what(|| "write the trace"))
    }

    /// Ends the trace; the file is valid JSON then.
    pub fn end(&self) -> Result<()> {
        let total = json!({ "ph": "M", "name": "process_name", "pid": 1, "args": { "name": "ferrun" } });
        self.events.borrow_mut().extend_from_slice(format!("{total}\n]\n").as_bytes());
        self.flush();
        self.check()?;
        if self.table { self.print_table() } else { Ok(()) }
    }

    fn print_table(&self) -> Result<()> {
        let mut text = String::new();
        let mut file = &self.file;
        file.rewind().and_then(|()| file.read_to_string(&mut text)).what(|| "read the trace")?;
        let events: Vec<Value> = serde_json::from_str(&text).unwrap_or_default();
        let mut steps: Vec<&Value> = events.iter().filter(|event| event["ph"] == "X").collect();
        steps.sort_by(|a, b| b["dur"].as_f64().unwrap_or(0.0).total_cmp(&a["dur"].as_f64().unwrap_or(0.0)));
        for event in steps {
            let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            let (lane, name, what) = (word(&event["tid"]), word(&event["name"]), word(&event["args"]["what"]));
            let line = format!(
                "{:>10.1} µs  {lane:<7} {name:<9} {}\n",
                event["dur"].as_f64().unwrap_or(0.0),
                escape::part(&what)
            );
            let _ = std::io::stderr().write_all(line.as_bytes());
        }
        Ok(())
    }
}
