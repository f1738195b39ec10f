//! Network interfaces of the host that are moved into the container: "Network Devices" of the OCI runtime spec,
//! config-linux.md.

use std::fmt;
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd};

use nix::errno::Errno;
use nix::sched::{CloneFlags, setns};
use nix::unistd::Pid;

use super::join::Opened;
use crate::error::{Context, Error, Result};
use crate::sys::netlink::{Address, Route};
use crate::types::namespaces::NamespaceKind;
use crate::types::net_devices::pointer;

/// `IFA_F_*` of linux/if_addr.h: the address does not run out.
const PERMANENT: u32 = 0x80;
/// Those that the address is made with: NODAD, HOMEADDRESS, MANAGETEMPADDR, NOPREFIXROUTE, MCAUTOJOIN.
const KEPT: u32 = 0x02 | 0x10 | 0x100 | 0x200 | 0x400;
/// `RT_SCOPE_UNIVERSE`: the address means the same everywhere.
const UNIVERSE: u8 = 0;

/// Moves a link with its lasting addresses into the container's network namespace, and sets it up.
#[derive(PartialEq)]
pub struct MoveLink {
    /// Its name on the host.
    pub name: String,
    /// Its name in the container; `%d` stands for the first number that is free.
    pub inside: String,
}

impl MoveLink {
    /// Runs the step, in the parent: to a network namespace that is joined, or that the init was born in.
    pub fn run(&self, init: Pid, opened: &[Opened]) -> Result<()> {
        self.move_into(init, opened).map_err(|error| error.from_property(pointer(&self.name)))
    }

    fn move_into(&self, init: Pid, opened: &[Opened]) -> Result<()> {
        match Opened::find(opened, NamespaceKind::Network) {
            Some(namespace) => self.move_to(namespace.as_fd()),
            None => {
                let path = NamespaceKind::Network.file(init);
                self.move_to(File::open(&path).what(|| format!("open {path}"))?.as_fd())
            }
        }
    }

    fn move_to(&self, namespace: BorrowedFd) -> Result<()> {
        let what = |verb: &str| format!("{verb} network device {:?}", self.name);
        let here = Route::open().what(|| "open a netlink socket")?;
        let there = route_in(namespace)?;
        let link = here.link(&self.name).what(|| what("find"))?;
        // The kernel drops them on the way.
        let addresses = here.addresses(link).what(|| what("read the addresses of"))?;
        // The kernel renames after the move: too late to refuse it.
        match there.link(&self.inside) {
            Ok(_) => return Err(self.not_moved(Errno::EEXIST)),
            // A pattern such as eth%d is no name that could be found.
            Err(Errno::ENODEV | Errno::EINVAL) => {}
            Err(errno) => return Err(errno).what(|| format!("look for a network device {:?}", self.inside)),
        }
        let before = there.links().what(|| "list the container's network devices")?;
        here.move_link(link, namespace, &self.inside).map_err(|errno| self.not_moved(errno))?;
        let moved = match self.inside.contains('%') {
            true => there.links().map(|links| links.into_iter().find(|link| !before.contains(link))),
            false => there.link(&self.inside).map(Some),
        };
        let moved = moved.and_then(|link| link.ok_or(Errno::ENODEV)).what(|| what("find the moved"))?;
        for address in addresses.iter().filter(|address| lasts(address)) {
            let mut address = address.clone();
            address.flags &= KEPT;
            there.add_address(moved, &address).what(|| what("keep an address of"))?;
        }
        there.set_up(moved).what(|| what("set up"))
    }

    fn not_moved(&self, errno: Errno) -> Error {
        let error = Error::os(format!("move network device {self}"), errno);
        match errno {
            Errno::EEXIST => error.hint("the container's network has one of that name; \"NAME%d\" takes a free number"),
            Errno::EINVAL => error.hint("links of some kinds (loopback, bridges) cannot leave their network namespace"),
            _ => error,
        }
    }
}

fn lasts(address: &Address) -> bool {
    address.flags & PERMANENT != 0 && address.scope == UNIVERSE
}

/// A socket in another network namespace: it stays there when its maker comes back.
fn route_in(namespace: BorrowedFd) -> Result<Route> {
    let own = File::open("/proc/self/ns/net").what(|| "open ferrun's own network namespace")?;
    setns(namespace, CloneFlags::CLONE_NEWNET).what(|| "enter the container's network namespace")?;
    let route = Route::open().what(|| "open a netlink socket in the container's network namespace");
    setns(&own, CloneFlags::CLONE_NEWNET).what(|| "go back to ferrun's own network namespace")?;
    route
}

impl fmt::Display for MoveLink {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(&self.name)?;
        if self.inside == self.name { Ok(()) } else { write!(f, " as {}", self.inside) }
    }
}
