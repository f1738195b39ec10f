//! The device filter of cgroup v2: an eBPF program that the kernel asks at each open(2) and mknod(2)
//! of a device node (BPF_PROG_TYPE_CGROUP_DEVICE, Linux 4.15).

use std::fmt;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;

use super::access::DeviceAccess;
use crate::sys::bpf::{self, Insn};
use crate::types::device_rules::{Access, Kind, Rule};

// Opcodes that the filter uses (Documentation/bpf/standardization/instruction-set.rst). Comparisons are
// of 32 bits (Linux 5.1): those of 64 extend the sign of their constant and miss numbers above 2^31.
const LOAD_WORD: u8 = 0x61;
const MOVE: u8 = 0xb4;
const JUMP: u8 = 0x05;
const JUMP_IF_EQUAL: u8 = 0x16;
const JUMP_IF_ANY_BIT: u8 = 0x46;
const JUMP_UNLESS_EQUAL: u8 = 0x56;
const EXIT: u8 = 0x95;

/// r0, the verdict: 1 allows.
const VERDICT: u8 = 0;
/// r1 comes with the address of `struct bpf_cgroup_dev_ctx { u32 access_type, major, minor; }`.
const CONTEXT: u8 = 1;
/// The kind of node in the low 16 bits, the access asked for in the high.
const ASKED: u8 = 2;
const MAJOR: u8 = 3;
const MINOR: u8 = 4;

/// Compiles the filter. It finds the narrowest pattern that fits the device and compares what is allowed
/// there with what is asked for: first the kind, then the major number, then the minor; what to do once
/// the pattern is found stands once at the end for each different access.
pub fn program(access: &DeviceAccess) -> Vec<Insn> {
    let mut code = Code::default();
    let patterns = access.patterns();
    let [long, short] = by_kind(&patterns);
    if !access.exceptions.is_empty() {
        code.push(LOAD_WORD, ASKED | CONTEXT << 4, 0, 0);
    }
    if long.len() > 1 {
        code.push(LOAD_WORD, MAJOR | CONTEXT << 4, 4, 0);
        code.push(LOAD_WORD, MINOR | CONTEXT << 4, 8, 0);
    }
    if !same(long, short) {
        if short.len() > 1 {
            let other = code.jump(JUMP_IF_ANY_BIT, ASKED, kind_bit(long));
            code.search(short);
            code.end(JUMP, 0, 0, short[0].access);
            code.land(other);
        } else {
            code.end(JUMP_IF_ANY_BIT, ASKED, kind_bit(short), short[0].access);
        }
    }
    code.search(long);
    code.finish(long[0].access)
}

/// The patterns of each kind, the longer list first.
fn by_kind(patterns: &[Rule]) -> [&[Rule]; 2] {
    let (chars, blocks) = patterns.split_at(patterns.partition_point(|pattern| pattern.kind == Kind::Char));
    if chars.len() < blocks.len() { [blocks, chars] } else { [chars, blocks] }
}

/// Do both kinds allow the same, so that they need not be told apart?
fn same(one: &[Rule], other: &[Rule]) -> bool {
    one.len() == other.len() && one.iter().zip(other).all(|(one, other)| Rule { kind: other.kind, ..*one } == *other)
}

/// `BPF_DEVCG_DEV_*` of a list that has one kind.
fn kind_bit(patterns: &[Rule]) -> u32 {
    if patterns[0].kind == Kind::Block { 1 } else { 2 }
}

/// A program in the making.
#[derive(Default)]
struct Code {
    insns: Vec<Insn>,
    /// Jumps to where a known access is compared with the one asked for.
    ends: Vec<(usize, Access)>,
}

impl Code {
    fn push(&mut self, code: u8, regs: u8, off: i16, imm: u32) {
        self.insns.push(Insn { code, regs, off, imm: imm.cast_signed() });
    }

    /// A jump forward, to be landed; returns its place.
    fn jump(&mut self, code: u8, reg: u8, imm: u32) -> usize {
        self.push(code, reg, 0, imm);
        self.insns.len() - 1
    }

