//! Times filters of system calls: compiling Docker's default profile, installing the program, and three
//! calls under it; ferrun's and what peers install, in turn. `hack/bench/seccomp` runs it.

#[path = "../../tests/common/mod.rs"]
mod common;
#[path = "../../tests/libseccomp/mod.rs"]
mod libseccomp;

use std::fs::File;
use std::hash::{DefaultHasher, Hasher};
use std::hint::black_box;
use std::io::{Read, Write};
use std::path::Path;
use std::time::Instant;

use ferrun::bundle::seccomp::read;
use ferrun::seccomp::{Filter, compile};
use ferrun::sys::seccomp::{Insn, SPEC_ALLOW, set_filter};
use ferrun::types::seccomp::Arch;

/// How often each program is installed, and each compiler timed.
const ROUNDS: usize = 100;
const NAMES: [&str; 4] = ["install", "getppid", "socket", "clone"];

/// What runc 1.1 puts in front of libseccomp's program for Docker's profile, so that calls newer than it fail
/// with ENOSYS: as PTRACE_SECCOMP_GET_FILTER gives it of a container. The rest of that filter is libseccomp's
/// list, to the bit; crun's is nothing else.
const RUNC_STUB: [Insn; 14] = [
    insn(0x20, 0, 0, 4),
    insn(0x15, 2, 0, 0x4000_0003),
    insn(0x15, 4, 0, 0xc000_003e),
    insn(0x05, 0, 0, 10),
    insn(0x20, 0, 0, 0),
    insn(0x25, 7, 0, 449),
    insn(0x05, 0, 0, 7),
    insn(0x20, 0, 0, 0),
    insn(0x45, 1, 0, 0x4000_0000),
    insn(0x25, 3, 1, 449),
    insn(0x25, 2, 0, 0x4000_0223),
    insn(0x05, 0, 0, 2),
    insn(0x05, 0, 0, 1),
    insn(0x06, 0, 0, 0x0005_0026),
];

const fn insn(code: u16, jt: u8, jf: u8, k: u32) -> Insn {
    Insn { code, jt, jf, k }
}

/// A program and its times in each round, in nanoseconds: [`NAMES`].
struct Row {
    name: &'static str,
    program: Vec<Insn>,
    /// How many times faster ferrun's has to be installed.
    factor: f64,
    times: [Vec<u64>; 4],
}

impl Row {
    fn new(name: &'static str, program: Vec<Insn>, factor: f64) -> Row {
        Row { name, program, factor, times: Default::default() }
    }
}

/// A way to a program, and how long it takes, in nanoseconds.
struct Way<'a> {
    name: &'static str,
    once: Box<dyn Fn() -> u64 + 'a>,
    times: Vec<u64>,
}

impl<'a> Way<'a> {
    fn new(name: &'static str, once: impl Fn() -> u64 + 'a) -> Way<'a> {
        Way { name, once: Box::new(once), times: Vec::new() }
    }
}

fn median(times: &[u64]) -> f64 {
    let mut sorted = times.to_vec();
    sorted.sort_unstable();
    sorted[sorted.len() / 2] as f64
}

fn main() {
    let check = std::env::args().any(|argument| argument == "--check");
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/docker.seccomp.json");
    let text = std::fs::read_to_string(path).unwrap();
    let profile = read(&text).unwrap().unwrap();
    let ours = compile(&profile, Arch::X86_64).unwrap().program;
    let cached = Path::new(env!("CARGO_TARGET_TMPDIR")).join("cached.bpf");
    std::fs::write(&cached, vec![0; 8 * ours.len()]).unwrap();
    let mut ways = vec![
        Way::new("ferrun", || mean(|| drop(black_box(compile(&profile, Arch::X86_64).unwrap())))),
        Way::new("ferrun, reading as well", || mean(|| drop(black_box(read_and_compile(&text))))),
        Way::new("a cache, at least", || mean(|| drop(black_box(from_cache(&text, &cached))))),
    ];
    let mut rows = vec![Row::new("nothing", Vec::new(), 1.0), Row::new("ferrun", ours, 1.0)];
    if let Some(helper) = libseccomp::helper() {
        let tree = libseccomp::spelled(&profile, Arch::X86_64);
        let list = tree.replacen(" 1\n", " 0\n", 1);
        let program = |text: &String| libseccomp::compiled(&helper, text.clone(), 1).remove(0).unwrap();
        let (in_tree, in_list) = (program(&tree), program(&list));
        let behind_stub = |program: &[Insn]| [&RUNC_STUB, program].concat();
        rows.push(Row::new("runc 1.1", behind_stub(&in_list), 5.0));
        rows.push(Row::new("runc since 1.2", behind_stub(&in_tree), 2.0));
        rows.push(Row::new("crun", in_list, 5.0));
        for (name, text) in [("libseccomp, list", list), ("libseccomp, tree", tree)] {
            let helper = helper.clone();
            ways.push(Way::new(name, move || {
                String::from_utf8(libseccomp::ask(&helper, &["2"], text.clone())).unwrap().trim().parse().unwrap()
            }));
        }
    }
    for round in 0..ROUNDS {
        for way in &mut ways {
            way.times.push((way.once)());
        }
        for at in 0..rows.len() {
            // In an order that changes from round to round.
            let at = (at + round) % rows.len();
            let row = &mut rows[at];
            for (column, time) in row.times.iter_mut().zip(in_force(&row.program)) {
                column.push(time);
            }
        }
    }
    print(&rows, &ways);
    if check && !keeps_its_targets(&rows, &ways) {
        std::process::exit(1);
    }
}

