//! Compiled seccomp filters against a plain reading of their profiles, and against libseccomp's programs:
//! a machine for BPF runs them on made-up calls, so that every architecture is tested on any machine.

mod common;

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::process::{Command, Stdio};

use common::skip;
use ferrun::bundle::seccomp::read;
use ferrun::seccomp::arch::X32_BIT;
use ferrun::seccomp::profile::{Condition, Operator};
use ferrun::seccomp::syscalls::{self, Call};
use ferrun::seccomp::{Action, Arch, Profile, compile};
use ferrun::sys::seccomp::Insn;
use serde_json::{Value, json};

/// `struct seccomp_data`.
#[derive(Debug, Clone, Copy)]
struct Data {
    number: u32,
    architecture: u32,
    arguments: [u64; 6],
}

impl Data {
    fn word(&self, offset: u32) -> u32 {
        match offset {
            0 => self.number,
            4 => self.architecture,
            16..64 => (self.arguments[(offset as usize - 16) / 8] >> (8 * (offset % 8))) as u32,
            _ => panic!("a load from {offset}"),
        }
    }
}

/// Runs a program as the kernel does; gives its result and how many instructions that took.
fn run(program: &[Insn], data: &Data) -> (u32, usize) {
    let (mut accumulator, mut at, mut steps) = (0, 0, 0);
    loop {
        let Insn { code, jt, jf, k } = program[at];
        (at, steps) = (at + 1, steps + 1);
        let jump = |holds: bool| usize::from(if holds { jt } else { jf });
        match code {
            0x20 => accumulator = data.word(k),
            0x06 => return (k, steps),
            0x05 => at += k as usize,
            0x15 => at += jump(accumulator == k),
            0x25 => at += jump(accumulator > k),
            0x35 => at += jump(accumulator >= k),
            0x45 => at += jump(accumulator & k != 0),
            0x54 => accumulator &= k,
            _ => panic!("operation {code:#x}"),
        }
    }
}

fn holds(condition: &Condition, data: &Data, wide: bool) -> bool {
    let cut = |value: u64| if wide { value } else { value & 0xffff_ffff };
    let (left, right) = (cut(data.arguments[usize::from(condition.argument)]), cut(condition.value));
    match condition.operator {
        Operator::Equal => left == right,
        Operator::NotEqual => left != right,
        Operator::Less => left < right,
        Operator::LessOrEqual => left <= right,
        Operator::Greater => left > right,
        Operator::GreaterOrEqual => left >= right,
        Operator::MaskedEqual => left & condition.mask == right & condition.mask,
    }
}

/// The number of a function of socketcall(2) or ipc(2) on 32-bit x86.
fn function(name: &str) -> Option<(u32, u64)> {
    let socket = "socket bind connect listen accept getsockname getpeername socketpair send recv sendto recvfrom \
                  shutdown setsockopt getsockopt sendmsg recvmsg accept4 recvmmsg sendmmsg";
    let ipc = [("semop", 1), ("semget", 2), ("semctl", 3), ("semtimedop", 4), ("msgsnd", 11), ("msgrcv", 12)];
    let more = [("msgget", 13), ("msgctl", 14), ("shmat", 21), ("shmdt", 22), ("shmget", 23), ("shmctl", 24)];
    let found = socket.split(' ').filter(|one| !one.is_empty()).position(|one| one == name);
    let ipc = || ipc.iter().chain(&more).find(|(one, _)| *one == name).map(|(_, number)| (117, *number));
    found.map(|at| (102, at as u64 + 1)).or_else(ipc)
}

/// Which architecture's names a call is looked up with.
fn arch_of(data: &Data, listed: &[Arch]) -> Option<Arch> {
    let x32 = data.number & X32_BIT != 0 && data.architecture == Arch::X86_64.audit();
    let has = |arch| listed.contains(&arch);
    match x32 {
        true if has(Arch::X32) => Some(Arch::X32),
        true if data.number == u32::MAX && has(Arch::X86_64) => Some(Arch::X86_64),
        true => None,
        false => listed.iter().copied().find(|arch| *arch != Arch::X32 && arch.audit() == data.architecture),
    }
}