    /// Makes the jump at `at` go to the next instruction.
    fn land(&mut self, at: usize) {
        let distance = self.insns.len() - at - 1;
        self.insns[at].off = i16::try_from(distance).expect("a jump reaches over MAX_PATTERNS");
    }

    /// A jump to the end for an access.
    fn end(&mut self, code: u8, reg: u8, imm: u32, allowed: Access) {
        let at = self.jump(code, reg, imm);
        self.ends.push((at, allowed));
    }

    /// Goes to the end that one kind's patterns lead to; falls through if that is its first, `*:*`.
    fn search(&mut self, patterns: &[Rule]) {
        let (any, rest) = (patterns[0].access, &patterns[1..]);
        let (minors, majors) = rest.split_at(rest.partition_point(|pattern| pattern.major.is_none()));
        let mut to_minors = Vec::new();
        let mut groups = majors.chunk_by(|one, next| one.major == next.major).peekable();
        while let Some(group) = groups.next() {
            let whole = group[0].minor.is_none().then_some(group[0].access);
            // What is allowed of the group's other minors; none if the list of `*:minor` must be asked.
            let others = if minors.is_empty() { whole.or(Some(any)) } else { whole };
            let major = group[0].major.unwrap_or_default();
            let single: Vec<&Rule> =
                group.iter().filter(|pattern| pattern.minor.is_some() && Some(pattern.access) != others).collect();
            if single.is_empty() {
                if let Some(allowed) = whole {
                    self.end(JUMP_IF_EQUAL, MAJOR, major, allowed);
                }
                continue;
            }
            let next = self.jump(JUMP_UNLESS_EQUAL, MAJOR, major);
            for pattern in single {
                self.end(JUMP_IF_EQUAL, MINOR, pattern.minor.unwrap_or_default(), pattern.access);
            }
            match others {
                // The last group is followed by just that.
                _ if whole.is_none() && groups.peek().is_none() => {}
                Some(allowed) => self.end(JUMP, 0, 0, allowed),
                None => to_minors.push(self.jump(JUMP, 0, 0)),
            }
            self.land(next);
        }
        to_minors.into_iter().for_each(|jump| self.land(jump));
        for pattern in minors {
            self.end(JUMP_IF_EQUAL, MINOR, pattern.minor.unwrap_or_default(), pattern.access);
        }
    }

    /// Writes the ends; the code so far falls into that of `first`.
    fn finish(mut self, first: Access) -> Vec<Insn> {
        let is_partial = |allowed: &Access| !allowed.is_empty() && *allowed != Access::all();
        let mut partial = Vec::new();
        for allowed in std::iter::once(first).chain(self.ends.iter().map(|(_, allowed)| *allowed)) {
            if is_partial(&allowed) && !partial.contains(&allowed) {
                partial.push(allowed);
            }
        }
        if !is_partial(&first) {
            self.verdict(first);
        }
        for (index, allowed) in partial.iter().enumerate() {
            self.land_ends(*allowed);
            let denied = Access::all().without(*allowed);
            self.end(JUMP_IF_ANY_BIT, ASKED, u32::from(denied.bits()) << 16, Access::default());
            if index + 1 < partial.len() {
                self.end(JUMP, 0, 0, Access::all());
            }
        }
        // The last partial one falls into this.
        if !partial.is_empty() || self.is_awaited(Access::all()) {
            self.verdict(Access::all());
        }
        if self.is_awaited(Access::default()) {
            self.verdict(Access::default());
        }
        self.insns
    }

    fn is_awaited(&self, allowed: Access) -> bool {
        self.ends.iter().any(|end| end.1 == allowed)
    }

    fn land_ends(&mut self, allowed: Access) {
        let (landing, waiting) = self.ends.iter().partition(|end| end.1 == allowed);
        self.ends = waiting;
        Vec::into_iter(landing).for_each(|end: (usize, Access)| self.land(end.0));
    }

    /// Allows or denies, whatever was asked for.
    fn verdict(&mut self, allowed: Access) {
        self.land_ends(allowed);
        self.push(MOVE, VERDICT, 0, u32::from(!allowed.is_empty()));
        self.push(EXIT, 0, 0, 0);
    }
}

