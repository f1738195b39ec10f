//! The connection to systemd over D-Bus: calls of its methods, and waiting for its jobs, both with a time limit.
//!
//! A conversation is minimal: the handshake, one message with everything in it, the answer, and the signal that the
//! job is done.

use std::ffi::OsStr;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{MsgFlags, UnixAddr, recv, send};

use super::message::{self, Call, FIXED, Message};
use super::value::Value;
use crate::error::{Error, Result};
use crate::sys::socket::{Reachable, connect_within};

/// How long a conversation may take in all.
pub const PATIENCE: Duration = Duration::from_secs(30);

const SYSTEM_BUS: &str = "unix:path=/run/dbus/system_bus_socket";
/// Where systemd itself listens: for systems without a bus.
const SYSTEMD: &str = "unix:path=/run/systemd/private";

const NAME: &str = "org.freedesktop.systemd1";
const MANAGER: &str = "org.freedesktop.systemd1.Manager";
const PATH: &str = "/org/freedesktop/systemd1";
const WATCH_JOBS: &str =
    "type='signal',sender='org.freedesktop.systemd1',interface='org.freedesktop.systemd1.Manager',member='JobRemoved'";

/// What became of a call that was answered.
pub enum Answer {
    /// Its first result, if that is a text.
    Done(String),
    /// The error's name and its words.
    Refused(String, String),
}

/// A connection.
pub struct Bus {
    socket: OwnedFd,
    /// Whether systemd is at the other end itself: then nothing has to be said to a bus.
    direct: bool,
    deadline: Instant,
    serial: u32,
    /// What is to be sent with the next call.
    unsent: Vec<u8>,
    /// What came and is not read yet.
    received: Vec<u8>,
    /// Who answered for systemd, by the bus's own name for it.
    systemd: String,
}

impl Bus {
    /// Connects to the system's manager, or without root to the user's.
    ///
    /// # Errors
    /// A bus that is not there, or says nothing.
    pub fn connect() -> Result<Bus> {
        let (address, given) = address()?;
        match Bus::connect_to(&address, false, PATIENCE) {
            Err(error) if !given && matches!(error.code(), Errno::ENOENT | Errno::ECONNREFUSED) => {
                Bus::connect_to(SYSTEMD.as_bytes(), true, PATIENCE).map_err(|_| error)
            }
            result => result,
        }
    }

    fn connect_to(address: &[u8], direct: bool, patience: Duration) -> Result<Bus> {
        let failed = |errno| {
            let address = String::from_utf8_lossy(address);
            Error::os(format!("connect to systemd at {address}"), errno)
        };
        let socket = connect(address, patience).map_err(failed)?;
        let (deadline, systemd) = (Instant::now() + patience, String::new());
        let mut bus = Bus { socket, direct, deadline, serial: 0, unsent: Vec::new(), received: Vec::new(), systemd };
        bus.authenticate()?;
        if !direct {
            bus.say("org.freedesktop.DBus", "Hello", &[]);
        }
        Ok(bus)
    }

    /// "Authentication Protocol": the kernel reports our credentials to the other end.
    fn authenticate(&mut self) -> Result<()> {
        let user = nix::unistd::geteuid().to_string();
        let user: String = user.bytes().map(|digit| format!("{digit:02x}")).collect();
        self.unsent = format!("\0AUTH EXTERNAL {user}\r\nBEGIN\r\n").into_bytes();
        self.flush()?;
        let line = loop {
            if let Some(end) = self.received.windows(2).position(|end| end == b"\r\n") {
                break self.received.drain(..end + 2).collect::<Vec<u8>>();
            }
            self.receive()?;
        };
        if line.starts_with(b"OK ") {
            return Ok(());
        }
        let line = String::from_utf8_lossy(line.trim_ascii()).into_owned();
        Err(Error::new("the bus to systemd does not let ferrun in").detail(line))
    }

    /// Subscribes to the ends of jobs. Systemd itself sends them unasked.
    pub fn watch_jobs(&mut self) {
        if !self.direct {
            self.say("org.freedesktop.DBus", "AddMatch", &[Value::text(WATCH_JOBS)]);
        }
    }

