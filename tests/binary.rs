//! The release binary itself: how it is linked, and what it does first. hack/test hands it over as $FERRUN;
//! without that there is only the debug binary, which keeps none of these promises. tests/costs.rs: what it costs.

mod common;

use std::process::{Command, Stdio};

use serde_json::json;

use common::{Bundle, ferrun_binary, release_binary, skip};

#[test]
fn it_has_no_interpreter_and_needs_no_library() {
    let Some(path) = release_binary() else { return };
    let binary = std::fs::read(path).unwrap();
    assert_eq!(&binary[..5], b"\x7fELF\x02");
    let number =
        |at: usize, width: usize| binary[at..at + width].iter().rev().fold(0usize, |n, byte| n << 8 | *byte as usize);
    let (table, size, count) = (number(32, 8), number(54, 2), number(56, 2));
    const PT_INTERP: usize = 3;
    assert!(count > 0);
    assert!((0..count).all(|index| number(table + index * size, 4) != PT_INTERP), "it asks for a dynamic linker");
}

/// With musl the first execution makes the calls that lead to the second one, and no other.
#[test]
fn the_second_execution_comes_before_anything_else() {
    need_root!();
    let Some(path) = release_binary() else { return };
    let bundle = Bundle::new(&["true"]);
    let calls = |arguments: &[&str], environment: &[(&str, &str)]| {
        let log = bundle.dir.join("strace");
        let mut command = Command::new("strace");
        command.args(["-qq", "-o"]).arg(&log).arg(&path).arg("--root").arg(bundle.state_root()).args(arguments);
        let done =
            command.envs(environment.iter().copied()).stdout(Stdio::null()).stderr(Stdio::null()).status().ok()?;
        let text = std::fs::read_to_string(&log).unwrap();
        let names: Vec<String> = text.lines().filter_map(|line| Some(line.split_once('(')?.0.to_owned())).collect();
        Some((done.success(), names))
    };
    let run = ["run", "--bundle", bundle.dir.to_str().unwrap(), &bundle.id];
    let Some((ran, names)) = calls(&run, &[]) else { return skip("this test needs strace") };
    if names.get(1).is_some_and(|name| name == "brk") {
        return skip("this binary was built with glibc");
    }
    assert!(ran, "{names:?}");
    assert_eq!(names[..5], ["execve", "open_tree", "mount_setattr", "getpid", "execveat"]);
    assert_eq!(names.iter().filter(|name| *name == "execveat").count(), 1, "and not once more");
    // The usual start decides what a variable of the caller means.
    let (ran, names) = calls(&run, &[("FERRUN_COPY", "1:3")]).unwrap();
    assert!(ran && names[1] != "open_tree" && names.iter().any(|name| name == "execveat"), "{names:?}");
    // An id that looks like a command costs an execution, whose mount becomes noexec as well.
    let (_, names) = calls(&["state", "run"], &[]).unwrap();
    assert_eq!(names.iter().filter(|name| *name == "mount_setattr").count(), 2, "{names:?}");
    let (_, names) = calls(&["state", &bundle.id], &[]).unwrap();
    assert!(!names.iter().any(|name| name == "execveat"), "{names:?}");
}

/// Any binary: what it asks the kernel does not depend on how it was built.
#[test]
fn a_start_looks_nothing_up_twice() {
    need_root!();
    let bundle = Bundle::new(&["true"]).with(|config| {
        config["linux"]["maskedPaths"] = json!(["/etc/passwd", "/proc/keys", "/proc/timer_list", "/proc/cpuinfo"]);
    });
    let log = bundle.dir.join("strace");
    let mut command = Command::new("strace");
    command.args(["-f", "-qq", "-o"]).arg(&log).arg(ferrun_binary()).arg("--root").arg(bundle.state_root());
    let done = command.args(["run", "--bundle", bundle.dir.to_str().unwrap(), &bundle.id]).status();
    if !done.is_ok_and(|status| status.success()) {
        return skip("this test needs strace");
    }
    let calls = std::fs::read_to_string(log).unwrap();
    let count = |words: &[&str]| calls.lines().filter(|line| words.iter().all(|word| line.contains(word))).count();
    assert_eq!(count(&["openat2(", "\"/dev/null\"", "O_PATH"]), 1, "for all files that are masked");
    assert_eq!(count(&["openat2(", "\"/dev\""]), 2, "to mount it and to fill it, not to make it read-only");
    assert_eq!(count(&["openat2(", "\"/proc\""]), 1, "an ordinary directory is looked for at once");
    assert!(count(&["openat(", "/cpuset.cpus\""]) <= 2, "a new cpuset is not read, and the one above once");
}