/// A filter that could not be put in place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttachError {
    /// Which command of bpf(2) failed.
    pub command: &'static str,
    /// Why.
    pub errno: Errno,
    /// What the verifier said last, if it was the load and the verifier was asked.
    pub log: String,
}

impl fmt::Display for AttachError {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{}: {}", self.command, self.errno)?;
        if self.log.is_empty() { Ok(()) } else { write!(f, ": the verifier says: {}", self.log) }
    }
}

impl std::error::Error for AttachError {}

impl From<AttachError> for Errno {
    fn from(error: AttachError) -> Errno {
        error.errno
    }
}

/// The filters of a cgroup that another has taken the place of.
#[derive(Debug)]
pub struct Replaced {
    new: OwnedFd,
    /// First the one in whose place it is.
    old: Vec<OwnedFd>,
}

impl Replaced {
    /// Makes them the cgroup's filters again; what both allow is allowed throughout.
    ///
    /// # Errors
    /// What bpf(2) says, on a cgroup that is gone or has other filters by now.
    pub fn put_back(&self, cgroup: BorrowedFd) -> nix::Result<()> {
        let Some((first, others)) = self.old.split_first() else {
            return bpf::prog_detach(cgroup, self.new.as_fd(), bpf::CGROUP_DEVICE);
        };
        let attach = |program: &OwnedFd| bpf::prog_attach(cgroup, program.as_fd(), bpf::CGROUP_DEVICE, None);
        others.iter().try_for_each(attach)?;
        bpf::prog_attach(cgroup, first.as_fd(), bpf::CGROUP_DEVICE, Some(self.new.as_fd()))
    }
}

/// Makes a program the device filter of a cgroup and removes all that were: the kernel allows only what
/// every attached filter allows. The new one takes the place of the newest there is in one step, and
/// the surplus goes afterwards, so that at no moment more is allowed than by the old or the new.
pub fn attach(cgroup: BorrowedFd, program: &[Insn]) -> Result<Replaced, AttachError> {
    let failed = |command| move |errno| AttachError { command, errno, log: String::new() };
    let new = bpf::prog_load(bpf::PROG_TYPE_CGROUP_DEVICE, program, c"Apache-2.0", "ferrun_devices")
        .map_err(|error| AttachError { command: "BPF_PROG_LOAD", errno: error.errno, log: error.log })?;
    let mut old = attached(cgroup).map_err(failed("BPF_PROG_QUERY"))?;
    let first = replace_one(cgroup, new.as_fd(), &mut old).map_err(failed("BPF_PROG_ATTACH (BPF_F_REPLACE)"))?;
    if first.is_none() {
        bpf::prog_attach(cgroup, new.as_fd(), bpf::CGROUP_DEVICE, None).map_err(failed("BPF_PROG_ATTACH"))?;
    }
    let mut replaced = Replaced { new, old: first.into_iter().collect() };
    for surplus in old {
        match bpf::prog_detach(cgroup, surplus.as_fd(), bpf::CGROUP_DEVICE) {
            Ok(()) => replaced.old.push(surplus),
            // One that is held by a BPF link, or that someone else has just removed.
            Err(Errno::ENOENT) => {}
            Err(errno) => {
                let _ = replaced.put_back(cgroup);
                return Err(failed("BPF_PROG_DETACH")(errno));
            }
        }
    }
    Ok(replaced)
}

