//! Self-protection: a container can neither execute nor write ferrun's own binary (CVE-2019-5736), wherever
//! the caller runs it from and whatever it has in its environment.

mod common;

use std::fs::{File, OpenOptions};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::{Command, Stdio};

use common::{Bundle, Done, bounded, copy_program, ferrun_binary};
use ferrun::sys::fd::CWD;
use ferrun::sys::mount::{MountAttr, OPEN_TREE_CLONE, attr, mount_setattr, open_tree};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::statvfs::{FsFlags, statvfs};

const BIND: MsFlags = MsFlags::MS_BIND;
const READ_ONLY: MsFlags = MsFlags::MS_BIND.union(MsFlags::MS_REMOUNT).union(MsFlags::MS_RDONLY);
const WRITABLE: MsFlags = MsFlags::MS_BIND.union(MsFlags::MS_REMOUNT);

/// What is mounted read-only in the test's own mount namespace.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Bound {
    File,
    Directory,
}

impl Bound {
    fn path(self) -> std::path::PathBuf {
        match self {
            Bound::File => ferrun_binary(),
            Bound::Directory => ferrun_binary().parent().unwrap().to_owned(),
        }
    }

    fn mount(self, source: Option<&Path>, flags: MsFlags) {
        mount(source, &self.path(), None::<&str>, flags, None::<&str>).unwrap();
    }
}

/// Runs a test in a thread with a mount namespace of its own, where the path of ferrun leads to a copy of it on a
/// read-only mount.
fn with_read_only_ferrun(bound: Bound, test: impl FnOnce() + Send) {
    let scratch = Bundle::new(&["true"]);
    let directory = scratch.dir.join("copy");
    std::fs::create_dir(&directory).unwrap();
    let copy = directory.join(ferrun_binary().file_name().unwrap());
    copy_program(&ferrun_binary(), &copy);
    let in_own_mounts = || {
        unshare(CloneFlags::CLONE_NEWNS).unwrap();
        mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>).unwrap();
        bound.mount(Some(if bound == Bound::File { &copy } else { &directory }), BIND);
        bound.mount(None, READ_ONLY);
        test();
    };
    std::thread::scope(|scope| {
        if let Err(panic) = scope.spawn(in_own_mounts).join() {
            std::panic::resume_unwind(panic);
        }
    });
}

/// A bundle whose program is /proc/self/exe, by its first line or as a link.
fn running_itself(text: &str) -> Bundle {
    let bundle = Bundle::new(&["/program", "version"]);
    let path = bundle.rootfs().join("program");
    if text.starts_with("#!") {
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
    } else {
        symlink(text, &path).unwrap();
    }
    bundle
}

#[track_caller]
fn assert_not_executed(done: &Done, what: &str) {
    let ran = done.status == 0 || done.status == 3 || !done.stdout.is_empty();
    assert!(!ran && done.stderr.contains("exec: "), "{what} executed ferrun: {done:?}");
}

/// Fails unless a process runs from a read-only, noexec mount or from memory, and has no descriptor of it.
#[track_caller]
fn assert_protected(pid: &str) {
    let exe = format!("/proc/{pid}/exe");
    let link = std::fs::read_link(&exe).unwrap();
    if link.to_str().unwrap().starts_with("/memfd:") {
        let mode = std::fs::metadata(&exe).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o400, "{link:?}");
    } else {
        let flags = statvfs(exe.as_str()).unwrap().flags();
        assert!(flags.contains(FsFlags::ST_RDONLY | FsFlags::ST_NOEXEC), "{link:?}: {flags:?}");
    }
    let same = |path: &Path| {
        use std::os::unix::fs::MetadataExt;
        let identity = |path: &Path| std::fs::metadata(path).map(|meta| (meta.dev(), meta.ino())).ok();
        identity(path) == identity(Path::new(&exe))
    };
    let descriptors = std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap().flatten();
    let open: Vec<_> = descriptors.map(|entry| entry.path()).filter(|path| same(path)).collect();
    assert!(open.is_empty(), "descriptors of the binary: {open:?}");
}

