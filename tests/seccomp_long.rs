//! Filters about as long as the kernel takes them, 4096 instructions, and longer: what they say, where their
//! jumps lead, and how one that is too long is refused.

mod bpf;
mod common;

use std::collections::BTreeSet;

use bpf::{Data, FAMILIES, Random, evaluated, expected, run};
use ferrun::bundle::seccomp::read;
use ferrun::error::Error;
use ferrun::seccomp::{Filter, compile};
use ferrun::sys::seccomp::{Insn, set_filter};
use ferrun::types::seccomp::{Action, Arch, Profile, syscalls};
use serde_json::{Value, json};

/// `BPF_MAXINSNS`.
const LONGEST: usize = 4096;

/// Calls that look at no argument and change nothing, so that a test can make them.
const HARMLESS: [&str; 6] = ["getuid", "geteuid", "getgid", "getegid", "getppid", "gettid"];

/// Calls from the first numbers to the last, those with a disguise on 32-bit x86 among them.
const MANY: [&str; 24] = [
    "read",
    "write",
    "close",
    "mmap",
    "ioctl",
    "socket",
    "connect",
    "semget",
    "clone",
    "execve",
    "fcntl",
    "getdents64",
    "prctl",
    "mount",
    "futex",
    "openat",
    "splice",
    "accept4",
    "prlimit64",
    "bpf",
    "statx",
    "clone3",
    "cachestat",
    "futex_wait",
];

/// How conditions compare.
const OPERATORS: [&str; 7] = ["NE", "LT", "LE", "EQ", "GE", "GT", "MASKED_EQ"];

/// Rules with one condition each, most of them equalities; a few calls have one rule with many conditions. What
/// happens depends on the call alone, so that no two rules contradict each other.
fn rules(random: &mut Random, names: &[&str], count: usize) -> Vec<Value> {
    let (several, single) = (0..names.len()).partition::<Vec<usize>, _>(|call| call % 8 == 3);
    let condition = |random: &mut Random, argument: usize| {
        // Rules that compare with a range cover others: they are few, and far out.
        let operator = if random.below(40) == 0 { random.pick(&OPERATORS) } else { "EQ" };
        let value = u64::from(random.next() as u32 >> 18) | (random.below(5) as u64) << 32;
        json!({"index": argument, "value": value, "valueTwo": value & 0xff, "op": format!("SCMP_CMP_{operator}")})
    };
    let rule = |call: usize, args: Vec<Value>| json!({"names": [names[call]], "action": "SCMP_ACT_ERRNO", "errnoRet": 1 + call, "args": args});
    let mut rules: Vec<Value> = several
        .into_iter()
        .map(|call| rule(call, (0..6).map(|argument| condition(random, argument)).collect()))
        .collect();
    rules.extend((rules.len()..count).map(|_| {
        let (call, argument) = (random.pick(&single), random.below(6));
        rule(call, vec![condition(random, argument)])
    }));
    rules
}

fn profile(default: &str, rules: &[Value], listed: &[Arch]) -> Profile {
    let mut profile = read(&json!({"defaultAction": default, "syscalls": rules}).to_string()).unwrap().unwrap();
    profile.architectures = listed.to_vec();
    profile
}

/// The longest of the profiles with the first of these rules that is taken, and what is said of a longer one.
fn longest(default: &str, rules: &[Value], native: Arch, listed: &[Arch]) -> (Profile, Filter, Error) {
    let compiled = |count: usize| {
        let profile = profile(default, &rules[..count], listed);
        let filter = compile(&profile, native);
        filter.map(|filter| (profile, filter))
    };
    let (mut taken, mut refused) = (0, rules.len());
    let mut error = compiled(refused).map(drop).expect_err("there are too few rules");
    while refused - taken > 6 {
        let middle = usize::midpoint(taken, refused);
        match compiled(middle) {
            Ok(_) => taken = middle,
            Err(too_long) => (refused, error) = (middle, too_long),
        }
    }
    let (profile, filter) = compiled(taken).unwrap();
    (profile, filter, error)
}

