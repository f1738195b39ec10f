//! Compiled seccomp filters against a plain reading of their profiles, and against libseccomp's programs.

mod bpf;
mod common;
mod libseccomp;

use std::collections::BTreeSet;
use std::path::Path;

use bpf::{Data, FAMILIES, Random, evaluated, expected, function, is_entangled, newest, pairs, products, run};
use common::skip;
use ferrun::bundle::seccomp::read;
use ferrun::seccomp::compile;
use ferrun::seccomp::verdict::verdict;
use ferrun::sys::seccomp::Insn;
use ferrun::types::seccomp::arch::X32_BIT;
use ferrun::types::seccomp::profile::{Condition, Operator};
use ferrun::types::seccomp::syscalls::{self, Call};
use ferrun::types::seccomp::{Action, Arch, Profile};
use serde_json::{Value, json};

/// Numbers that are of interest on any architecture: all that there are, and the edges between.
fn numbers() -> Vec<u32> {
    let edges = [0x3fff_ffff, 0x7fff_ffff, 0x8000_0000, 0xbfff_ffff, 0xc000_0000, 0xffff_fffe, 0xffff_ffff];
    let ranges = [0..1100, X32_BIT..X32_BIT + 1100, 0x000f_0000..0x000f_0010, 0x8000_0000..0x8000_0010];
    ranges.into_iter().flatten().chain(edges).collect()
}

fn audits() -> impl Iterator<Item = u32> {
    [Arch::X86_64, Arch::X86, Arch::Aarch64, Arch::Arm, Arch::Riscv64].into_iter().map(Arch::audit).chain([0, 0x1234])
}