/// `ferrun run` of a bundle by a shell, after some commands of it; `$ferrun` is the binary.
fn run_by_shell(bundle: &Bundle, commands: &str, flags: &str) -> Done {
    let script =
        format!("set -e; {commands} exec \"$ferrun\" --root \"$state\" run {flags} --bundle \"$bundle\" \"$id\"");
    bounded(&mut shell(bundle, &script))
}

fn shell(bundle: &Bundle, script: &str) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", script]).stdin(Stdio::null()).env("ferrun", ferrun_binary());
    command.env("state", bundle.state_root()).env("bundle", &bundle.dir).env("id", &bundle.id);
    command
}

#[test]
fn a_read_only_ferrun_is_never_executed_inside() {
    need_root!();
    for bound in [Bound::File, Bound::Directory] {
        for (text, times) in [("#!/proc/self/exe version\n", 1), ("/proc/self/exe", 1), ("#!/proc/self/exe\n", 500)] {
            let times = if bound == Bound::File { times } else { 1 };
            with_read_only_ferrun(bound, || {
                let bundle = running_itself(text);
                for _ in 0..times {
                    assert_not_executed(&bundle.run(), text);
                }
            });
        }
    }
}

#[test]
fn a_read_only_ferrun_cannot_be_written_after_a_remount() {
    need_root!();
    for bound in [Bound::File, Bound::Directory] {
        with_read_only_ferrun(bound, || {
            let bundle = Bundle::new(&["sleep", "100"]);
            bundle.create().ok();
            let pid = bundle.state()["pid"].to_string();
            let kept = File::open(format!("/proc/{pid}/exe")).unwrap();
            assert_protected(&pid);
            bundle.delete_force().ok();
            bound.mount(None, WRITABLE);
            // Nothing runs from this copy any more, so the mount alone can prevent it.
            drop(OpenOptions::new().append(true).open(ferrun_binary()).expect("the host's file is writable"));
            let opened = OpenOptions::new().append(true).open(format!("/proc/self/fd/{}", kept.as_raw_fd()));
            assert!(opened.is_err(), "the binary is open for writing");
        });
    }
}

#[test]
fn a_stale_variable_closes_no_descriptor() {
    need_root!();
    with_read_only_ferrun(Bound::File, || {
        let bundle = Bundle::sh("cat <&4");
        std::fs::write(bundle.dir.join("data"), "passed on").unwrap();
        for value in ["4", "1:4", "4:4", ":4", "4:", "x"] {
            let commands = format!("exec 3</dev/null 4<\"$bundle/data\"; export FERRUN_COPY={value};");
            assert_eq!(run_by_shell(&bundle, &commands, "--preserve-fds 2").ok(), "passed on", "{value}");
        }
    });
}

/// In a pid namespace of its own ferrun has the pid that anybody can guess.
#[test]
fn a_variable_with_the_right_pid_does_not_keep_other_commands_from_working() {
    need_root!();
    let bundle = Bundle::new(&["true"]);
    let of = |command: &str| {
        let mut unshare = Command::new("unshare");
        unshare.args(["--pid", "--fork", "--mount-proc"]).arg(ferrun_binary()).arg("--root").arg(bundle.state_root());
        unshare.args([command, &bundle.id]).env("FERRUN_COPY", "1:3").current_dir(&bundle.dir);
        common::bounded(&mut unshare)
    };
    assert!(of("state").stderr.contains("does not exist"), "{:?}", of("state"));
    assert!(of("run").stderr.contains("unset FERRUN_COPY"), "{:?}", of("run"));
    bundle.assert_nothing_left("run");
}

