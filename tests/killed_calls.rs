//! `kill -9` of ferrun after each of its system calls that changes something: whatever it had done, `delete --force` finds it
//! again.

mod common;

use std::io::Write;
use std::os::unix::net::UnixDatagram;
use std::process::{Command, Stdio};

use common::Bundle;
use nix::sys::ptrace::{self, Options};
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::Pid;
use serde_json::json;

/// Calls that change something outside of the process, each with the argument and the flag that say whether it does.
const CHANGES: &[(i64, Option<(usize, i32)>)] = &[
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_mkdir, None),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_rmdir, None),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_unlink, None),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_rename, None),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_setxattr, None),
    (libc::SYS_mkdirat, None),
    (libc::SYS_unlinkat, None),
    (libc::SYS_linkat, None),
    (libc::SYS_renameat, None),
    (libc::SYS_renameat2, None),
    (libc::SYS_mknodat, None),
    (libc::SYS_fchmodat, None),
    (libc::SYS_fchownat, None),
    (libc::SYS_bind, None),
    (libc::SYS_clone3, None),
    (libc::SYS_write, None),
    (libc::SYS_openat, Some((2, libc::O_CREAT))),
];

#[allow(clippy::zombie_processes)] // waitpid, by its pid
/// Runs ferrun and kills it at the end of its nth call that changes something. False: it has made fewer.
fn kill_after_call(bundle: &Bundle, args: &[&str], nth: usize) -> bool {
    let mut shell = Command::new("sh");
    shell
        .args(["-c", "read go; exec \"$@\"", "sh"])
        .arg(common::ferrun_binary())
        .arg("--root")
        .arg(bundle.state_root());
    shell.args(args).env("NOTIFY_SOCKET", bundle.dir.join("manager"));
    let mut child = shell.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let pid = Pid::from_raw(child.id() as i32);
    ptrace::seize(pid, Options::PTRACE_O_TRACESYSGOOD | Options::PTRACE_O_TRACEEXEC).unwrap();
    child.stdin.take().unwrap().write_all(b"\n").unwrap();
    ptrace::interrupt(pid).unwrap();
    let (mut is_ferrun, mut changes, mut seen) = (false, false, 0);
    loop {
        let signal = match waitpid(pid, None).unwrap() {
            WaitStatus::Exited(..) | WaitStatus::Signaled(..) => return false,
            WaitStatus::PtraceEvent(_, _, libc::PTRACE_EVENT_EXEC) => {
                is_ferrun = true;
                None
            }
            WaitStatus::PtraceSyscall(_) => {
                match ptrace::syscall_info(pid).unwrap().op {
                    libc::PTRACE_SYSCALL_INFO_ENTRY => changes = is_ferrun && begins_a_change(pid),
                    _ if changes => {
                        (changes, seen) = (false, seen + 1);
                        if seen == nth {
                            child.kill().unwrap();
                            while !matches!(waitpid(pid, None).unwrap(), WaitStatus::Signaled(..)) {}
                            return true;
                        }
                    }
                    _ => {}
                }
                None
            }
            WaitStatus::Stopped(_, signal) if signal != Signal::SIGTRAP => Some(signal),
            _ => None,
        };
        ptrace::syscall(pid, signal).unwrap();
    }
}

/// Whether a process that has stopped at the entry of a call is about to change something: proc_pid_syscall(5).
fn begins_a_change(pid: Pid) -> bool {
    let text = std::fs::read_to_string(format!("/proc/{pid}/syscall")).unwrap();
    let fields: Vec<&str> = text.split_whitespace().collect();
    let number: i64 = fields[0].parse().unwrap();
    let argument = |index: usize| u64::from_str_radix(fields[1 + index].trim_start_matches("0x"), 16).unwrap();
    let is = |(index, flag): (usize, i32)| argument(index) as i32 & flag != 0;
    CHANGES.iter().any(|(call, flag)| *call == number && flag.is_none_or(is))
}