fn load(name: &str) -> String {
    std::fs::read_to_string(format!("{}/tests/data/{name}.seccomp.json", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

/// The recorded profiles, and those in the directory that FERRUN_SECCOMP_PROFILES names, as linux.seccomp has them.
fn published() -> Vec<Profile> {
    let more = std::env::var("FERRUN_SECCOMP_PROFILES").map(|dir| std::fs::read_dir(dir).unwrap());
    let more = more.into_iter().flatten().map(|file| std::fs::read_to_string(file.unwrap().path()).unwrap());
    let texts = ["docker", "containerd", "podman"].into_iter().map(load).chain(more);
    texts.map(|text| read(&text).unwrap().unwrap()).collect()
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
                        assert_eq!(evaluated(&filter.program, &data), done, "{name} {native:?}: {data:x?}");
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

/// A rule with many conditions is compared with the others on more ways than anybody can walk one by one.
#[test]
fn many_conditions_are_compiled_at_once() {
    let condition = |index: u64, op: &str| json!({"index": index, "value": index << 32 | 7, "op": op});
    let rule = |action: &str, args: Vec<Value>| json!({"names": ["mmap"], "action": action, "args": args});
    let one = |value: u64| json!({"index": 5, "value": value << 32 | value, "op": "SCMP_CMP_EQ"});
    let mut rules: Vec<Value> = (0..12).map(|value| rule("SCMP_ACT_ERRNO", vec![one(value)])).collect();
    rules.push(rule("SCMP_ACT_TRAP", (0..5).map(|index| condition(index, "SCMP_CMP_LE")).collect()));
    let profile = read(&json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": rules}).to_string()).unwrap().unwrap();
    let begin = std::time::Instant::now();
    let program = compile(&profile, Arch::X86_64).unwrap().program;
    assert!(begin.elapsed().as_secs() < 2, "{:?}", begin.elapsed());
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    for data in random_calls(&mut random, &profile, Arch::X86_64) {
        let action = run(&program, &data).0;
        assert!(expected(&profile, Arch::X86_64, &data).contains(&action), "{data:x?}: {action:#x}");
    }
}

const VALUES: [u64; 10] = [0, 1, 2, 9, 0x7fff_ffff, 0xffff_ffff, 0x1_0000_0000, 0x1_0000_0009, 0x5_0000_0001, u64::MAX];

fn random_profile(random: &mut Random, calls: &[Call]) -> Profile {
    let actions = ["ERRNO", "ALLOW", "KILL", "KILL_PROCESS", "TRAP", "TRACE", "LOG"];
    let disguised: Vec<Call> =
        DISGUISED.iter().filter_map(|name| syscalls::named(name)).filter(|call| calls.contains(call)).collect();
    let of = if random.below(4) == 0 { &disguised } else { calls };
    let few: Vec<Call> = (0..1 + random.below(12)).map(|_| random.pick(of)).collect();
    let mut rules = Vec::new();
    // How many arguments the rules look at, and how many conditions one has at most.
    let (width, most) = random.pick(&[(4, 3), (4, 3), (6, 6), (1, 2)]);
    for _ in 0..random.below(14) {
        let names: Vec<&str> = (0..1 + random.below(3)).map(|_| random.pick(&few).name()).collect();
        let arguments = if random.below(3) == 0 { 0 } else { 1 + random.below(most) };
        let arguments: Vec<Value> = (0..arguments)
            .map(|_| {
                let (value, two) = (random.pick(&VALUES), random.pick(&VALUES));
                let operator = format!("SCMP_CMP_{}", random.pick(&libseccomp::OPERATORS).1);
                json!({"index": random.below(width), "value": value, "valueTwo": two, "op": operator})
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
    read(&json!({"defaultAction": default, "syscalls": rules}).to_string()).unwrap().unwrap()
}

/// Calls of 32-bit x86 that are also functions of another, and those others.
const DISGUISED: [&str; 12] = [
    "socketcall",
    "ipc",
    "socket",
    "bind",
    "accept",
    "accept4",
    "send",
    "recvmmsg",
    "semop",
    "semtimedop",
    "msgget",
    "shmctl",
];

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

/// How many random profiles are tried, with 200 calls each: FERRUN_SECCOMP_ROUNDS or this.
fn rounds(default: usize) -> usize {
    std::env::var("FERRUN_SECCOMP_ROUNDS").map_or(default, |rounds| rounds.parse().unwrap())
}

#[test]
fn random_profiles_do_what_they_say() {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let rounds = rounds(5400);
    let calls: Vec<Call> = syscalls::all().collect();
    let (mut compiled, mut entangled, mut other, mut unsure, mut tried) = (0, 0, 0, 0, 0);
    for round in 0..rounds {
        let (native, listed) = FAMILIES[round % FAMILIES.len()];
        let mut profile = random_profile(&mut random, &calls);
        profile.architectures = listed.to_vec();
        // Rules that contradict each other are refused.
        let Ok(filter) = compile(&profile, native) else { continue };
        compiled += 1;
        let tangled = is_entangled(&profile);
        entangled += usize::from(tangled);
        for data in random_calls(&mut random, &profile, native) {
            let (done, wanted) = (run(&filter.program, &data).0, expected(&profile, native, &data));
            assert_eq!(evaluated(&filter.program, &data), done, "{native:?} {data:x?}: {:x?}", filter.program);
            (tried, unsure) = (tried + 1, unsure + usize::from(wanted.len() > 1));
            if tangled {
                other += usize::from(!wanted.contains(&done));
                continue;
            }
            let rules = libseccomp::spelled(&profile, native);
            assert!(wanted.contains(&done), "{native:?} {data:x?}: {done:#x} and not {wanted:x?}\n{rules}");
        }
    }
    println!("{tried} calls, {unsure} with more than one rule, under {compiled} profiles");
    println!("{entangled} profiles have entangled rules; {other} calls do what no reading says");
    assert!(other * 5000 < tried, "{other}");
    assert!(compiled > 700 && unsure * 20 < tried, "{compiled} {unsure} {tried}");
}

/// The rule that a verdict names has the outcome's action and names the call, and its conditions hold.
#[test]
fn verdicts_name_the_rule_that_decides() {
    let Some(native) = Arch::NATIVE else { return skip("there is no table of this architecture's calls") };
    let mut random = Random(0x1f3d_5b79_2468_ace1);
    let calls: Vec<Call> = syscalls::all().filter(|call| native.number(*call).is_some()).collect();
    let (mut by_rule, mut newer) = (0, 0);
    for _ in 0..rounds(600) {
        let profile = random_profile(&mut random, &calls);
        let Ok(filter) = compile(&profile, native) else { continue };
        if is_entangled(&profile) {
            continue;
        }
        for data in random_calls(&mut random, &profile, native) {
            let Some(call) = native.call_of(data.number).filter(|_| data.architecture == native.audit()) else {
                continue;
            };
            let found = verdict(&profile, &filter.program, call.name(), data.arguments).unwrap();
            assert_eq!(found.action.0, run(&filter.program, &data).0);
            let pointer = found.rule.to_string();
            let Some(rule) = pointer.strip_prefix("/linux/seccomp/syscalls/") else {
                assert_eq!(pointer, "/linux/seccomp/defaultAction");
                assert_eq!(found.action, if found.newer { Action::ENOSYS } else { profile.default });
                newer += usize::from(found.newer);
                continue;
            };
            let rule = &profile.rules[rule.parse::<usize>().unwrap()];
            let named = rule.names.iter().any(|name| native.number(*name) == Some(data.number));
            assert!(named && rule.action == found.action && !found.newer, "{data:x?}: {rule:x?}");
            assert!(rule.fits(&data.arguments), "{data:x?}: {rule:x?}");
            by_rule += 1;
        }
    }
    assert!(by_rule > 1000 && newer > 10, "{by_rule} {newer}");
}

/// Newer calls get ENOSYS by runc's addition; without it, our program and libseccomp's are one function.
fn is_newer(profile: &Profile, native: Arch, data: &Data) -> bool {
    let listed = native.with_listed(&profile.architectures);
    let x32 = data.number & X32_BIT != 0 && data.architecture == Arch::X86_64.audit();
    let of_bit = |arch: &Arch| (*arch == Arch::X32) == x32 && arch.audit() == data.architecture;
    let arch = listed.into_iter().find(of_bit);
    arch.and_then(|arch| newest(profile, arch)).is_some_and(|last| data.number > last)
}

/// Whether some instruction of a program compares a word that it cannot mean: one or another, by the way
/// that has led there, or the architecture with a number.
///
/// libseccomp's generator has two faults, up to 2.6.1 at least. It loads a word again for the first way to a
/// block that it finds; on others the block compares what happens to be loaded (`_gen_bpf_build_bpf`). And
/// the number is not loaded where the call that would load it is one that the architecture does not have
/// (`_gen_bpf_syscalls`). Such a program is not what the library's own database says, nor what any reading
/// of the profile does.
fn looks_at_whatever_is_loaded(program: &[Insn]) -> bool {
    // What is loaded before each instruction: the offset and the bits that are kept.
    let mut before: Vec<Option<(u32, u32)>> = vec![None; program.len()];
    before[0] = Some((u32::MAX, 0));
    for (at, insn) in program.iter().enumerate() {
        let Some(loaded) = before[at] else { continue };
        let after = match insn.code {
            0x20 => (insn.k, u32::MAX),
            0x54 => (loaded.0, loaded.1 & insn.k),
            _ => loaded,
        };
        // 0 is the number of a call, but no architecture.
        if insn.code == 0x15 && loaded.0 == 4 && !Arch::ALL.iter().any(|arch| arch.audit() == insn.k) {
            return true;
        }
        let next = match insn.code {
            0x06 => vec![],
            0x05 => vec![at + 1 + insn.k as usize],
            0x20 | 0x54 => vec![at + 1],
            _ => vec![at + 1 + usize::from(insn.jt), at + 1 + usize::from(insn.jf)],
        };
        for next in next {
            // What is loaded anew, or only returns, does not look at it.
            if matches!(program[next].code, 0x20 | 0x06) {
                before[next] = Some(after);
            } else if before[next].replace(after).is_some_and(|other| other != after) {
                return true;
            }
        }
    }
    false
}

/// Whether two rules on one call leave the same high word of an argument to "is not", "less" or "less or
/// equal", with different actions. Then libseccomp 2.5 keeps the first one's, and 2.6, as ferrun, the smaller
/// value's.
fn differs_by_version(profile: &Profile) -> bool {
    let contrary = |operator| matches!(operator, Operator::NotEqual | Operator::Less | Operator::LessOrEqual);
    let alike = |one: &Condition, other: &Condition| {
        contrary(one.operator) && contrary(other.operator) && one.value >> 32 == other.value >> 32
    };
    pairs(profile).any(|(one, other)| {
        let on_one = |(one, other): (&Condition, &Condition)| one.argument == other.argument && alike(one, other);
        one.action != other.action && products(one, other).any(on_one)
    })
}

fn compare(
    helper: &Path,
    profiles: &[(Profile, Arch)],
    calls: impl Fn(&Profile, Arch) -> Vec<Data>,
) -> (usize, Vec<String>) {
    let theirs = libseccomp::programs(helper, profiles);
    let (mut tried, mut broken, mut wrong) = (0, 0, Vec::new());
    for ((profile, native), theirs) in profiles.iter().zip(theirs) {
        let ours = compile(profile, *native).ok();
        let (Some(ours), Ok(theirs)) = (&ours, &theirs) else {
            // libseccomp also refuses contradictions on calls that the architecture does not have.
            if ours.is_none() && theirs.is_ok() {
                wrong.push(format!("refused by us alone: {profile:x?}"));
            }
            continue;
        };
        if looks_at_whatever_is_loaded(theirs) {
            broken += 1;
            continue;
        }
        if differs_by_version(profile) {
            continue;
        }
        for data in calls(profile, *native) {
            let (ours, theirs) = (run(&ours.program, &data).0, run(theirs, &data).0);
            let theirs = if is_newer(profile, *native, &data) { Action::ENOSYS.0 } else { theirs };
            tried += 1;
            if ours != theirs {
                let rules = libseccomp::spelled(profile, *native);
                wrong.push(format!("{native:?} {data:x?}: ours {ours:#x} theirs {theirs:#x}\n{rules}"));
                break;
            }
        }
    }
    println!("{broken} programs in which libseccomp compares whatever is loaded");
    (tried, wrong)
}

#[test]
fn engines_profiles_do_what_libseccomp_makes_of_them() {
    let Some(helper) = libseccomp::helper() else { return };
    let common = &common_calls(&helper);
    let profiles = FAMILIES.into_iter().flat_map(|(native, listed)| {
        published().into_iter().map(move |mut profile| {
            profile.architectures = listed.to_vec();
            profile.rules.iter_mut().for_each(|rule| rule.names.retain(|call| common.contains(call)));
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
    let (tried, wrong) = compare(&helper, &profiles.collect::<Vec<_>>(), calls);
    println!("{tried} calls");
    assert!(wrong.is_empty(), "{} profiles differ, such as {}", wrong.len(), wrong[0]);
}

/// Why rules are not read plainly (docs/decisions.md): of a rule that matches alone libseccomp can lose a part, and it
/// can apply one that does not match.
#[test]
fn a_plain_reading_would_be_laxer() {
    let condition =
        |index: u8, op: &str, value: u64| json!({"index": index, "op": format!("SCMP_CMP_{op}"), "value": value});
    let rule =
        |action: &str, args: &[Value]| json!({"names": ["mmap"], "action": format!("SCMP_ACT_{action}"), "args": args});
    let five = condition(2, "EQ", 5);
    let lost = [rule("ALLOW", &[five]), rule("ALLOW", &[condition(0, "EQ", 2), condition(2, "NE", 5)])];
    let (far, near) = (condition(2, "NE", 0x1_0000_0001), condition(2, "GT", 1));
    let mixed = [rule("ERRNO", &[condition(1, "GE", 1), far]), rule("ERRNO", &[condition(1, "GT", 2), near])];
    let profile = |default: &str, rules: [Value; 2]| {
        read(&json!({"defaultAction": format!("SCMP_ACT_{default}"), "syscalls": rules}).to_string()).unwrap().unwrap()
    };
    let profiles = [profile("ERRNO", lost), profile("ALLOW", mixed)].map(|profile| (profile, Arch::X86_64));
    let calls = [[2, 0, 6, 0, 0, 0], [0, 1, 0x1_0000_0001, 0, 0, 0]];
    let theirs = libseccomp::helper().map(|helper| libseccomp::programs(&helper, &profiles));
    for (at, ((profile, native), arguments)) in profiles.iter().zip(calls).enumerate() {
        let data = Data { number: 9, architecture: native.audit(), arguments };
        assert_eq!(expected(profile, *native, &data), BTreeSet::from([Action::ALLOW.0]));
        let programs = [compile(profile, *native).unwrap().program].into_iter();
        for program in programs.chain(theirs.iter().map(|theirs| theirs[at].clone().unwrap())) {
            assert_eq!(run(&program, &data).0, Action::ERRNO.with(1).0, "{arguments:x?}");
        }
    }
}

/// The calls to which this libseccomp gives the same numbers as we do. It has no number for those that are
/// newer than itself, and other names for a few old ones. To calls in disguise it gives numbers below 0.
fn common_calls(helper: &Path) -> Vec<Call> {
    let asked: Vec<(Call, Arch)> = syscalls::all().flat_map(|call| Arch::ALL.map(|arch| (call, arch))).collect();
    let question = |(call, arch): &(Call, Arch)| format!("call {:x} {}\n", libseccomp::token(*arch), call.name());
    let answers = libseccomp::ask(helper, &[], asked.iter().map(question).collect());
    let answers = String::from_utf8(answers).unwrap();
    let numbers = answers.lines().map(|line| u32::try_from(line.parse::<i32>().unwrap()).ok());
    let differs: BTreeSet<Call> = asked
        .iter()
        .zip(numbers)
        .filter(|((call, arch), number)| {
            arch.number(*call) != *number && !(*arch == Arch::X86 && function(call.name()).is_some())
        })
        .map(|((call, _), _)| *call)
        .collect();
    let names: Vec<&str> = differs.iter().map(|call| call.name()).collect();
    println!("{} calls have other numbers in libseccomp, or none: {}", differs.len(), names.join(" "));
    assert!(differs.len() < 120, "{differs:?}");
    syscalls::all().filter(|call| !differs.contains(call)).collect()
}

#[test]
fn random_profiles_do_what_libseccomp_makes_of_them() {
    let mut random = Random(0x2545_f491_4f6c_dd1d);
    let Some(helper) = libseccomp::helper() else { return };
    let calls = common_calls(&helper);
    let count = rounds(600);
    let profiles: Vec<(Profile, Arch)> = (0..count)
        .map(|round| {
            let (native, listed) = FAMILIES[round % FAMILIES.len()];
            let mut profile = random_profile(&mut random, &calls);
            profile.architectures = listed.to_vec();
            (profile, native)
        })
        .collect();
    let calls = |profile: &Profile, native| random_calls(&mut Random(0x1234_5678_9abc), profile, native);
    let (tried, wrong) = compare(&helper, &profiles, calls);
    println!("{tried} calls, {} of {count} profiles differ", wrong.len());
    assert!(wrong.is_empty(), "{} profiles differ, such as {}", wrong.len(), wrong[0]);
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
