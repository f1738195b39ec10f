//! Network links and addresses: rtnetlink(7), as much of it as moving a link takes.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, send, socket};

/// Length of `struct nlmsghdr`.
const HEADER: usize = 16;
/// Length of `struct ifaddrmsg`.
const ADDRESS: usize = 8;
/// More than the kernel puts into one answer of a dump.
const ANSWER: usize = 64 * 1024;

/// A socket to the kernel's routing tables, in the network namespace in which it was made.
pub struct Route(OwnedFd);

/// An address of a link, with those attributes that it is made with again elsewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// `IFA_F_*`.
    pub flags: u32,
    /// `RT_SCOPE_*`.
    pub scope: u8,
    family: u8,
    prefix: u8,
    attributes: Vec<(u16, Vec<u8>)>,
}

/// A message that is being written: its header's length and number are filled in at the end.
struct Message(Vec<u8>);

impl Message {
    fn new(kind: u16, flags: i32) -> Message {
        let flags = u16::try_from(flags | libc::NLM_F_REQUEST).expect("flags of 16 bits");
        let mut bytes = vec![0; HEADER];
        bytes[4..6].copy_from_slice(&kind.to_ne_bytes());
        bytes[6..8].copy_from_slice(&flags.to_ne_bytes());
        Message(bytes)
    }

    /// `struct ifinfomsg` of a link, with flags that are set.
    fn link(mut self, index: u32, flags: i32) -> Message {
        self.0.extend([0; 4]);
        [index, flags.cast_unsigned(), flags.cast_unsigned()].iter().for_each(|word| self.0.extend(word.to_ne_bytes()));
        self
    }

    /// ERANGE: the value is too long, as the kernel says.
    fn attribute(mut self, kind: u16, value: &[u8]) -> nix::Result<Message> {
        let length = u16::try_from(4 + value.len()).map_err(|_| Errno::ERANGE)?;
        self.0.extend(length.to_ne_bytes());
        self.0.extend(kind.to_ne_bytes());
        self.0.extend(value);
        self.0.resize(self.0.len().next_multiple_of(4), 0);
        Ok(self)
    }

    fn finish(mut self) -> Vec<u8> {
        let length = u32::try_from(self.0.len()).expect("attributes of 64 KiB");
        self.0[..4].copy_from_slice(&length.to_ne_bytes());
        self.0
    }
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn half(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

/// Cuts the next message or attribute off, and what fills it up to a multiple of four.
fn cut<'a>(bytes: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (one, _) = bytes.split_at_checked(length)?;
    *bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
    Some(one)
}

fn attributes(mut bytes: &[u8]) -> Vec<(u16, Vec<u8>)> {
    let mut found = Vec::new();
    while let Some(one) = half(bytes, 0).filter(|n| *n >= 4).and_then(|n| cut(&mut bytes, n.into())) {
        // The upper two bits say how it is written.
        found.push((half(one, 2).unwrap_or(0) & 0x3fff, one[4..].to_vec()));
    }
    found
}

impl Route {
    /// A socket in the caller's network namespace.
    pub fn open() -> nix::Result<Route> {
        let flags = SockFlag::SOCK_CLOEXEC;
        socket(AddressFamily::Netlink, SockType::Raw, flags, SockProtocol::NetlinkRoute).map(Route)
    }

    /// Sends a request and gathers what the kernel answers up to its acknowledgement: the messages' bodies.
    fn ask(&self, request: Message) -> nix::Result<Vec<Vec<u8>>> {
        send(self.0.as_raw_fd(), &request.finish(), MsgFlags::empty())?;
        let mut bodies = Vec::new();
        let mut buffer = vec![0; ANSWER];
        loop {
            let length = match recv(self.0.as_raw_fd(), &mut buffer, MsgFlags::empty()) {
                Err(Errno::EINTR) => continue,
                result => result?,
            };
            let mut rest = &buffer[..length];
            while let Some(one) =
                word(rest, 0).and_then(|n| cut(&mut rest, n as usize)).filter(|one| one.len() >= HEADER)
            {
                match half(one, 4).map(i32::from) {
                    Some(libc::NLMSG_DONE) => return Ok(bodies),
                    Some(libc::NLMSG_ERROR) => {
                        return match word(one, HEADER).unwrap_or(0).cast_signed() {
                            0 => Ok(bodies),
                            number => Err(Errno::from_raw(-number)),
                        };
                    }
                    _ => bodies.push(one[HEADER..].to_vec()),
                }
            }
        }
    }