/// A container with missing cgroups above its own.
fn nested(args: &[&str]) -> Bundle {
    let bundle = Bundle::new(args);
    let path = format!("/ferrun-{}/a/b/c", bundle.id);
    bundle.with(|config| config["linux"]["cgroupsPath"] = json!(path))
}

/// Kills `ferrun VERB` after each of its calls; `prepare` comes before, and afterwards nothing must be left.
fn assert_nothing_left_after_any_call(bundle: &Bundle, args: &[&str], prepare: &dyn Fn()) {
    let _manager = UnixDatagram::bind(bundle.dir.join("manager")).unwrap();
    let files = || std::fs::read_dir(&bundle.dir).unwrap().map(|entry| entry.unwrap().file_name());
    let pid_file = bundle.dir.join("pid");
    for nth in 1.. {
        prepare();
        let mut before: Vec<_> = files().collect();
        let killed = kill_after_call(bundle, args, nth);
        bundle.delete_force().ok();
        bundle.assert_nothing_left_soon(&format!("{args:?}, killed after call {nth}"));
        // The caller knows the name of this one.
        let _ = std::fs::remove_file(&pid_file);
        before.retain(|name| name != "pid");
        let new: Vec<_> = files().filter(|name| !before.contains(name)).filter(|name| name != "state").collect();
        assert!(new.is_empty(), "{new:?} after {args:?}, killed after call {nth}");
        if !killed {
            assert!(nth > 5, "{args:?} makes more calls");
            eprintln!("{args:?}: {nth} calls");
            return;
        }
    }
}

#[test]
fn delete_force_cleans_up_after_a_create_that_is_killed_after_any_call() {
    need_root!();
    let bundle = nested(&["sleep", "1000"]);
    let (dir, pid_file) = (bundle.dir.to_str().unwrap().to_owned(), bundle.dir.join("pid"));
    let args = ["create", "--bundle", &dir, "--pid-file", pid_file.to_str().unwrap(), &bundle.id];
    assert_nothing_left_after_any_call(&bundle, &args, &|| {});
}

#[test]
fn delete_force_cleans_up_after_a_run_that_is_killed_after_any_call() {
    need_root!();
    let bundle = nested(&["true"]);
    let dir = bundle.dir.to_str().unwrap().to_owned();
    assert_nothing_left_after_any_call(&bundle, &["run", "--bundle", &dir, &bundle.id], &|| {});
}

#[test]
fn delete_force_cleans_up_after_a_delete_that_is_killed_after_any_call() {
    need_root!();
    let bundle = nested(&["sleep", "1000"]);
    let args = ["delete", "--force", &bundle.id];
    assert_nothing_left_after_any_call(&bundle, &args, &|| {
        bundle.create().ok();
    });
}

#[test]
fn parents_that_were_there_before_and_those_that_others_use_stay() {
    need_root!();
    let (one, other) = (nested(&["sleep", "1000"]), Bundle::new(&["sleep", "1000"]));
    let other = other.with(|config| config["linux"]["cgroupsPath"] = json!(format!("/ferrun-{}/a/other", one.id)));
    other.create().ok();
    let dir = one.dir.to_str().unwrap().to_owned();
    kill_after_call(&one, &["create", "--bundle", &dir, &one.id], 12);
    one.delete_force().ok();
    assert_eq!(other.status(), "created");
    other.delete_force().ok();
    one.assert_nothing_left("the last container below the parents");

    let tops: Vec<_> = {
        one.create().ok();
        let tops = one.cgroups();
        one.delete_force().ok();
        tops
    };
    for top in &tops {
        std::fs::create_dir(top).unwrap();
    }
    one.create().ok();
    one.delete_force().ok();
    let left: Vec<_> = tops.iter().map(|top| (top.is_dir(), top.join("a").exists())).collect();
    tops.iter().for_each(|top| std::fs::remove_dir(top).unwrap());
    assert!(left.iter().all(|left| *left == (true, false)), "{left:?}");
}