/// The programs of a cgroup, oldest first, without those that a security module keeps from us and those
/// that have just gone. To leave one is safe: it can only deny more.
fn attached(cgroup: BorrowedFd) -> nix::Result<Vec<OwnedFd>> {
    let mut programs = Vec::new();
    for id in bpf::prog_query(cgroup, bpf::CGROUP_DEVICE)? {
        match bpf::prog_get_fd_by_id(id) {
            Ok(program) => programs.push(program),
            Err(Errno::EPERM | Errno::EACCES | Errno::ENOENT) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(programs)
}

/// Puts the new program in the place of the newest of the old that lets itself be replaced (one that is
/// held by a BPF link does not), and takes that from the list. None: there is no such one.
fn replace_one(cgroup: BorrowedFd, new: BorrowedFd, old: &mut Vec<OwnedFd>) -> nix::Result<Option<OwnedFd>> {
    for index in (0..old.len()).rev() {
        match bpf::prog_attach(cgroup, new, bpf::CGROUP_DEVICE, Some(old[index].as_fd())) {
            Ok(()) => return Ok(Some(old.remove(index))),
            Err(Errno::ENOENT) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};
    use std::process::{Command, Output};

    use super::super::access::tests::{devices, plainly_allows, random_lists};
    use super::*;
    use crate::skip::skip;
    use crate::types::device_rules::DEFAULT;
    use crate::types::device_rules::tests::list;

    fn compile(rules: &[Rule]) -> Vec<Insn> {
        program(&DeviceAccess::from_rules(rules).unwrap())
    }

    /// Runs a program; marks what it passed.
    fn run(program: &[Insn], context: [u32; 3], passed: &mut [bool]) -> bool {
        let mut registers = [None; 5];
        let mut at = 0;
        loop {
            let Insn { code, regs, off, imm } = program[at];
            let reg = usize::from(regs & 15);
            let holds = |compare: fn(u32, u32) -> bool| compare(registers[reg].unwrap(), imm.cast_unsigned());
            passed[at] = true;
            at += 1;
            let jump = match code {
                LOAD_WORD | MOVE => {
                    registers[reg] = Some(if code == MOVE { imm.cast_unsigned() } else { context[off as usize / 4] });
                    false
                }
                JUMP => true,
                JUMP_IF_EQUAL => holds(|a, b| a == b),
                JUMP_UNLESS_EQUAL => holds(|a, b| a != b),
                JUMP_IF_ANY_BIT => holds(|a, b| a & b != 0),
                EXIT => return registers[0].unwrap() == 1,
                other => panic!("opcode {other:#x}"),
            };
            at += if jump { usize::try_from(off).unwrap() } else { 0 };
        }
    }

    #[test]
    fn a_filter_allows_what_the_list_allows() {
        for rules in random_lists(3000).chain([DEFAULT.to_vec()]) {
            let program = compile(&rules);
            let mut passed = vec![false; program.len()];
            for (kind, major, minor) in devices() {
                for asked in 1..8 {
                    let bits: String = [(1, 'm'), (2, 'r'), (4, 'w')]
                        .into_iter()
                        .filter(|(bit, _)| asked & bit != 0)
                        .map(|(_, c)| c)
                        .collect();
                    let access = Access::parse(&bits).unwrap();
                    let node = if kind == Kind::Block { 1 } else { 2 };
                    let context = [asked << 16 | node, major.unwrap(), minor.unwrap()];
                    let verdict = run(&program, context, &mut passed);
                    let expected = plainly_allows(&rules, &(kind, major, minor), access);
                    assert_eq!(verdict, expected, "{kind:?} {major:?}:{minor:?} {access}: {rules:?}\n{program:#?}");
                }
            }
            // DEFAULT names devices that are not tried here.
            assert!(rules == DEFAULT || passed.iter().all(|passed| *passed), "{passed:?} {rules:?}\n{program:#?}");
        }
    }

    #[test]
    fn filters_are_short() {
        for (rules, length) in [
            (list(""), 2),
            (list("+a *:* rwm"), 2),
            (DEFAULT.to_vec(), 24),
            (list("+c 1:3 rwm"), 10),
            (list("+a *:* rwm, -b 8:* w"), 12),
            (list("+a *:* m"), 6),
        ] {
            assert_eq!(compile(&rules).len(), length, "{rules:?}\n{:#?}", compile(&rules));
        }
    }

    #[test]
    fn numbers_beyond_31_bits_are_compared_whole() {
        let program = compile(&list("+c 4294967294:2147483648 r"));
        let mut passed = vec![false; program.len()];
        assert!(run(&program, [2 << 16 | 2, u32::MAX - 1, 1 << 31], &mut passed));
        assert!(!run(&program, [2 << 16 | 2, u32::MAX - 1, 0], &mut passed));
    }

    /// A cgroup of version 2 of its own, removed when dropped; none, and why is told, if there can be none.
    struct Scratch(PathBuf);

    impl Scratch {
        fn new(name: &str) -> Option<Scratch> {
            let is_v2 = |path: &&str| {
                nix::sys::statfs::statfs(*path)
                    .is_ok_and(|fs| fs.filesystem_type() == nix::sys::statfs::CGROUP2_SUPER_MAGIC)
            };
            if !nix::unistd::geteuid().is_root() {
                skip(&format!("{name}: this test needs root"));
                return None;
            }
            let Some(root) = ["/sys/fs/cgroup/unified", "/sys/fs/cgroup"].iter().copied().find(|path| is_v2(path))
            else {
                skip(&format!("{name}: this test needs cgroup v2"));
                return None;
            };
            let path = Path::new(root).join(format!("ferrun-test-{name}-{}", std::process::id()));
            std::fs::create_dir(&path).unwrap();
            Some(Scratch(path))
        }

        fn open(&self) -> OwnedFd {
            std::fs::File::open(&self.0).unwrap().into()
        }

        /// Runs a line of shell in the cgroup.
        fn shell(&self, line: &str) -> Output {
            let script = format!("echo 0 > {}/cgroup.procs && {line}", self.0.display());
            Command::new("/bin/sh").args(["-c", &script]).output().unwrap()
        }

        fn may(&self, line: &str) -> bool {
            let output = self.shell(line);
            let error = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success() || error.contains("Operation not permitted"), "{line}: {error}");
            output.status.success()
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            std::fs::remove_dir(&self.0).unwrap();
        }
    }

    #[test]
    fn the_kernel_keeps_to_an_attached_filter() {
        let Some(cgroup) = Scratch::new("attach") else { return };
        let fd = cgroup.open();
        let attach = |rules: &str| {
            attach(fd.as_fd(), &compile(&list(rules))).unwrap();
            assert_eq!(bpf::prog_query(fd.as_fd(), bpf::CGROUP_DEVICE).unwrap().len(), 1, "{rules}");
        };
        assert!(cgroup.may(": </dev/full"));
        attach("+c 1:3 rwm");
        assert_eq!((cgroup.may(": </dev/null"), cgroup.may(": </dev/full")), (true, false));
        // A new one takes its place; a device that may not be written to may not be opened for both.
        attach("+a *:* rwm, -c 1:7 w");
        assert_eq!((cgroup.may(": </dev/full"), cgroup.may(": <>/dev/full")), (true, false));
        // It can be taken back.
        let replaced = super::attach(fd.as_fd(), &compile(&[])).unwrap();
        assert!(!cgroup.may(": </dev/full"));
        replaced.put_back(fd.as_fd()).unwrap();
        assert_eq!((cgroup.may(": </dev/full"), cgroup.may(": <>/dev/full")), (true, false));
        // A second one from elsewhere goes too.
        let deny_all = compile(&[]);
        let other = bpf::prog_load(bpf::PROG_TYPE_CGROUP_DEVICE, &deny_all, c"GPL", "other").unwrap();
        bpf::prog_attach(fd.as_fd(), other.as_fd(), bpf::CGROUP_DEVICE, None).unwrap();
        assert!(!cgroup.may(": </dev/full"));
        let replaced = super::attach(fd.as_fd(), &compile(&list("+a *:* rwm"))).unwrap();
        assert!(cgroup.may(": <>/dev/full"));
        // And with it what else there was.
        replaced.put_back(fd.as_fd()).unwrap();
        assert_eq!(bpf::prog_query(fd.as_fd(), bpf::CGROUP_DEVICE).unwrap().len(), 2);
        attach("+a *:* rwm");
        assert!(cgroup.may(": <>/dev/full"));
    }

    #[test]
    fn the_verifier_takes_every_filter_and_says_why_it_does_not() {
        let Some(_) = Scratch::new("verify") else { return };
        let load = |program: &[Insn]| bpf::prog_load(bpf::PROG_TYPE_CGROUP_DEVICE, program, c"Apache-2.0", "test");
        for rules in random_lists(300).chain([DEFAULT.to_vec()]) {
            load(&compile(&rules)).unwrap();
        }
        let error = load(&[Insn { code: EXIT, regs: 0, off: 0, imm: 0 }]).unwrap_err();
        assert_eq!((error.errno, error.log.as_str()), (Errno::EACCES, "R0 !read_ok"));
    }
}