/// The largest number that the profile names, if runc's rule for newer calls applies.
fn newest(profile: &Profile, arch: Arch) -> Option<u32> {
    let named = profile.rules.iter().flat_map(|rule| &rule.names);
    let direct = named.filter(|call| arch != Arch::X86 || function(call.name()).is_none());
    let last = direct.filter_map(|call| arch.number(*call)).max().unwrap_or(0);
    let denies = ![Action::ALLOW, Action::LOG, Action::TRACE].contains(&profile.default.kind());
    (denies && last > 0).then_some(last)
}

/// Every action that a reader of the profile could expect for a call: several where rules overlap.
fn expected(profile: &Profile, native: Arch, data: &Data) -> BTreeSet<u32> {
    let listed = native.with_listed(&profile.architectures);
    let one = |action: Action| BTreeSet::from([action.0]);
    let Some(arch) = arch_of(data, &listed) else { return one(Action::KILL_THREAD) };
    let no_newer = data.number & X32_BIT != 0 && arch == Arch::X86_64;
    if newest(profile, arch).is_some_and(|last| data.number > last) && !no_newer {
        return one(Action::ENOSYS);
    }
    if arch == Arch::X86_64 && !listed.contains(&Arch::X32) && data.number >= X32_BIT && data.number != u32::MAX {
        return one(Action::KILL_THREAD);
    }
    let mut found = BTreeSet::new();
    for rule in profile.rules.iter().filter(|rule| rule.action != profile.default) {
        let arguments: BTreeSet<u8> = rule.conditions.iter().map(|condition| condition.argument).collect();
        let any = arguments.len() < rule.conditions.len();
        let size = if any { 1 } else { rule.conditions.len().max(1) };
        let mut groups: Vec<&[Condition]> = rule.conditions.chunks(size).collect();
        if groups.is_empty() {
            groups.push(&[]);
        }
        for group in groups {
            let fits = |condition: &&Condition| holds(condition, data, arch.is_wide());
            let direct = rule.names.iter().any(|call| arch.number(*call) == Some(data.number));
            let always = |condition: &Condition| {
                let mask = if arch.is_wide() { condition.mask } else { condition.mask & 0xffff_ffff };
                condition.operator == Operator::MaskedEqual && mask == 0
            };
            if direct && group.iter().all(always) {
                return one(rule.action);
            }
            let disguised = arch == Arch::X86
                && rule
                    .names
                    .iter()
                    .filter_map(|call| function(call.name()))
                    .any(|(number, function)| number == data.number && data.arguments[0] as u32 == function as u32);
            if direct && group.iter().all(|one| fits(&one))
                || disguised && group.iter().filter(|condition| condition.argument != 0).all(|one| fits(&one))
            {
                found.insert(rule.action.0);
            }
        }
    }
    // A later rule without conditions covers all those with some; it has returned above.
    if found.is_empty() { one(profile.default) } else { found }
}

/// A small generator of numbers: xorshift.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() >> 33) as usize % end
    }

    fn pick<T: Copy>(&mut self, list: &[T]) -> T {
        list[self.below(list.len())]
    }
}

const FAMILIES: [(Arch, &[Arch]); 6] = [
    (Arch::X86_64, &[]),
    (Arch::X86_64, &[Arch::X86]),
    (Arch::X86_64, &[Arch::X86, Arch::X32]),
    (Arch::Aarch64, &[]),
    (Arch::Aarch64, &[Arch::Arm]),
    (Arch::Riscv64, &[]),
];

/// Numbers that are of interest on any architecture: all that there are, and the edges between.
fn numbers() -> Vec<u32> {
    let edges = [0x3fff_ffff, 0x7fff_ffff, 0x8000_0000, 0xbfff_ffff, 0xc000_0000, 0xffff_fffe, 0xffff_ffff];
    let ranges = [0..1100, X32_BIT..X32_BIT + 1100, 0x000f_0000..0x000f_0010, 0x8000_0000..0x8000_0010];
    ranges.into_iter().flatten().chain(edges).collect()
}

fn audits() -> impl Iterator<Item = u32> {
    [Arch::X86_64, Arch::X86, Arch::Aarch64, Arch::Arm, Arch::Riscv64].into_iter().map(Arch::audit).chain([0, 0x1234])
}