    /// Puts a call to the bus itself before the next to systemd; its answer is not waited for.
    fn say(&mut self, whom: &str, member: &str, arguments: &[Value]) {
        self.serial += 1;
        let path = "/org/freedesktop/DBus";
        let call = Call { destination: Some(whom), path, interface: whom, member, arguments };
        self.unsent.extend(call.to_bytes(self.serial));
    }

    /// Calls a method of systemd's manager and waits for its answer.
    pub fn call(&mut self, member: &str, arguments: &[Value]) -> Result<Answer> {
        self.serial += 1;
        let destination = Some(NAME).filter(|_| !self.direct);
        let call = Call { destination, path: PATH, interface: MANAGER, member, arguments };
        self.unsent.extend(call.to_bytes(self.serial));
        self.flush()?;
        loop {
            match self.next()? {
                Message::Return(serial, from, value) if serial == self.serial => {
                    self.systemd = from;
                    return Ok(Answer::Done(value));
                }
                Message::Error(serial, name, text) if serial == self.serial => return Ok(Answer::Refused(name, text)),
                Message::Error(_, name, text) => {
                    let error = Error::new("the bus to systemd refuses to serve ferrun");
                    return Err(error.detail(format!("{text} ({name})")));
                }
                _ => {}
            }
        }
    }

    /// Waits for the end of a job; gives its result, `done` if it was a good one. Only systemd's own word
    /// counts: anyone on the bus may send such a signal.
    pub fn await_job(&mut self, job: &str) -> Result<String> {
        loop {
            let Message::Signal(from, member, body) = self.next()? else { continue };
            match message::job_removed(&body) {
                Some((ended, result)) if member == "JobRemoved" && from == self.systemd && ended == job => {
                    return Ok(result.to_owned());
                }
                _ => {}
            }
        }
    }

    /// The next message that comes.
    fn next(&mut self) -> Result<Message> {
        loop {
            if self.received.len() >= FIXED {
                let length = message::length(&self.received[..FIXED]);
                let length = length.ok_or_else(|| Error::new("systemd's bus says what is no message of D-Bus"))?;
                if self.received.len() >= length {
                    let bytes: Vec<u8> = self.received.drain(..length).collect();
                    return Ok(message::parse(&bytes).unwrap_or(Message::Other));
                }
            }
            self.receive()?;
        }
    }

    fn flush(&mut self) -> Result<()> {
        let unsent = std::mem::take(&mut self.unsent);
        let mut rest = &unsent[..];
        while !rest.is_empty() {
            match send(self.socket.as_raw_fd(), rest, MsgFlags::MSG_NOSIGNAL) {
                Ok(sent) => rest = &rest[sent..],
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => return Err(too_slow()),
                Err(errno) => return Err(lost(errno)),
            }
        }
        Ok(())
    }

    fn receive(&mut self) -> Result<()> {
        let left = self.deadline.saturating_duration_since(Instant::now()).as_millis();
        // Also where there is always something more to read.
        if left == 0 {
            return Err(too_slow());
        }
        let left = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
        let mut readable = [PollFd::new(self.socket.as_fd(), PollFlags::POLLIN)];
        match poll(&mut readable, left) {
            Ok(0) => return Err(too_slow()),
            Err(Errno::EINTR) => return Ok(()),
            result => result.map_err(lost)?,
        };
        let mut buffer = [0; 4096];
        match recv(self.socket.as_raw_fd(), &mut buffer, MsgFlags::empty()) {
            Ok(0) => Err(lost(Errno::ECONNRESET)),
            Ok(length) => {
                self.received.extend(&buffer[..length]);
                Ok(())
            }
            Err(Errno::EINTR) => Ok(()),
            Err(errno) => Err(lost(errno)),
        }
    }
}

fn too_slow() -> Error {
    Error::os("wait for systemd", Errno::ETIMEDOUT)
        .detail(format!("it has not done what was asked for in {} s", PATIENCE.as_secs()))
}

fn lost(errno: Errno) -> Error {
    Error::os("talk to systemd", errno)
}