/// Calls around what the rules compare with.
fn calls(random: &mut Random, profile: &Profile, native: Arch, count: usize) -> Vec<Data> {
    let archs = native.with_listed(&Arch::ALL);
    let data = |random: &mut Random| {
        let rule = &profile.rules[random.below(profile.rules.len())];
        let arch = random.pick(&archs);
        let mut arguments = std::array::from_fn(|_| random.next() >> random.below(64));
        for condition in &rule.conditions {
            let near = condition.value.wrapping_add(random.below(3) as u64).wrapping_sub(1);
            arguments[usize::from(condition.argument)] = if random.below(2) == 0 { condition.value } else { near };
        }
        let other = random.below(1 << 9) as u32;
        let number = arch.number(rule.names[0]).filter(|_| random.below(16) > 0).unwrap_or(other);
        Data { number, architecture: arch.audit(), arguments }
    };
    (0..count).map(|_| data(random)).collect()
}

/// Where conditional jumps go by way of one without a limit: what is compared, and how it came out.
fn far_jumps(program: &[Insn]) -> BTreeSet<(&'static str, u16, bool)> {
    let mut loaded = vec![None; program.len()];
    let mut found = BTreeSet::new();
    for (at, insn) in program.iter().enumerate() {
        let kept = match (insn.code, insn.k) {
            (0x20, 0) => Some("number"),
            (0x20, 4) => Some("architecture"),
            (0x20, _) => Some("argument"),
            _ => loaded[at],
        };
        let next = match insn.code {
            0x06 => vec![],
            0x05 => vec![(at + 1 + insn.k as usize, None)],
            0x20 | 0x54 => vec![(at + 1, None)],
            _ => vec![(at + 1 + usize::from(insn.jt), Some(true)), (at + 1 + usize::from(insn.jf), Some(false))],
        };
        for (to, side) in next {
            assert!(to < program.len(), "{at} leads to {to} of {}", program.len());
            loaded[to] = loaded[to].or(kept);
            if let (Some(side), 0x05) = (side, program[to].code) {
                assert!(program[to].k > 250, "{at} needs no jump at {to}");
                found.insert((kept.unwrap(), insn.code, side));
            }
        }
    }
    found
}

fn agrees(filter: &Filter, profile: &Profile, native: Arch, calls: &[Data]) {
    for data in calls {
        let (done, wanted) = (run(&filter.program, data).0, expected(profile, native, data));
        assert_eq!(evaluated(&filter.program, data), done, "{native:?} {data:x?}");
        assert!(wanted.contains(&done), "{native:?} {data:x?}: {done:#x} and not {wanted:x?}");
    }
}

#[test]
fn programs_as_long_as_the_kernel_takes_do_what_they_say() {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    for (round, (native, listed)) in FAMILIES.into_iter().enumerate() {
        // Long chains on few calls, or short ones on many.
        let (names, count) = [(&MANY[..3], 4000), (&MANY[..], 2200)][usize::from(round != 0 && round != 2)];
        let default = ["SCMP_ACT_ALLOW", "SCMP_ACT_TRAP", "SCMP_ACT_KILL_PROCESS"][round % 3];
        let rules = rules(&mut random, names, count);
        let (profile, filter, error) = longest(default, &rules, native, listed);
        let length = filter.program.len();
        assert!((LONGEST - 40..=LONGEST).contains(&length), "{length} {error:?}");
        let said = format!("{:?} {}", error.pointer, error.message);
        assert!(said.contains("/linux/seccomp/syscalls") && said.contains("the kernel takes 4096"), "{said}");
        println!("{native:?} {listed:?}: {length} instructions, {} rules; {said}", profile.rules.len());
        far_jumps(&filter.program);
        agrees(&filter, &profile, native, &calls(&mut random, &profile, native, 200));
    }
}

