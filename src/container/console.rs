//! Where the terminal of a new container goes: over the engine's socket, or in the foreground to ferrun
//! itself.

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;

use crate::bundle::Spec;
use crate::error::{Context, Error, Result};
use crate::launch::relay;
use crate::process::terminal::Console;
use crate::sys::fd;
use crate::sys::socket::Reachable;

/// What the init sends the terminal over, and ferrun's own end of that.
#[derive(Default)]
pub struct Ends {
    /// For the init.
    init: Option<Console>,
    /// In the foreground.
    own: Option<OwnedFd>,
}

impl Ends {
    /// Connects to the engine's socket, if one is given, or makes a pair; nothing without `process.terminal`.
    ///
    /// # Errors
    /// A socket that nobody would use or that is missing, as runc; one that nobody listens on.
    pub fn new(spec: &Spec, socket: Option<&Path>, detached: bool) -> Result<Ends> {
        let terminal = spec.process.as_ref().is_some_and(|process| process.terminal);
        match (socket, terminal, detached) {
            (Some(path), true, true) => {
                let what = || format!("connect to console socket {path:?}");
                let socket = UnixStream::connect(&*Reachable::new(path).what(what)?).what(what)?;
                let init = Console { socket: socket.into(), size: None, plain: false };
                Ok(Ends { init: Some(init), own: None })
            }
            (Some(_), ..) => {
                let error = Error::new("cannot use console socket if ferrun will not detach or allocate tty");
                Err(error.hint("--console-socket is for a detached container with process.terminal"))
            }
            (None, true, true) => {
                let error = Error::new("cannot allocate tty if ferrun will detach without setting console socket");
                let error = error.from_property("/process/terminal");
                Err(error.hint("give --console-socket, use run in the foreground, or set process.terminal to false"))
            }
            (None, true, false) => {
                let (own, socket) = UnixStream::pair().what(|| "make a pair of sockets for the terminal")?;
                let init = Console { socket: socket.into(), size: relay::size(), plain: !relay::is_shown() };
                Ok(Ends { init: Some(init), own: Some(own.into()) })
            }
            (None, false, _) => Ok(Ends::default()),
        }
    }

    /// What the init sends it over, for one of several tries.
    pub fn for_init(&self) -> Result<Option<Console>> {
        let copy = |console: &Console| {
            let socket = console.socket.try_clone().what(|| "copy the console socket")?;
            Ok(Console { socket, ..*console })
        };
        self.init.as_ref().map(copy).transpose()
    }

    /// The terminal's other side, if it is ferrun's; once the init has sent it.
    pub fn receive(&self) -> Result<Option<OwnedFd>> {
        let Some(socket) = &self.own else { return Ok(None) };
        match fd::receive(socket).what(|| "receive the terminal")? {
            None => Err(Error::new("the container's first process has sent no terminal")),
            terminal => Ok(terminal),
        }
    }
}