/// Where the bus is, and whether the environment says so.
fn address() -> Result<(Vec<u8>, bool)> {
    let root = nix::unistd::geteuid().is_root();
    let variable = if root { "DBUS_SYSTEM_BUS_ADDRESS" } else { "DBUS_SESSION_BUS_ADDRESS" };
    if let Some(given) = std::env::var_os(variable).filter(|given| !given.is_empty()) {
        return Ok((given.into_vec(), true));
    }
    if root {
        return Ok((SYSTEM_BUS.into(), false));
    }
    let runtime = std::env::var_os("XDG_RUNTIME_DIR").filter(|runtime| !runtime.is_empty());
    let runtime = runtime.ok_or_else(|| {
        Error::new("without root the user's systemd is asked for, and there is neither DBUS_SESSION_BUS_ADDRESS nor XDG_RUNTIME_DIR")
    })?;
    Ok(([b"unix:path=", runtime.as_bytes(), b"/bus"].concat(), true))
}

/// "Server Addresses": connects to the first of a list that is a Unix socket's, by path or abstract.
fn connect(list: &[u8], patience: Duration) -> nix::Result<OwnedFd> {
    let addresses = list.split(|byte| *byte == b';').filter_map(|address| address.strip_prefix(b"unix:"));
    for option in addresses.flat_map(|options| options.split(|byte| *byte == b',')) {
        if let Some(path) = option.strip_prefix(b"path=") {
            let path = Reachable::new(OsStr::from_bytes(&unescape(path)).as_ref())?;
            return connect_within(patience, &UnixAddr::new(&*path)?);
        }
        if let Some(name) = option.strip_prefix(b"abstract=") {
            return connect_within(patience, &UnixAddr::new_abstract(&unescape(name))?);
        }
    }
    Err(Errno::EAFNOSUPPORT)
}

/// `%2f` stands for a slash.
fn unescape(text: &[u8]) -> Vec<u8> {
    let mut rest = text;
    let mut plain = Vec::new();
    while let [byte, behind @ ..] = rest {
        let digits = behind.get(..2).filter(|_| *byte == b'%').and_then(|two| std::str::from_utf8(two).ok());
        let escaped = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok());
        plain.push(escaped.unwrap_or(*byte));
        rest = if escaped.is_some() { &behind[2..] } else { behind };
    }
    plain
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::os::unix::net::{UnixListener, UnixStream};

    use super::*;

    const PATIENCE: Duration = Duration::from_millis(200);

    /// What becomes of a conversation with a bus that behaves like this.
    fn with_a_bus(name: &str, bus: fn(&mut UnixStream)) -> Result<()> {
        let path = std::env::temp_dir().join(format!("ferrun-bus-{name}-{}", std::process::id()));
        let listener = UnixListener::bind(&path).unwrap();
        let answering = std::thread::spawn(move || bus(&mut listener.accept().unwrap().0));
        let begin = Instant::now();
        let result = Bus::connect_to(format!("unix:path={}", path.display()).as_bytes(), false, PATIENCE)
            .and_then(|mut bus| bus.call("StopUnit", &[Value::text("a.scope")]))
            .map(drop);
        assert!(begin.elapsed() < Duration::from_secs(20), "{name}: {:?}", begin.elapsed());
        std::fs::remove_file(path).unwrap();
        answering.join().unwrap();
        result
    }

    /// Reads until the other end has had enough.
    fn read_on(stream: &mut UnixStream) {
        while stream.read(&mut [0; 4096]).is_ok_and(|length| length > 0) {}
    }

    #[test]
    fn whatever_a_bus_does_it_is_not_waited_for_longer() {
        let silent = with_a_bus("silent", read_on);
        let lets_in = with_a_bus("lets-in", |stream| {
            stream.write_all(b"OK 0123\r\n").unwrap();
            read_on(stream);
        });
        let never_ends = with_a_bus("never-ends", |stream| while stream.write_all(&[b'.'; 512]).is_ok() {});
        for result in [silent, lets_in, never_ends] {
            assert_eq!(result.unwrap_err().code(), Errno::ETIMEDOUT);
        }
        let hangs_up = with_a_bus("hangs-up", |_| {});
        assert!(matches!(hangs_up.unwrap_err().code(), Errno::ECONNRESET | Errno::EPIPE));
        let refuses = with_a_bus("refuses", |stream| stream.write_all(b"REJECTED EXTERNAL\r\n").unwrap());
        crate::golden::compare(&refuses.unwrap_err().message);
    }
}