fn print(rows: &[Row], ways: &[Way]) {
    for Way { name, times, .. } in ways {
        println!("{name:<24} {:>8.1} µs", median(times) / 1000.0);
    }
    for Row { name, program, times, .. } in rows {
        let [install, rest @ ..] = times;
        print!("{name:<15} {:>4} instructions  install {:>7.1} µs", program.len(), median(install) / 1000.0);
        for (call, times) in NAMES[1..].iter().zip(rest) {
            print!("  {call} {:>4.0} ns", median(times));
        }
        println!();
    }
}

/// Whether ferrun compiles ten times faster than libseccomp in either form, installs as many times faster as
/// each row says, and no call is slower than under a peer's program, to 5 %.
fn keeps_its_targets(rows: &[Row], ways: &[Way]) -> bool {
    let [_, ferrun, peers @ ..] = rows else { return false };
    if peers.is_empty() {
        eprintln!("there is no libseccomp to hold ferrun against");
        return false;
    }
    let mut kept = true;
    let mut hold = |what: &str, peer: &str, ours: &[u64], theirs: &[u64], factor: f64| {
        let (ours, limit) = (median(ours), median(theirs) / factor);
        if ours > limit {
            eprintln!("missed: {what} against {peer}: {ours:.0} ns, at most {limit:.0}");
            kept = false;
        }
    };
    for way in ways.iter().filter(|way| way.name.starts_with("libseccomp")) {
        hold("compile", way.name, &ways[0].times, &way.times, 10.0);
    }
    for peer in peers {
        let factors = [peer.factor, 1.0 / 1.05, 1.0 / 1.05, 1.0 / 1.05];
        for (at, factor) in factors.into_iter().enumerate() {
            hold(NAMES[at], peer.name, &ferrun.times[at], &peer.times[at], factor);
        }
    }
    kept
}

/// Nanoseconds of something, the mean of 50.
fn mean(something: impl Fn()) -> u64 {
    let begin = Instant::now();
    for _ in 0..50 {
        something();
    }
    begin.elapsed().as_nanos() as u64 / 50
}

fn read_and_compile(text: &str) -> Filter {
    compile(&read(text).unwrap().unwrap(), Arch::X86_64).unwrap()
}

/// The least that a cache has to do: a key of the profile's text, a file that is found, looked at and read,
/// and a sum over it. A hash that resists forgery takes longer than this one.
fn from_cache(text: &str, path: &Path) -> (u64, Vec<u8>) {
    let mut key = DefaultHasher::new();
    key.write(text.as_bytes());
    let mut file = File::open(path).unwrap();
    let mut program = vec![0; file.metadata().unwrap().len() as usize];
    file.read_exact(&mut program).unwrap();
    key.write(&program);
    (key.finish(), program)
}

/// Nanoseconds to install a program and of three calls under it, in a process of its own.
fn in_force(program: &[Insn]) -> [u64; 4] {
    let (mut reader, mut writer) = std::io::pipe().unwrap();
    // SAFETY: this program has one thread.
    let child = unsafe { libc::fork() };
    if child == 0 {
        for time in time_calls(program) {
            let _ = writer.write_all(&time.to_ne_bytes());
        }
        // SAFETY: _exit(2) has no precondition.
        unsafe { libc::_exit(0) };
    }
    drop(writer);
    let mut bytes = [0; 32];
    reader.read_exact(&mut bytes).unwrap();
    let _ = nix::sys::wait::waitpid(nix::unistd::Pid::from_raw(child), None);
    std::array::from_fn(|at| u64::from_ne_bytes(bytes[8 * at..8 * at + 8].try_into().unwrap()))
}

fn time_calls(program: &[Insn]) -> [u64; 4] {
    nix::sys::prctl::set_no_new_privs().unwrap();
    let begin = Instant::now();
    if !program.is_empty() {
        set_filter(program, SPEC_ALLOW).unwrap();
    }
    let install = begin.elapsed().as_nanos() as u64;
    // CLONE_SIGHAND without CLONE_VM is refused by the kernel, after the filter.
    let sighand = libc::c_long::from(libc::CLONE_SIGHAND);
    let calls = [(libc::SYS_getppid, 0), (libc::SYS_socket, -1), (libc::SYS_clone, sighand)];
    let [getppid, socket, clone] = calls.map(|(number, first)| time_call(number, first));
    [install, getppid, socket, clone]
}

/// Nanoseconds of a call: of twenty times a thousand the best, which nothing interrupted.
fn time_call(number: libc::c_long, first: libc::c_long) -> u64 {
    const TIMES: u64 = 1000;
    let thousand = || {
        let begin = Instant::now();
        for _ in 0..TIMES {
            // SAFETY: no call that is timed takes a pointer that is not null.
            unsafe { libc::syscall(number, first, 0, 0, 0, 0) };
        }
        begin.elapsed().as_nanos() as u64 / TIMES
    };
    (0..20).map(|_| thousand()).min().unwrap()
}