#[test]
fn a_variable_for_the_hosts_own_mount_changes_nothing() {
    need_root!();
    with_read_only_ferrun(Bound::File, || {
        let bundle = Bundle::sh("echo ran");
        // The shell's pid is that of ferrun, which takes its place: the variable then lies about ferrun itself.
        for (value, runs) in [
            ("4", true),
            ("1:4", true),
            ("", true),
            ("$$:", true),
            ("$$:4:5", true),
            ("$$:99999999999", true),
            ("\"$$:4 \"", true),
            ("$$:$(printf '4\\377')", true),
            ("$$:4", false),
            ("$$:0", false),
            ("$$:99", false),
            ("$$:-1", false),
        ] {
            let commands = format!("exec 3</dev/null 4<\"$ferrun\"; export FERRUN_COPY={value};");
            let done = run_by_shell(&bundle, &commands, "--preserve-fds 2");
            if runs {
                assert_eq!(done.ok(), "ran", "{value}");
            } else {
                done.refused("FERRUN_COPY");
            }
            let flags = statvfs(&ferrun_binary()).unwrap().flags();
            assert!(!flags.contains(FsFlags::ST_NOEXEC), "{value}: the host's mount is noexec");
            Done::new(Command::new(ferrun_binary()).arg("--version").output().unwrap()).ok();
        }
    });
}

/// A caller that runs ferrun from a read-only detached mount of its own, which is the descriptor 4 of ferrun as well;
/// 5 is the host's mount of the same file.
#[test]
fn a_detached_mount_of_the_caller_is_not_taken_for_its_own() {
    need_root!();
    with_read_only_ferrun(Bound::File, || {
        let path = std::ffi::CString::new(ferrun_binary().to_str().unwrap()).unwrap();
        let mount = open_tree(CWD, &path, OPEN_TREE_CLONE).unwrap();
        mount_setattr(&mount, false, &MountAttr { set: attr::RDONLY, ..MountAttr::default() }).unwrap();
        let detached = format!("/proc/{}/fd/{}", std::process::id(), mount.as_raw_fd());
        let is_noexec = |path: &str| statvfs(path).unwrap().flags().contains(FsFlags::ST_NOEXEC);
        let bundle = running_itself("#!/proc/self/exe\n");
        let run = |value: &str| {
            let commands = format!("exec 4<{detached} 5<\"$ferrun\"; ferrun={detached}; export FERRUN_COPY={value};");
            run_by_shell(&bundle, &commands, "")
        };
        for value in ["4", "1:4"] {
            assert_not_executed(&run(value), value);
            assert!(!is_noexec(&detached), "{value}: the caller's mount is noexec");
        }
        run("$$:5").refused("FERRUN_COPY");
        assert!(!is_noexec(ferrun_binary().to_str().unwrap()), "the host's mount is noexec");
        // A caller that claims to be the second ferrun gets no executable one into a container either.
        assert_not_executed(&run("$$:4"), "the caller's claim");
    });
}

/// Its kind says nothing: it could be written to.
#[test]
fn a_memory_file_of_the_caller_is_not_taken_for_its_own() {
    need_root!();
    let bundle = Bundle::sh("echo ran");
    let memory = File::from(memfd_create(c"ferrun", MFdFlags::MFD_CLOEXEC).unwrap());
    let by_number = |file: &File| format!("/proc/{}/fd/{}", std::process::id(), file.as_raw_fd());
    let written = by_number(&memory);
    assert!(Command::new("cp").arg(ferrun_binary()).arg(&written).status().unwrap().success());
    // What is open for writing cannot be executed.
    let kept = File::open(&written).unwrap();
    drop(memory);
    let memory = by_number(&kept);
    for (value, runs) in [("1:4", true), ("$$:4", false)] {
        let commands = format!("exec 4<{memory}; ferrun={memory}; export FERRUN_COPY={value};");
        let done = run_by_shell(&bundle, &commands, "");
        match runs {
            true => assert_eq!(done.ok(), "ran"),
            false => done.refused("FERRUN_COPY"),
        }
        assert_ne!(kept.metadata().unwrap().permissions().mode() & 0o111, 0, "{value}: ferrun has changed it");
    }
}