fn load(name: &str) -> Vec<u8> {
    std::fs::read(format!("{}/tests/data/{name}.seccomp.json", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

#[test]
fn engines_profiles_do_what_they_say_for_every_number_of_every_architecture() {
    for name in ["docker", "containerd", "podman"] {
        let text = load(name);
        for (native, listed) in FAMILIES {
            let mut profile = read(&text).unwrap().unwrap();
            profile.architectures = listed.to_vec();
            let filter = compile(&profile, native).unwrap();
            for architecture in audits() {
                for number in numbers() {
                    // What the profiles ask of arguments: personality, clone, socket and socketcall.
                    for first in [0, 16, 0x7e02_0000, 1 << 32] {
                        let data = Data { number, architecture, arguments: [first, 0, first & 9, 9, 0, 0] };
                        let (done, wanted) = (run(&filter.program, &data).0, expected(&profile, native, &data));
                        assert!(wanted.contains(&done), "{name} {native:?}: {data:x?} {done:#x} and not {wanted:x?}");
                    }
                }
            }
        }
    }
}

#[test]
fn paths_are_short() {
    let profile = read(&load("docker")).unwrap().unwrap();
    let filter = compile(&profile, Arch::X86_64).unwrap();
    let call = |number| Data { number, architecture: Arch::X86_64.audit(), arguments: [0; 6] };
    let longest = (0..500).map(|number| run(&filter.program, &call(number)).1).max().unwrap();
    println!("{} instructions, the longest path {longest}", filter.program.len());
    assert!(longest <= 20, "{longest}");
    assert!(filter.program.len() < 500, "{}", filter.program.len());
}

const OPERATORS: [(Operator, &str); 7] = [
    (Operator::NotEqual, "NE"),
    (Operator::Less, "LT"),
    (Operator::LessOrEqual, "LE"),
    (Operator::Equal, "EQ"),
    (Operator::GreaterOrEqual, "GE"),
    (Operator::Greater, "GT"),
    (Operator::MaskedEqual, "MASKED_EQ"),
];

const VALUES: [u64; 10] = [0, 1, 2, 9, 0x7fff_ffff, 0xffff_ffff, 0x1_0000_0000, 0x1_0000_0009, 0x5_0000_0001, u64::MAX];

fn random_profile(random: &mut Random, calls: &[Call]) -> Profile {
    let actions = ["ERRNO", "ALLOW", "KILL", "KILL_PROCESS", "TRAP", "TRACE", "LOG"];
    let few: Vec<Call> = (0..1 + random.below(12)).map(|_| random.pick(calls)).collect();
    let mut rules = Vec::new();
    for _ in 0..random.below(14) {
        let names: Vec<&str> = (0..1 + random.below(3)).map(|_| random.pick(&few).name()).collect();
        let arguments = if random.below(3) == 0 { 0 } else { 1 + random.below(3) };
        let arguments: Vec<Value> = (0..arguments)
            .map(|_| {
                let (value, two) = (random.pick(&VALUES), random.pick(&VALUES));
                let operator = format!("SCMP_CMP_{}", random.pick(&OPERATORS).1);
                json!({"index": random.below(4), "value": value, "valueTwo": two, "op": operator})
            })
            .collect();
        let action = random.pick(&actions);
        let mut rule = json!({"names": names, "action": format!("SCMP_ACT_{action}"), "args": arguments});
        if action == "ERRNO" {
            rule["errnoRet"] = json!(random.pick(&[1, 2, 38]));
        }
        rules.push(rule);
    }
    let default = format!("SCMP_ACT_{}", random.pick(&actions));
    read(json!({"defaultAction": default, "syscalls": rules}).to_string().as_bytes()).unwrap().unwrap()
}

/// Calls on which a profile says something, with arguments around the values that it compares with.
fn random_calls(random: &mut Random, profile: &Profile, native: Arch) -> Vec<Data> {
    let named: Vec<Call> = profile.rules.iter().flat_map(|rule| rule.names.iter().copied()).collect();
    let archs = native.with_listed(&Arch::ALL);
    let data = |random: &mut Random| {
        let arch = random.pick(&archs);
        let other = [102, 117, 600, X32_BIT, X32_BIT + 600, 0x8000_0000, 0xffff_ffff];
        let known = if named.is_empty() { None } else { arch.number(random.pick(&named)) };
        let number = known.filter(|_| random.below(8) > 0).unwrap_or_else(|| random.pick(&other));
        let argument = |random: &mut Random| match random.below(5) {
            0 => random.next(),
            1 => random.below(25) as u64,
            _ => random.pick(&VALUES).wrapping_add(random.below(3) as u64).wrapping_sub(1),
        };
        Data { number, architecture: arch.audit(), arguments: std::array::from_fn(|_| argument(random)) }
    };
    (0..200).map(|_| data(random)).collect()
}

#[test]
fn random_profiles_do_what_they_say() {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let calls: Vec<Call> = syscalls::all().collect();
    let (mut compiled, mut unsure, mut tried) = (0, 0, 0);
    for round in 0..1200 {
        let (native, listed) = FAMILIES[round % FAMILIES.len()];
        let mut profile = random_profile(&mut random, &calls);
        profile.architectures = listed.to_vec();
        // Rules that contradict each other are refused.
        let Ok(filter) = compile(&profile, native) else { continue };
        compiled += 1;
        for data in random_calls(&mut random, &profile, native) {
            let (done, wanted) = (run(&filter.program, &data).0, expected(&profile, native, &data));
            (tried, unsure) = (tried + 1, unsure + usize::from(wanted.len() > 1));
            assert!(wanted.contains(&done), "{native:?} {data:x?}: {done:#x} and not {wanted:x?}\n{profile:#x?}");
        }
    }
    println!("{compiled} profiles, {tried} calls, {unsure} with more than one rule");
    assert!(compiled > 700 && unsure * 20 < tried, "{compiled} {unsure} {tried}");
}

/// The helper, compiled; none: there is no compiler or no libseccomp here.
fn libseccomp() -> Option<std::path::PathBuf> {
    let helper = std::env::temp_dir().join(format!("ferrun-libseccomp-{}", std::process::id()));
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/libseccomp/compile.c");
    let built = Command::new("cc").args(["-O2", "-o"]).arg(&helper).arg(source).arg("-ldl").status();
    if !built.is_ok_and(|status| status.success()) {
        skip("there is no C compiler for a comparison with libseccomp");
        return None;
    }
    let tried = Command::new(&helper).stdin(Stdio::null()).status().unwrap();
    if tried.code() == Some(77) {
        let _ = std::fs::remove_file(&helper);
        skip("there is no libseccomp to compare with");
        return None;
    }
    Some(helper)
}

/// A profile as the helper reads it.
fn for_helper(profile: &Profile, native: Arch) -> String {
    use std::fmt::Write;
    let token = |arch: Arch| if arch == Arch::X32 { 0x4000_003e } else { arch.audit() };
    let calls: usize = profile.rules.iter().map(|rule| rule.names.len()).sum();
    let mut text = format!("begin {:x} {}\n", profile.default.0, u8::from(calls > 32));
    for arch in native.with_listed(&profile.architectures) {
        writeln!(text, "arch {:x}", token(arch)).unwrap();
    }
    if native != Arch::X86_64 {
        writeln!(text, "without {:x}", token(Arch::X86_64)).unwrap();
    }
    for rule in &profile.rules {
        let arguments: BTreeSet<u8> = rule.conditions.iter().map(|condition| condition.argument).collect();
        let any = arguments.len() < rule.conditions.len();
        for call in &rule.names {
            let mut groups: Vec<&[Condition]> =
                if any { rule.conditions.chunks(1).collect() } else { vec![&rule.conditions] };
            for group in groups.drain(..) {
                write!(text, "rule {:x} {} {}", rule.action.0, call.name(), group.len()).unwrap();
                for condition in group {
                    let operator = 1 + OPERATORS.iter().position(|(one, _)| *one == condition.operator).unwrap();
                    let (a, b) = match condition.operator {
                        Operator::MaskedEqual => (condition.mask, condition.value),
                        _ => (condition.value, 0),
                    };
                    write!(text, " {} {operator} {a:x} {b:x}", condition.argument).unwrap();
                }
                text.push('\n');
            }
        }
    }
    text + "end\n"
}

/// What libseccomp makes of profiles; -1: it refuses one; -2: it fails on it.
fn programs(helper: &std::path::Path, profiles: &[(Profile, Arch)]) -> Vec<Result<Vec<Insn>, i32>> {
    let mut child = Command::new(helper).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let text: String = profiles.iter().map(|(profile, native)| for_helper(profile, *native)).collect();
    let mut input = child.stdin.take().unwrap();
    let writer = std::thread::spawn(move || input.write_all(text.as_bytes()).unwrap());
    let mut output = Vec::new();
    child.stdout.take().unwrap().read_to_end(&mut output).unwrap();
    writer.join().unwrap();
    assert!(child.wait().unwrap().success());
    let mut rest = &output[..];
    let mut next = || {
        let (length, after) = rest.split_first_chunk::<4>().unwrap();
        let length = i32::from_le_bytes(*length);
        let (program, after) = after.split_at(8 * length.max(0) as usize);
        rest = after;
        let insn = |bytes: &[u8]| Insn {
            code: u16::from_le_bytes([bytes[0], bytes[1]]),
            jt: bytes[2],
            jf: bytes[3],
            k: u32::from_le_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]),
        };
        if length >= 0 { Ok(program.chunks(8).map(insn).collect()) } else { Err(length) }
    };
    profiles.iter().map(|_| next()).collect()
}

/// Newer calls get ENOSYS by runc's addition; without it, our program and libseccomp's are one function.
fn is_newer(profile: &Profile, native: Arch, data: &Data) -> bool {
    let listed = native.with_listed(&profile.architectures);
    let x32 = data.number & X32_BIT != 0 && data.architecture == Arch::X86_64.audit();
    let of_bit = |arch: &Arch| (*arch == Arch::X32) == x32 && arch.audit() == data.architecture;
    let arch = listed.into_iter().find(of_bit);
    arch.and_then(|arch| newest(profile, arch)).is_some_and(|last| data.number > last)
}

fn compare(profiles: &[(Profile, Arch)], calls: impl Fn(&Profile, Arch) -> Vec<Data>) -> Option<(usize, Vec<String>)> {
    if Arch::NATIVE != Some(Arch::X86_64) {
        skip("the comparison with libseccomp is for x86_64");
        return None;
    }
    let helper = libseccomp()?;
    let theirs = programs(&helper, profiles);
    let _ = std::fs::remove_file(helper);
    let (mut tried, mut lost, mut wrong) = (0, 0, Vec::new());
    for ((profile, native), theirs) in profiles.iter().zip(theirs) {
        let ours = compile(profile, *native).ok();
        let (Some(ours), Ok(theirs)) = (&ours, &theirs) else {
            // libseccomp also refuses contradictions on calls that the architecture does not have.
            if ours.is_none() && theirs.is_ok() {
                wrong.push(format!("refused by us alone: {profile:x?}"));
            }
            continue;
        };
        for data in calls(profile, *native) {
            let (ours, theirs) = (run(&ours.program, &data).0, run(theirs, &data).0);
            let theirs = if is_newer(profile, *native, &data) { Action::ENOSYS.0 } else { theirs };
            tried += 1;
            if ours != theirs {
                // What no reading gives: libseccomp 2.5 loses a rule where 64-bit comparisons of different
                // rules share a word.
                if !expected(profile, *native, &data).contains(&theirs) {
                    lost += 1;
                    continue;
                }
                wrong.push(format!("{native:?} {data:x?}: ours {ours:#x} theirs {theirs:#x}\n{profile:x?}"));
                break;
            }
        }
    }
    println!("{lost} calls for which libseccomp has lost a rule");
    Some((tried, wrong))
}

#[test]
fn engines_profiles_do_what_libseccomp_makes_of_them() {
    let profiles = ["docker", "containerd", "podman"].into_iter().flat_map(|name| {
        FAMILIES.into_iter().filter(|(native, _)| *native == Arch::X86_64).map(move |(native, listed)| {
            let mut profile = read(&load(name)).unwrap().unwrap();
            profile.architectures = listed.to_vec();
            only_old(&mut profile);
            (profile, native)
        })
    });
    let calls = |_: &Profile, _| {
        let first = [0, 0x7e02_0000];
        let data =
            |number, architecture, first| Data { number, architecture, arguments: [first, 0, first & 9, 9, 0, 0] };
        let at = |architecture| {
            numbers()
                .into_iter()
                .flat_map(move |number| first.into_iter().map(move |first| data(number, architecture, first)))
        };
        audits().flat_map(at).collect()
    };
    let Some((tried, wrong)) = compare(&profiles.collect::<Vec<_>>(), calls) else { return };
    println!("{tried} calls");
    assert!(wrong.is_empty(), "{} profiles differ, such as {}", wrong.len(), wrong[0]);
}

/// Leaves out calls that this libseccomp may be too old to know: those of Linux 5.17 and later, and what
/// has come to older architectures since.
fn only_old(profile: &mut Profile) {
    for rule in &mut profile.rules {
        rule.names.retain(|call| is_old(*call));
    }
}

fn is_old(call: Call) -> bool {
    let old = |arch: Arch| {
        arch.number(call).is_none_or(|number| number & !X32_BIT < 450 || number >= 0xf0000 || arch == Arch::X32)
    };
    // On riscv64 and x32 these came, or were renamed, later.
    Arch::ALL.into_iter().all(old)
        && !["riscv_hwprobe", "uretprobe", "uprobe", "memfd_secret", "renameat", "fstatat", "newfstatat"]
            .contains(&call.name())
}

#[test]
fn random_profiles_do_what_libseccomp_makes_of_them() {
    let mut random = Random(0x2545_f491_4f6c_dd1d);
    let calls: Vec<Call> = syscalls::all().filter(|call| is_old(*call)).collect();
    let count = std::env::var("FERRUN_SECCOMP_ROUNDS").map_or(600, |rounds| rounds.parse().unwrap());
    let profiles: Vec<(Profile, Arch)> = (0..count)
        .map(|round| {
            let (native, listed) = FAMILIES[round % FAMILIES.len()];
            let mut profile = random_profile(&mut random, &calls);
            profile.architectures = listed.to_vec();
            (profile, native)
        })
        .collect();
    let calls = |profile: &Profile, native| random_calls(&mut Random(0x1234_5678_9abc), profile, native);
    let Some((tried, wrong)) = compare(&profiles, calls) else { return };
    println!("{tried} calls, {} of {count} profiles differ", wrong.len());
    // These are overlaps of several rules that look at several arguments, with different actions: which wins
    // depends in libseccomp on what it has pruned before. The plain reading allows both answers.
    assert!(wrong.len() * 50 < count, "{} profiles differ, such as {}", wrong.len(), wrong[0]);
}

/// A number that our tables do not have is one that the running kernel does not have: else they are too old.
/// (No call is made that we know; an unknown one gets arguments that nothing takes.)
#[test]
fn the_tables_have_every_call_of_the_running_kernel() {
    let Some(native) = Arch::NATIVE else { return skip("there is no table of this architecture's calls") };
    let known: BTreeSet<u32> = syscalls::all().filter_map(|call| native.number(call)).collect();
    for number in (0..600).filter(|number| !known.contains(number)) {
        // SAFETY: -1 is no descriptor, pid, flag or address that a call could take.
        let ret = unsafe { libc::syscall(libc::c_long::from(number), -1, -1, -1, -1, -1, -1) };
        let errno = std::io::Error::last_os_error().raw_os_error();
        assert_eq!((ret, errno), (-1, Some(libc::ENOSYS)), "call {number} is not in the tables: run hack/syscalls");
    }
    // And those numbers that the C library knows are the same.
    let same = |name: &str, number: libc::c_long| {
        assert_eq!(native.number(syscalls::named(name).unwrap()), Some(number as u32), "{name}");
    };
    same("read", libc::SYS_read);
    same("execve", libc::SYS_execve);
    same("clone3", libc::SYS_clone3);
    same("seccomp", libc::SYS_seccomp);
    same("pidfd_getfd", libc::SYS_pidfd_getfd);
    same("landlock_create_ruleset", libc::SYS_landlock_create_ruleset);
}

fn median(mut times: Vec<u128>) -> f64 {
    times.sort_unstable();
    times[times.len() / 2] as f64 / 1000.0
}

/// Microseconds to install a program, and nanoseconds of three calls under it, in processes of their own.
fn in_force(program: &[Insn]) -> [f64; 4] {
    use std::time::Instant;
    let mut columns: [Vec<u128>; 4] = Default::default();
    for _ in 0..30 {
        let (mut reader, writer) = std::io::pipe().unwrap();
        // SAFETY: the child makes system calls alone.
        let child = unsafe { libc::fork() };
        if child == 0 {
            nix::sys::prctl::set_no_new_privs().unwrap();
            let begin = Instant::now();
            if !program.is_empty() {
                ferrun::sys::seccomp::set_filter(program, ferrun::sys::seccomp::SPEC_ALLOW).unwrap();
            }
            let mut times = [begin.elapsed().as_nanos() as u64, 0, 0, 0];
            // CLONE_SIGHAND without CLONE_VM is refused by the kernel, after the filter.
            let calls = [
                (libc::SYS_getppid, 0),
                (libc::SYS_socket, -1),
                (libc::SYS_clone, libc::c_long::from(libc::CLONE_SIGHAND)),
            ];
            for (time, call) in times[1..].iter_mut().zip(calls) {
                let begin = Instant::now();
                for _ in 0..20_000 {
                    // SAFETY: none of these takes a pointer that is not null.
                    unsafe { libc::syscall(call.0, call.1, 0, 0, 0, 0) };
                }
                *time = begin.elapsed().as_nanos() as u64 / 20;
            }
            let bytes: Vec<u8> = times.iter().flat_map(|time| time.to_ne_bytes()).collect();
            let _ = (&writer).write_all(&bytes);
            // SAFETY: _exit(2) has no precondition.
            unsafe { libc::_exit(0) };
        }
        drop(writer);
        let mut bytes = Vec::new();
        reader.read_to_end(&mut bytes).unwrap();
        let _ = nix::sys::wait::waitpid(nix::unistd::Pid::from_raw(child), None);
        for (column, time) in columns.iter_mut().zip(bytes.chunks(8)) {
            column.push(u64::from_ne_bytes(time.try_into().unwrap()).into());
        }
    }
    columns.map(median)
}

/// Not a test: hack/bench/seccomp runs it.
#[test]
#[ignore = "a bench"]
fn speed() {
    let profile = read(&load("docker")).unwrap().unwrap();
    let times = (0..2000).map(|_| {
        let begin = std::time::Instant::now();
        std::hint::black_box(compile(&profile, Arch::X86_64).unwrap());
        begin.elapsed().as_nanos()
    });
    let ours = compile(&profile, Arch::X86_64).unwrap().program;
    println!("compile     ferrun {:.1} µs", median(times.collect()));
    let mut rows = vec![("nothing", Vec::new()), ("ferrun", ours)];
    if let Some(helper) = libseccomp() {
        let mut child = Command::new(&helper).arg("20").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(for_helper(&profile, Arch::X86_64).as_bytes()).unwrap();
        let said = child.wait_with_output().unwrap().stdout;
        let nanoseconds: f64 = String::from_utf8(said).unwrap().trim().parse().unwrap();
        println!("compile     libseccomp {:.1} µs", nanoseconds / 1000.0);
        let profiles = [(profile, Arch::X86_64)];
        rows.push(("libseccomp, tree", programs(&helper, &profiles).remove(0).unwrap()));
        let [(mut profile, _)] = profiles;
        let all: Vec<_> = profile.rules.drain(..).collect();
        let linear = for_helper(&Profile { rules: all, ..profile }, Arch::X86_64).replacen(" 1\n", " 0\n", 1);
        let mut child = Command::new(&helper).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(linear.as_bytes()).unwrap();
        let said = child.wait_with_output().unwrap().stdout;
        let word = |bytes: &[u8], at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
        let insn = |raw: &[u8]| Insn { code: word(raw, 0) as u16, jt: raw[2], jf: raw[3], k: word(raw, 4) };
        rows.push(("libseccomp, list", said[4..].chunks(8).map(insn).collect()));
        let _ = std::fs::remove_file(helper);
    }
    for (name, program) in rows {
        let [install, getppid, socket, clone] = in_force(&program);
        println!(
            "{name:<18} {:>4} instructions  install {install:>7.1} µs  getppid {:>4.0} ns  socket {:>4.0} ns  clone {:>4.0} ns",
            program.len(),
            getppid,
            socket,
            clone
        );
    }
}
