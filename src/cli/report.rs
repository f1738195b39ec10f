//! What a person and an engine read: errors and warnings, which are rendered here alone, and output.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::time::SystemTime;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use serde_json::json;

use super::globals::{Globals, LogFormat};
use crate::error::{Context, Error, Result};
use crate::escape;
use crate::sys::release::{release, version};

/// Tells why a command failed; gives its exit status.
///
/// Engines read the log: containerd its last line, podman the whole file as one object. So exactly one
/// line is added for a failed command.
pub fn failure(error: &Error, globals: &Globals) -> i32 {
    log("error", error, globals);
    if is_for_people(globals) {
        print_error(&format!("ferrun: {}\n", for_a_person(error)));
    }
    1
}

/// Whether standard error is read by people: without a log it may be an engine's, one line of JSON.
pub fn is_for_people(globals: &Globals) -> bool {
    globals.log.is_some() || globals.log_format == LogFormat::Text
}

/// Writes to standard output in one piece, by write(2) itself: what a buffer keeps fails when nobody looks any more.
///
/// # Errors
/// Output that cannot be written, such as to a full disk. A reader that is gone is none.
pub fn print_out(text: &str) -> Result<()> {
    match write_out(text.as_bytes()) {
        Err(Errno::EPIPE) => Ok(()),
        written => written.what(|| "write to standard output"),
    }
}

/// Writes lines for people, in which nothing acts on their terminal. What comes from others is escaped before as a
/// part, so that it makes no lines of its own.
///
/// # Errors
/// As [`print_out`].
pub fn print_text(text: &str) -> Result<()> {
    print_out(&escape::lines(text))
}

/// Writes JSON, in which nothing acts on a terminal either.
///
/// # Errors
/// As [`print_out`].
pub fn print_json(text: &str) -> Result<()> {
    print_out(&escape::json(text))
}

/// Writes all of it.
///
/// # Errors
/// EPIPE as well.
pub fn write_out(mut bytes: &[u8]) -> nix::Result<()> {
    let out = std::io::stdout();
    while !bytes.is_empty() {
        match nix::unistd::write(&out, bytes) {
            Ok(0) => return Err(Errno::EIO),
            Ok(written) => bytes = &bytes[written..],
            Err(Errno::EINTR) => {}
            // A pipe or terminal that somebody made non-blocking, and that is full just now.
            Err(Errno::EAGAIN) => {
                let mut room = [PollFd::new(out.as_fd(), PollFlags::POLLOUT)];
                match poll(&mut room, PollTimeout::NONE) {
                    Ok(_) | Err(Errno::EINTR) => {}
                    Err(errno) => return Err(errno),
                }
            }
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

/// Writes to standard error; one that is closed or full changes nothing.
pub fn print_error(text: &str) {
    let _ = std::io::stderr().write_all(text.as_bytes());
}

/// Whether warnings are wanted: an engine would take them for the error.
pub fn hears_warnings(globals: &Globals) -> bool {
    globals.log_format == LogFormat::Text || globals.debug
}

/// Tells a warning.
pub fn warning(warning: &Error, globals: &Globals) {
    warnings(std::slice::from_ref(warning), globals);
}

/// Tells warnings, if they are wanted.
pub fn warnings(warnings: &[Error], globals: &Globals) {
    if !hears_warnings(globals) {
        return;
    }
    for warning in warnings {
        log("warning", warning, globals);
        if globals.log.is_none() && globals.log_format == LogFormat::Text {
            print_error(&format!("ferrun: warning: {}\n", for_a_person(warning)));
        }
    }
}

/// Adds a line to the log; without one, JSON goes to standard error.
fn log(level: &str, error: &Error, globals: &Globals) {
    let time = humantime::format_rfc3339_seconds(SystemTime::now());
    let message = error.to_string();
    let line = match globals.log_format {
        LogFormat::Json => {
            let line = json!({
                "level": level,
                "msg": message,
                "time": time.to_string(),
                "kind": error.kind,
                "errno": error.errno,
                "pointer": error.pointer,
            });
            let line = line.to_string();
            format!("{}\n", escape::json(&line))
        }
        LogFormat::Text => format!("time=\"{time}\" level={level} msg={message:?}\n"),
    };
    match &globals.log {
        Some(path) => {
            // Only its owner may add to it, whatever the umask; a fifo that nobody reads, or a terminal, is not waited for.
            let flags = libc::O_NONBLOCK | libc::O_NOCTTY;
            let file = OpenOptions::new().append(true).create(true).mode(0o644).custom_flags(flags).open(path);
            if let Err(error) = file.and_then(|mut file| file.write_all(line.as_bytes())) {
                print_error(&format!("ferrun: {}\n", Error::io(format!("write log {path:?}"), &error)));
            }
        }
        None if globals.log_format == LogFormat::Json => print_error(&line),
        None => {}
    }
}

/// The first line says what failed and why; below it stand the property and what to do.
fn for_a_person(error: &Error) -> String {
    let mut text = escape::part(&error.to_string()).into_owned();
    let places = [error.place.as_deref(), error.pointer.as_deref()];
    let place: Vec<&str> = places.into_iter().flatten().collect();
    if !place.is_empty() {
        text.push_str(&format!("\n        {}", escape::part(&place.join(" "))));
    }
    match (&error.hint, error.code()) {
        (Some(hint), _) => text.push_str(&format!("\n        hint: {}", escape::part(hint))),
        (None, Errno::ENOSYS) => text.push_str(&format!("\n        hint: {}", missing_call(release().as_deref()))),
        (None, _) => {}
    }
    text
}

/// Why a system call is missing from a kernel of this release.
fn missing_call(release: Option<&str>) -> String {
    match (release.and_then(version), release) {
        (Some((5, 14..) | (6.., _)), _) => {
            "a seccomp filter around ferrun, or the kernel's configuration, may deny the system call".into()
        }
        (_, Some(release)) => format!("ferrun needs Linux 5.14 or newer; this is {release}"),
        (_, None) => "ferrun needs Linux 5.14 or newer".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_call_is_blamed_on_an_old_kernel_alone() {
        for (release, old) in
            [("5.10.0-1-amd64", true), ("5.14.0", false), ("6.1+", false), ("10.0", false), ("?", true)]
        {
            assert_eq!(missing_call(Some(release)).ends_with(release), old, "{release}");
        }
        assert!(missing_call(None).ends_with("newer"));
    }

    #[test]
    fn an_error_with_all_its_parts() {
        let mut error = Error::os("mount proc on /proc", Errno::EPERM).from_property("/mounts/0").hint("try root");
        error.place = Some("config.json:7".into());
        let text =
            "mount proc on /proc: operation not permitted\n        config.json:7 /mounts/0\n        hint: try root";
        assert_eq!(for_a_person(&error), text);
        assert_eq!(for_a_person(&Error::new("no")), "no");
        let hostile = Error::new("a\u{1b}b").detail("c\nferrun: all is well").from_property("/\r").hint("\u{9b}");
        let text = "a\\u{1b}b: c\\nferrun: all is well\n        /\\r\n        hint: \\u{9b}";
        assert_eq!(for_a_person(&hostile), text);
    }
}