/// 300 rules that share their first condition, so that what follows it is further away
/// than a comparison reaches, and one that is tried after them.
#[test]
fn jumps_are_long_wherever_they_can_be() {
    let mut random = Random(0x2545_f491_4f6c_dd1d);
    let mut far = BTreeSet::new();
    for (native, listed) in [FAMILIES[0], FAMILIES[2], FAMILIES[4]] {
        for (value, two) in
            [(0x5_0000_0005_u64, 0x5_0000_0005_u64), (0xff_0000_00ff, 0x7_0000_0007), (0xf0_0000_00f0, 0)]
        {
            for operator in OPERATORS {
                let first = json!({"index": 1, "value": value, "valueTwo": two, "op": format!("SCMP_CMP_{operator}")});
                let equal = |index: usize, value: u64| json!({"index": index, "value": value, "op": "SCMP_CMP_EQ"});
                let rule = |args: &[&Value]| json!({"names": ["futex"], "action": "SCMP_ACT_ERRNO", "args": args});
                let mut rules: Vec<Value> = (0..300).map(|value| rule(&[&first, &equal(2, value << 3)])).collect();
                rules.push(rule(&[&equal(0, 7)]));
                let profile = profile("SCMP_ACT_TRAP", &rules, listed);
                let filter = compile(&profile, native).unwrap();
                far.extend(far_jumps(&filter.program));
                agrees(&filter, &profile, native, &calls(&mut random, &profile, native, 60));
            }
        }
    }
    let ways = [("architecture", 0x15, false), ("number", 0x35, true), ("argument", 0x45, true)];
    let both = [0x15, 0x25, 0x35].into_iter().flat_map(|code| [false, true].map(|side| ("argument", code, side)));
    assert_eq!(far, ways.into_iter().chain(both).collect());
}

/// Rules that others leave nothing to do for are no instructions.
#[test]
fn only_what_is_reached_counts() {
    let rule = |index: usize, operator: &str, value: usize| {
        let args = json!([{"index": index, "value": value, "op": format!("SCMP_CMP_{operator}")}]);
        json!({"names": ["futex"], "action": "SCMP_ACT_TRAP", "args": args})
    };
    let mut rules = vec![rule(1, "EQ", 5), rule(1, "NE", 5)];
    rules.extend((0..LONGEST).map(|value| rule(0, "EQ", value)));
    let filter = compile(&profile("SCMP_ACT_ALLOW", &rules, &[]), Arch::X86_64).unwrap();
    assert!(filter.program.len() < 20, "{}", filter.program.len());
}

/// The kernel's own machine, which has turned the longest program into its own code, against ours.
#[test]
fn the_kernel_runs_the_longest_program_alike() {
    let Some(native) = Arch::NATIVE else { return common::skip("there is no table of this architecture's calls") };
    let mut random = Random(0x1234_5678_9abc);
    let rules = rules(&mut random, &HARMLESS, 5000);
    let (mut profile, mut filter, _) = longest("SCMP_ACT_ALLOW", &rules, native, &[]);
    // An instruction or two more each, up to the last that the kernel takes.
    for value in 0..60 {
        let args = json!([{"index": 0, "value": value, "op": "SCMP_CMP_EQ"}]);
        let rule = json!({"names": ["uname"], "action": "SCMP_ACT_ERRNO", "args": args});
        profile.rules.append(&mut self::profile("SCMP_ACT_ALLOW", &[rule], &[]).rules);
        match compile(&profile, native) {
            Ok(longer) => filter = longer,
            Err(_) => break,
        }
    }
    assert!((LONGEST - 1..=LONGEST).contains(&filter.program.len()), "{}", filter.program.len());
    let calls = calls(&mut random, &profile, native, 5000);
    let audit = native.audit();
    let harmless: Vec<u32> =
        HARMLESS.iter().map(|name| native.number(syscalls::named(name).unwrap()).unwrap()).collect();
    let own = move |data: &&Data| data.architecture == audit && harmless.contains(&data.number);
    let under_the_filter = move || {
        nix::sys::prctl::set_no_new_privs().unwrap();
        let returns = vec![Insn { code: 0x06, jt: 0, jf: 0, k: Action::ALLOW.0 }; LONGEST + 1];
        assert_eq!(set_filter(&returns, 0).err(), Some(nix::errno::Errno::EINVAL));
        set_filter(&returns[1..], 0).unwrap();
        set_filter(&filter.program, 0).unwrap();
        for data in calls.iter().filter(own) {
            let [a, b, c, d, e, f] = data.arguments;
            // SAFETY: these calls have no arguments.
            let result = unsafe { libc::syscall(data.number.into(), a, b, c, d, e, f) };
            let errno = if result < 0 { std::io::Error::last_os_error().raw_os_error().unwrap() as u16 } else { 0 };
            let action = Action(run(&filter.program, data).0);
            assert_eq!(errno, if action == Action::ALLOW { 0 } else { action.data() }, "{data:x?}: {action}");
        }
    };
    // The filter is this thread's alone.
    std::thread::spawn(under_the_filter).join().unwrap();
}
