//! The file in which `create` and `run` leave the init's pid: written whole or not at all, wherever it is to be.

mod common;

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use common::cli::{names_in, path};
use common::{Bundle, Done, bounded};
use ferrun::sys::seccomp::{Insn, set_filter};
use nix::errno::Errno;

fn run_args<'a>(bundle: &'a Bundle, file: &'a str) -> [&'a str; 6] {
    ["run", "--bundle", bundle.dir.to_str().unwrap(), "--pid-file", file, &bundle.id]
}

#[test]
fn a_pid_file_has_the_pid_alone_and_nothing_beside_it() {
    need_root!();
    let bundle = Bundle::new(&["sleep", "100"]);
    let dir = bundle.dir.join("pids");
    std::fs::create_dir(&dir).unwrap();
    std::fs::write(dir.join("pid"), "from another container, and longer").unwrap();
    bundle.create_with(&["--pid-file", dir.join("pid").to_str().unwrap()]).ok();
    assert_eq!(std::fs::read_to_string(dir.join("pid")).unwrap(), bundle.state()["pid"].to_string());
    assert_eq!(names_in(&dir), BTreeSet::from(["pid".to_owned()]));
}

/// A command for which a system call fails, if it has this flag among its third argument.
fn with_call_that_fails(mut command: Command, call: i64, flag: Option<i32>, errno: Errno) -> Command {
    const LOAD: u16 = 0x20;
    const IS: u16 = 0x15;
    const HAS: u16 = 0x45;
    const RETURN: u16 = 0x06;
    let insn = |code, k, jf| Insn { code, jt: 0, jf, k };
    // `struct seccomp_data`: the number of the call is at 0, the third argument at 32.
    let mut program = vec![insn(LOAD, 0, 0), insn(IS, call as u32, if flag.is_some() { 3 } else { 1 })];
    program.extend(flag.iter().flat_map(|flag| [insn(LOAD, 32, 0), insn(HAS, *flag as u32, 1)]));
    program.extend([insn(RETURN, 0x5_0000 | errno as u32, 0), insn(RETURN, 0x7fff_0000, 0)]);
    // SAFETY: between fork and exec only one system call is made.
    unsafe { command.pre_exec(move || Ok(set_filter(&program, 0).map(drop)?)) };
    command
}

/// Neither those who have the old one open, nor what is behind a link of that name, see anything of it.
#[test]
fn a_pid_file_takes_the_place_of_what_had_its_name() {
    need_root!();
    let bundle = Bundle::new(&["true"]);
    let [file, old, victim] = ["pid", "old", "victim"].map(|name| path(&bundle, name));
    for link in [false, true] {
        std::fs::write(&victim, "precious").unwrap();
        match link {
            true => std::os::unix::fs::symlink("victim", &file).unwrap(),
            false => std::fs::hard_link(&victim, &file).unwrap(),
        }
        bundle.run_with(&["--pid-file", &file]).ok();
        assert_eq!(std::fs::read_to_string(&victim).unwrap(), "precious", "link: {link}");
        assert!(std::fs::read_to_string(&file).unwrap().parse::<u32>().unwrap() > 1, "link: {link}");
        std::fs::rename(&file, &old).unwrap();
    }
}

/// As NFS and many FUSE volumes.
#[test]
fn a_pid_file_is_written_where_there_are_no_nameless_files() {
    need_root!();
    let bundle = Bundle::new(&["true"]);
    let [file, victim] = ["pid", "victim"].map(|name| path(&bundle, name));
    let run = || {
        let command = bundle.command(&run_args(&bundle, &file));
        // The bit that O_TMPFILE has beside O_DIRECTORY.
        let nameless = libc::O_TMPFILE & !libc::O_DIRECTORY;
        bounded(&mut with_call_that_fails(command, libc::SYS_openat, Some(nameless), Errno::EOPNOTSUPP))
    };
    for before in [None, Some("from another container, and longer")] {
        before.iter().for_each(|text| std::fs::write(&file, text).unwrap());
        run().ok();
        assert!(std::fs::read_to_string(&file).unwrap().parse::<u32>().unwrap() > 1, "{before:?}");
        assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o644);
    }
    std::fs::write(&victim, "precious").unwrap();
    let link = || std::os::unix::fs::symlink("victim", &file).unwrap();
    let hard_link = || std::fs::hard_link(&victim, &file).unwrap();
    let fifo = || nix::unistd::mkfifo(file.as_str(), nix::sys::stat::Mode::S_IRWXU).unwrap();
    for put in [&link as &dyn Fn(), &hard_link, &fifo] {
        std::fs::remove_file(&file).unwrap();
        put();
        run().ok();
        assert!(std::fs::symlink_metadata(&file).unwrap().is_file());
        assert_eq!(std::fs::read_to_string(&victim).unwrap(), "precious");
    }
    bundle.assert_nothing_left("a run");
}

/// It would name a process that is gone, or by now another one.
#[test]
fn a_start_that_fails_at_its_very_end_leaves_no_pid_file() {
    need_root!();
    let bundle = Bundle::new(&["sleep", "100"]);
    let file = path(&bundle, "pid");
    for verb in ["create", "run"] {
        let mut command = bundle.command(&[verb, "--bundle", &path(&bundle, ""), "--pid-file", &file, &bundle.id]);
        for call in [libc::SYS_renameat, libc::SYS_renameat2] {
            command = with_call_that_fails(command, call, None, Errno::EIO);
        }
        bounded(&mut command).fails("EIO");
        assert!(!Path::new(&file).exists(), "{verb}");
        bundle.assert_nothing_left(verb);
    }
}

#[test]
fn a_start_that_fails_leaves_no_pid_file() {
    need_root!();
    let bundle = Bundle::new(&["nonesuch"]);
    let file = path(&bundle, "pid");
    bundle.run_with(&["--pid-file", &file]).fails("/process/args");
    bundle.create_with(&["--pid-file", &file]).fails("/process/args");
    assert!(!Path::new(&file).exists());
}

#[test]
fn a_pid_file_of_run_may_be_relative() {
    need_root!();
    let bundle = Bundle::new(&["true"]);
    let run = bundle.command(&run_args(&bundle, "pid")).current_dir(&bundle.dir).output().unwrap();
    Done::new(run).ok();
    assert!(std::fs::read_to_string(bundle.dir.join("pid")).unwrap().parse::<u32>().unwrap() > 1);
}

#[test]
fn a_pid_file_that_cannot_be_written_fails_the_start() {
    need_root!();
    let bundle = Bundle::new(&["sleep", "100"]);
    for (file, errno) in [("nowhere/pid", "ENOENT"), ("rootfs", "EISDIR"), ("/", "EISDIR")] {
        let file = path(&bundle, file);
        bundle.create_with(&["--pid-file", &file]).fails(errno);
        bundle.assert_nothing_left("create");
        bundle.run_with(&["--pid-file", &file]).fails(errno);
        bundle.assert_nothing_left("run");
    }
    assert!(!bundle.dir.join(".rootfs").exists());
}