    /// A link's number. ENODEV: there is none of this name.
    pub fn link(&self, name: &str) -> nix::Result<u32> {
        let request = Message::new(libc::RTM_GETLINK, libc::NLM_F_ACK).link(0, 0);
        let bodies = self.ask(request.attribute(libc::IFLA_IFNAME, &[name.as_bytes(), b"\0"].concat())?)?;
        bodies.first().and_then(|body| word(body, 4)).ok_or(Errno::ENODEV)
    }

    /// The numbers of all links.
    pub fn links(&self) -> nix::Result<Vec<u32>> {
        let bodies = self.ask(Message::new(libc::RTM_GETLINK, libc::NLM_F_DUMP).link(0, 0))?;
        Ok(bodies.iter().filter_map(|body| word(body, 4)).collect())
    }

    /// A link's addresses of all families.
    pub fn addresses(&self, link: u32) -> nix::Result<Vec<Address>> {
        let mut request = Message::new(libc::RTM_GETADDR, libc::NLM_F_DUMP);
        request.0.extend([0; ADDRESS]);
        let bodies = self.ask(request)?;
        let of_link = bodies.iter().filter(|body| word(body, 4) == Some(link) && body.len() >= ADDRESS);
        Ok(of_link.map(|body| address(body)).collect())
    }

    /// Moves a link to another network namespace and names it there, in one.
    pub fn move_link(&self, link: u32, namespace: BorrowedFd, name: &str) -> nix::Result<()> {
        let number = namespace.as_fd().as_raw_fd().to_ne_bytes();
        let request = Message::new(libc::RTM_NEWLINK, libc::NLM_F_ACK).link(link, 0);
        let request = request.attribute(libc::IFLA_IFNAME, &[name.as_bytes(), b"\0"].concat())?;
        self.ask(request.attribute(libc::IFLA_NET_NS_FD, &number)?).map(drop)
    }

    /// Adds an address to a link.
    pub fn add_address(&self, link: u32, address: &Address) -> nix::Result<()> {
        let flags = libc::NLM_F_ACK | libc::NLM_F_CREATE | libc::NLM_F_EXCL;
        let mut request = Message::new(libc::RTM_NEWADDR, flags);
        request.0.extend([address.family, address.prefix, 0, address.scope]);
        request.0.extend(link.to_ne_bytes());
        let request =
            address.attributes.iter().try_fold(request, |request, (kind, value)| request.attribute(*kind, value))?;
        self.ask(request.attribute(libc::IFA_FLAGS, &address.flags.to_ne_bytes())?).map(drop)
    }

    /// Sets a link up.
    pub fn set_up(&self, link: u32) -> nix::Result<()> {
        self.ask(Message::new(libc::RTM_NEWLINK, libc::NLM_F_ACK).link(link, libc::IFF_UP)).map(drop)
    }
}

/// `struct ifaddrmsg` and what follows it.
fn address(body: &[u8]) -> Address {
    /// The metric of the route to the address's network: linux/if_addr.h.
    const IFA_RT_PRIORITY: u16 = 9;
    let all = attributes(&body[ADDRESS..]);
    let flags = all.iter().find(|(kind, _)| *kind == libc::IFA_FLAGS).and_then(|(_, value)| word(value, 0));
    let kept = [libc::IFA_ADDRESS, libc::IFA_LOCAL, libc::IFA_BROADCAST, IFA_RT_PRIORITY];
    Address {
        family: body[0],
        prefix: body[1],
        flags: flags.unwrap_or(body[2].into()),
        scope: body[3],
        attributes: all.into_iter().filter(|(kind, _)| kept.contains(kind)).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_read_as_they_are_written() {
        let message = Message::new(1, 0).attribute(3, b"eth0\0").unwrap().attribute(0x8000 | 4, b"").unwrap().finish();
        assert_eq!(message.len() as u32, word(&message, 0).unwrap());
        assert_eq!(attributes(&message[HEADER..]), [(3, b"eth0\0".to_vec()), (4, Vec::new())]);
        assert_eq!(attributes(&message[HEADER..HEADER + 6]), [], "cut short");
        assert_eq!(attributes(&[0; 8]), [], "an attribute of no length would never end");
    }

    #[test]
    fn the_loopback_link_is_found() {
        let route = Route::open().unwrap();
        let lo = route.link("lo").unwrap();
        assert!(route.links().unwrap().contains(&lo));
        assert_eq!(route.link("nonesuch0"), Err(Errno::ENODEV));
    }
}