/// As the kernel writes the name of a detached mount whose file is unlinked.
#[test]
fn a_binary_with_the_name_of_a_detached_one_is_not_taken_for_it() {
    need_root!();
    // Removed where nothing is mounted in it.
    let bundle = Bundle::new(&["true"]);
    with_read_only_ferrun(Bound::File, || {
        let root = bundle.rootfs();
        let name = root.join(" (deleted)");
        std::fs::write(&name, "").unwrap();
        mount(Some(&ferrun_binary()), &name, None::<&str>, BIND, None::<&str>).unwrap();
        mount(Some("proc"), &root.join("proc"), Some("proc"), MsFlags::empty(), None::<&str>).unwrap();
        let script = "exec 4<\"$root/ (deleted)\"; export FERRUN_COPY=$$:4; exec chroot \"$root\" '/ (deleted)' run x";
        bounded(shell(&bundle, script).env("root", &root)).refused("FERRUN_COPY");
        let flags = statvfs(&name).unwrap().flags();
        assert!(!flags.contains(FsFlags::ST_NOEXEC), "the host's mount is noexec");
    });
}

/// A package manager replaces the binary, while an engine runs the old one by a descriptor.
#[test]
fn an_unlinked_binary_is_protected() {
    need_root!();
    let bundle = Bundle::new(&["sleep", "100"]);
    let copy = bundle.dir.join("ferrun");
    copy_program(&ferrun_binary(), &copy);
    let kept = File::open(&copy).unwrap();
    std::fs::remove_file(&copy).unwrap();
    let binary = format!("/proc/{}/fd/{}", std::process::id(), kept.as_raw_fd());
    let mut create = Command::new(binary);
    create.arg("--root").arg(bundle.state_root()).args(["create", "--bundle"]).arg(&bundle.dir).arg(&bundle.id);
    bounded(&mut create).ok();
    assert_protected(&bundle.state()["pid"].to_string());
}

/// `ferrun create` where its mount cannot be cloned: the binary comes from another mount namespace. The pid namespace
/// is a new one, for its vm.memfd_noexec. Prints what the init runs from.
fn create_without_mounts(bundle: &Bundle, memfd_noexec: u32) -> Done {
    let inside = format!(
        "set -e; [ {memfd_noexec} = 0 ] || echo {memfd_noexec} >/proc/sys/vm/memfd_noexec
        run() {{ verb=$1; shift; /proc/self/fd/9 --root \"$state\" $verb \"$@\" \"$id\"; }}
        run create --pid-file \"$bundle/pid\" --bundle \"$bundle\"
        pid=$(cat \"$bundle/pid\"); readlink /proc/$pid/exe; stat -L -c %a /proc/$pid/exe
        run delete --force"
    );
    let script = "exec 9<\"$ferrun\"; exec unshare --mount --pid --fork --kill-child --mount-proc sh -c \"$inside\"";
    bounded(shell(bundle, script).env("inside", inside))
}

#[test]
fn without_mounts_it_runs_from_sealed_memory() {
    need_root!();
    let known = Path::new("/proc/sys/vm/memfd_noexec").exists(); // Linux 6.3
    for memfd_noexec in [0, 1].into_iter().filter(|value| *value == 0 || known) {
        let bundle = Bundle::new(&["sleep", "100"]);
        let done = create_without_mounts(&bundle, memfd_noexec).ok();
        assert_eq!(done, "/memfd:ferrun (deleted)\n400", "vm.memfd_noexec={memfd_noexec}");
    }
}

#[test]
fn without_mounts_and_memory_both_reasons_are_reported() {
    need_root!();
    if !Path::new("/proc/sys/vm/memfd_noexec").exists() {
        return common::skip("this test needs vm.memfd_noexec (Linux 6.3)");
    }
    let bundle = Bundle::new(&["true"]);
    let done = create_without_mounts(&bundle, 2);
    done.fails("EACCES");
    bundle.assert_nothing_left("a failed re-execution");
}
