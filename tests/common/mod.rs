//! What every test on real bundles needs: the binary, a bundle with busybox, and a clean host after it.
#![allow(dead_code, unused_imports)] // each test binary uses its part

pub mod cli;
pub mod exec;
mod golden;
pub mod limits;
pub mod observe;
pub mod recorded;
pub mod running;
pub mod sentences;
mod skip;
pub mod terminal;

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use nix::sys::memfd::{MFdFlags, memfd_create};
pub use sentences::Report;
use serde_json::{Value, json};
pub use skip::skip;

/// The binary under test: $FERRUN (hack/test sets it to the release binary), else the one that cargo built.
pub fn ferrun_binary() -> PathBuf {
    std::env::var_os("FERRUN").map_or_else(|| env!("CARGO_BIN_EXE_ferrun").into(), PathBuf::from)
}

/// The release binary; without $FERRUN there is none, which is said loudly.
pub fn release_binary() -> Option<PathBuf> {
    if std::env::var_os("FERRUN").is_some() {
        return Some(ferrun_binary());
    }
    skip("$FERRUN is not set (hack/test sets it to what hack/build made)");
    None
}

/// Returns from a test, loudly, unless it can be root on a host with busybox.
#[macro_export]
macro_rules! need_root {
    () => {
        if !nix::unistd::geteuid().is_root() {
            return $crate::common::skip("this test needs root");
        }
        if !std::path::Path::new("/bin/busybox").exists() {
            return $crate::common::skip("this test needs /bin/busybox (Debian's busybox-static)");
        }
    };
}

/// How long to wait for what takes at most so many seconds: longer on a slow machine, which says so by
/// $FERRUN_PATIENCE, a factor (integration/vm sets it for an emulated one).
pub fn patience(seconds: u64) -> Duration {
    let factor = std::env::var("FERRUN_PATIENCE").map_or(1, |factor| factor.parse().expect("FERRUN_PATIENCE"));
    Duration::from_secs(seconds * factor)
}

static COUNTER: AtomicU32 = AtomicU32::new(0);

/// What `--fault error@N` ends with, before the step in quotes.
pub const FAULT: &str = "a fault was asked for before \"";

/// A bundle with its own state root and cgroup path; gone with everything in it when dropped.
pub struct Bundle {
    pub dir: PathBuf,
    pub config: Value,
    pub id: String,
}

impl Bundle {
    /// A bundle from `ferrun spec`'s own default but without a terminal, with a busybox root, running `args`.
    pub fn new(args: &[&str]) -> Bundle {
        // One width, so that no bundle's name is the beginning of another's.
        let id = format!("t{}-{:04}", std::process::id(), COUNTER.fetch_add(1, Ordering::Relaxed));
        let dir = std::env::temp_dir().join(format!("ferrun-test-{id}"));
        let mut bundle = Bundle { dir, config: Value::Null, id }; // from here on removed whatever fails
        make_rootfs(&bundle.rootfs());
        let made = Command::new(ferrun_binary()).args(["spec", "--bundle"]).arg(&bundle.dir).status().unwrap();
        assert!(made.success(), "ferrun spec");
        let text = std::fs::read(bundle.dir.join("config.json")).unwrap();
        let mut config: Value = serde_json::from_slice(&text).unwrap();
        config["process"]["terminal"] = json!(false);
        config["process"]["args"] = json!(args);
        config["linux"]["cgroupsPath"] = json!(format!("/ferrun-{}", bundle.id));
        bundle.config = config;
        bundle.write();
        bundle
    }

    /// A bundle that runs a shell script.
    pub fn sh(script: &str) -> Bundle {
        Bundle::new(&["sh", "-c", script])
    }

    /// Changes the config and writes it.
    pub fn with(mut self, change: impl FnOnce(&mut Value)) -> Bundle {
        change(&mut self.config);
        self.write();
        self
    }

    /// Writes the config.
    pub fn write(&self) {
        std::fs::write(self.dir.join("config.json"), serde_json::to_vec_pretty(&self.config).unwrap()).unwrap();
    }

    /// Sets the value at a JSON pointer; objects and list elements that are missing on the way are made.
    pub fn set(self, pointer: &str, value: Value) -> Bundle {
        self.with(|config| {
            let mut place = config;
            for key in pointer.split('/').skip(1) {
                place = match place {
                    Value::Array(list) => {
                        let index: usize = key.parse().unwrap();
                        list.resize(list.len().max(index + 1), Value::Null);
                        &mut list[index]
                    }
                    object => &mut object[key],
                };
            }
            *place = value;
        })
    }

    /// The line of config.json on which the value at a JSON pointer begins.
    pub fn line_of(&self, pointer: &str) -> usize {
        let mut config = self.config.clone();
        *config.pointer_mut(pointer).unwrap() = json!("the value in question");
        let text = serde_json::to_string_pretty(&config).unwrap();
        1 + text.lines().position(|line| line.contains("the value in question")).unwrap()
    }

    pub fn rootfs(&self) -> PathBuf {
        self.dir.join("rootfs")
    }

    /// Where this bundle's containers have their states.
    pub fn state_root(&self) -> PathBuf {
        self.dir.join("state")
    }

    /// `ferrun --root … ARGS`, not started yet; streams are piped, standard input is empty.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(ferrun_binary());
        command.arg("--root").arg(self.state_root()).args(args).stdin(Stdio::null());
        command
    }

    /// Runs `ferrun ARGS` to its end.
    pub fn ferrun(&self, args: &[&str]) -> Done {
        Done::new(self.command(args).output().unwrap())
    }

    /// Runs `ferrun ARGS` for at most 30 s, so that a hang is a failure; for `create` and `run`, too.
    pub fn bounded(&self, args: &[&str]) -> Done {
        bounded(&mut self.command(args))
    }

    /// `ferrun run` of this bundle.
    pub fn run(&self) -> Done {
        self.run_with(&[])
    }

    /// `ferrun run` with further flags.
    pub fn run_with(&self, flags: &[&str]) -> Done {
        self.verb("run", flags)
    }

    /// `ferrun run` from a shell in a mount namespace of its own, after some commands of that shell: mounts
    /// for sources, descriptors and limits of the caller. `$bundle` is this bundle's directory.
    pub fn run_after(&self, commands: &str) -> Done {
        let script = format!("set -e; {commands}\nexec \"$ferrun\" --root \"$state\" run --bundle \"$bundle\" \"$id\"");
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-c", script.as_str()]).stdin(Stdio::null());
        command.env("ferrun", ferrun_binary()).env("state", self.state_root());
        command.env("bundle", &self.dir).env("id", &self.id);
        Done::new(command.output().unwrap())
    }

    /// `ferrun create` of this bundle, its streams led nowhere: the init keeps them.
    pub fn create_with(&self, flags: &[&str]) -> Done {
        self.led_nowhere("create", flags)
    }

    /// `ferrun run --detach` of this bundle, its streams led nowhere: the program keeps them.
    pub fn run_detached(&self) -> Done {
        self.led_nowhere("run", &["--detach"])
    }

    fn led_nowhere(&self, verb: &str, flags: &[&str]) -> Done {
        let error = self.dir.join("create.err");
        let file = std::fs::File::create(&error).unwrap();
        let mut command = self.command(&[verb, "--bundle", self.dir.to_str().unwrap()]);
        let status = command.args(flags).arg(&self.id).stdout(Stdio::null()).stderr(file).status().unwrap();
        let stderr = std::fs::read_to_string(error).unwrap();
        Done { status: status.code().unwrap_or(-1), stdout: String::new(), stderr }
    }

    pub fn create(&self) -> Done {
        self.create_with(&[])
    }

    fn verb(&self, verb: &str, flags: &[&str]) -> Done {
        let dir = self.dir.to_str().unwrap();
        let args = [&[verb, "--bundle", dir], flags, &[self.id.as_str()]].concat();
        self.ferrun(&args)
    }

    /// `ferrun VERB ID ARGS`.
    pub fn on(&self, verb: &str, args: &[&str]) -> Done {
        self.ferrun(&[&[verb, self.id.as_str()], args].concat())
    }

    pub fn start(&self) -> Done {
        self.on("start", &[])
    }

    pub fn delete_force(&self) -> Done {
        self.ferrun(&["delete", "--force", &self.id])
    }

    /// The state as JSON.
    pub fn state(&self) -> Value {
        let done = self.on("state", &[]);
        serde_json::from_str(&done.stdout).unwrap_or_else(|_| panic!("state: {done:?}"))
    }

    pub fn status(&self) -> String {
        self.state()["status"].as_str().unwrap().to_owned()
    }

    /// Waits up to 10 s for a status.
    pub fn wait_for(&self, status: &str) {
        let begin = Instant::now();
        while self.status() != status {
            assert!(begin.elapsed() < patience(10), "still {} and not {status}", self.status());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// The container's cgroup directories that exist, in every hierarchy of this host.
    pub fn cgroups(&self) -> Vec<PathBuf> {
        let Some(path) = self.config["linux"]["cgroupsPath"].as_str() else { return Vec::new() };
        // Only what bears this bundle's name: what is found may be killed and removed.
        let Some(top) = path.split('/').find(|part| part.contains(&self.id)) else { return Vec::new() };
        let entries = std::fs::read_dir("/sys/fs/cgroup").into_iter().flatten().flatten().map(|entry| entry.path());
        // Links to `cpu,cpuacct` are no hierarchies of their own.
        let hierarchies = entries.filter(|path| !path.is_symlink());
        let mut candidates: Vec<PathBuf> = hierarchies.map(|path| path.join(top)).collect();
        candidates.push(Path::new("/sys/fs/cgroup").join(top));
        candidates.retain(|path| path.is_dir());
        candidates
    }

    /// The same, after a wait of up to 5 s for processes that end by themselves.
    pub fn assert_nothing_left_soon(&self, after: &str) {
        wait_until("the end of the last process", || processes_in(&self.dir).is_empty());
        self.assert_nothing_left(after);
    }

    /// Fails unless no state, cgroup, mount or process of this bundle is left.
    pub fn assert_nothing_left(&self, after: &str) {
        let states = std::fs::read_dir(self.state_root()).into_iter().flatten().flatten().count();
        assert_eq!(states, 0, "a state directory is left after {after}");
        assert_eq!(self.cgroups(), Vec::<PathBuf>::new(), "cgroups are left after {after}");
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
        let name = self.dir.to_str().unwrap();
        assert!(!mounts.contains(name), "a mount is left after {after}");
        assert_eq!(processes_in(&self.dir), Vec::<String>::new(), "a process is left after {after}");
    }
}

impl Drop for Bundle {
    fn drop(&mut self) {
        if nix::unistd::geteuid().is_root() {
            for entry in std::fs::read_dir(self.state_root()).into_iter().flatten().flatten() {
                let id = entry.file_name();
                let _ = self.command(&["delete", "--force", id.to_str().unwrap()]).output();
            }
            for cgroup in self.cgroups() {
                remove_cgroups(&cgroup);
            }
        }
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

/// Processes whose command line, mounts or working directory are in a directory: ferrun's own and the
/// container's, from their birth on.
pub fn processes_in(dir: &Path) -> Vec<String> {
    let name = dir.file_name().unwrap().to_str().unwrap();
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let Ok(pid) = entry.file_name().to_str().unwrap_or_default().parse::<u32>() else { continue };
        let read = |file: &str| std::fs::read(entry.path().join(file)).unwrap_or_default();
        let has_name = |text: &[u8]| text.windows(name.len()).any(|part| part == name.as_bytes());
        let command = read("cmdline");
        let mounted = || read("mountinfo").split(|byte| *byte == b'\n').any(|line| has_name(root_of_mount(line)));
        let works_there = || std::fs::read_link(entry.path().join("cwd")).is_ok_and(|cwd| cwd.starts_with(dir));
        if pid != std::process::id() && (has_name(&command) || mounted() || works_there()) {
            found.push(format!("{pid} {}", String::from_utf8_lossy(&command).replace('\0', " ")));
        }
    }
    found
}

/// Field 4 of a line of mountinfo: what of the file system is mounted.
fn root_of_mount(line: &[u8]) -> &[u8] {
    line.split(|byte| *byte == b' ').nth(3).unwrap_or_default()
}

/// Waits up to 5 s until something is so.
#[track_caller]
pub fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !is_so() {
        assert!(begin.elapsed() < patience(5), "waited for {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Whether mounts can be made in a tree that is mounted nowhere: Linux 6.15.
#[allow(dead_code)] // not every test asks
pub fn mounts_nowhere() -> bool {
    ferrun::sys::release::is_at_least(6, 15) == Some(true)
}

/// Runs a command for at most 30 s. Its output goes to memory and not through pipes, whose end would
/// not come before that of the container.
#[track_caller]
pub fn bounded(command: &mut Command) -> Done {
    use std::io::{Read, Seek};
    let memory = || std::fs::File::from(memfd_create(c"output", MFdFlags::MFD_CLOEXEC).unwrap());
    let (mut out, mut err) = (memory(), memory());
    command.stdin(Stdio::null()).stdout(out.try_clone().unwrap()).stderr(err.try_clone().unwrap());
    let mut child = command.spawn().unwrap();
    let begin = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        if begin.elapsed() > patience(30) {
            let _ = child.kill();
            panic!("still there after {:?}: {command:?}", patience(30));
        }
        std::thread::sleep(Duration::from_millis(1));
    };
    let text = |file: &mut std::fs::File| {
        let mut bytes = Vec::new();
        file.rewind().and_then(|()| file.read_to_end(&mut bytes)).unwrap();
        bytes
    };
    Done::new(Output { status, stdout: text(&mut out), stderr: text(&mut err) })
}

/// Ends and removes what a failed test left in a cgroup and below.
fn remove_cgroups(path: &Path) {
    use nix::sys::signal::{Signal, kill};
    for entry in std::fs::read_dir(path).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_cgroups(&entry.path());
        }
    }
    let begin = Instant::now();
    while std::fs::remove_dir(path).is_err() && path.exists() && begin.elapsed() < Duration::from_secs(1) {
        let pids = std::fs::read_to_string(path.join("cgroup.procs")).unwrap_or_default();
        for pid in pids.lines().filter_map(|pid| pid.parse().ok()).filter(|pid| *pid > 1) {
            let _ = kill(nix::unistd::Pid::from_raw(pid), Signal::SIGKILL);
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Copies a program by another process. A copy of this one's could not be executed for a moment (ETXTBSY):
/// children that other tests of this process start meanwhile have it open for writing, too.
pub fn copy_program(from: &Path, to: &Path) {
    assert!(Command::new("cp").args([from, to]).status().unwrap().success(), "cp {}", from.display());
}

/// A root file system with busybox under its usual names.
fn make_rootfs(rootfs: &Path) {
    for name in ["bin", "etc", "tmp", "proc", "dev", "sys", "root"] {
        std::fs::create_dir_all(rootfs.join(name)).unwrap();
    }
    if !Path::new("/bin/busybox").exists() {
        return;
    }
    // A link costs nothing; where the temporary directory is another file system, a copy does as well.
    let busybox = rootfs.join("bin/busybox");
    if std::fs::hard_link("/bin/busybox", &busybox).is_err() {
        copy_program(Path::new("/bin/busybox"), &busybox);
    }
    let names = "sh cat ls id hostname sleep true false echo stat mount ps kill touch mkdir env pwd readlink grep head \
                 tail wc sed tr ip mknod test sort cut dd df umount chmod ln rm seq nproc date printf";
    for name in names.split_whitespace() {
        std::os::unix::fs::symlink("busybox", rootfs.join("bin").join(name)).unwrap();
    }
    std::fs::write(rootfs.join("etc/passwd"), "root:x:0:0:root:/root:/bin/sh\nalice:x:1000:1000::/:/bin/sh\n").unwrap();
}

/// A line of /proc/PID/mountinfo: proc(5).
#[derive(Debug, Clone)]
pub struct MountLine {
    pub device: String,
    pub root: String,
    pub point: String,
    pub options: Vec<String>,
    pub propagation: Vec<String>,
    pub kind: String,
    pub source: String,
    pub superblock: Vec<String>,
}

impl MountLine {
    /// Whether the mount (not its file system) has an option: `ro`, `nosuid`.
    pub fn has(&self, option: &str) -> bool {
        self.options.iter().any(|one| one == option)
    }
}

/// The mounts in a mountinfo text, in its order.
pub fn mount_lines(mountinfo: &str) -> Vec<MountLine> {
    let list = |text: &str| text.split(',').map(str::to_owned).collect();
    let line = |line: &str| {
        let (left, right) = line.split_once(" - ").unwrap_or_else(|| panic!("no line of mountinfo: {line}"));
        let (left, right): (Vec<&str>, Vec<&str>) = (left.split(' ').collect(), right.split(' ').collect());
        MountLine {
            device: left[2].into(),
            root: left[3].into(),
            point: left[4].into(),
            options: list(left[5]),
            propagation: left[6..].iter().map(|&field| field.to_owned()).collect(),
            kind: right[0].into(),
            source: right[1].into(),
            superblock: list(right[2]),
        }
    };
    mountinfo.lines().map(line).collect()
}

/// The uppermost mount on a path.
#[track_caller]
pub fn mounted_on<'a>(mounts: &'a [MountLine], point: &str) -> &'a MountLine {
    mounts.iter().rev().find(|mount| mount.point == point).unwrap_or_else(|| panic!("nothing on {point}: {mounts:#?}"))
}

/// A directory of the host that nothing may change.
pub struct Canary {
    pub dir: PathBuf,
    before: Vec<String>,
}

impl Canary {
    /// Beside the bundle's root: reached by `../canary` and by its absolute path.
    pub fn beside(bundle: &Bundle) -> Canary {
        let dir = bundle.dir.join("canary");
        std::fs::create_dir_all(dir.join("sub")).unwrap();
        // What a runtime would make or replace, were it led here as to a /dev or /etc.
        for name in ["secret", "ptmx", "null", "sub/file"] {
            std::fs::write(dir.join(name), "the host's").unwrap();
        }
        let before = Canary::look(&dir);
        Canary { dir, before }
    }

    fn look(dir: &Path) -> Vec<String> {
        use std::os::unix::fs::MetadataExt;
        let describe = |path: &Path| {
            let meta = std::fs::symlink_metadata(path).unwrap();
            let changed = (meta.mtime(), meta.mtime_nsec(), meta.ctime(), meta.ctime_nsec());
            format!("{} {} {:o} {}:{} {changed:?}", path.display(), meta.ino(), meta.mode(), meta.uid(), meta.size())
        };
        let mut found = vec![describe(dir)];
        for entry in std::fs::read_dir(dir).unwrap().flatten() {
            match entry.file_type().unwrap().is_dir() {
                true => found.extend(Canary::look(&entry.path())),
                false => found.push(describe(&entry.path())),
            }
        }
        found.sort();
        found
    }

    #[track_caller]
    pub fn assert_alive(&self, attack: &str) {
        assert_eq!(Canary::look(&self.dir), self.before, "the host was changed by {attack}");
    }
}

/// A finished command.
#[derive(Debug)]
pub struct Done {
    pub status: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Done {
    pub fn new(output: Output) -> Done {
        use std::os::unix::process::ExitStatusExt;
        let status = output.status.code().unwrap_or_else(|| -output.status.signal().unwrap_or(0));
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Done { status, stdout: text(output.stdout), stderr: text(output.stderr) }
    }

    /// Fails unless it succeeded; gives its output without the last newline.
    #[track_caller]
    pub fn ok(self) -> String {
        assert_eq!(self.status, 0, "{self:?}");
        self.stdout.trim_end().to_owned()
    }

    /// Fails unless it failed with status 1 and these words: those that engines match (reference: cli.md A.6). What
    /// else ferrun says is in tests/data/sentences.txt; see `fails`.
    #[track_caller]
    pub fn refused(&self, words: &str) {
        assert_eq!(self.status, 1, "{self:?}");
        assert!(self.stderr.contains(words), "no {words:?} in {self:?}");
    }

    /// Fails unless it failed with status 1 for this reason (`ENOENT /process/args`), in the words that are written
    /// down for this test.
    #[track_caller]
    pub fn fails(&self, reason: &str) {
        let error = self.error();
        assert!(error.is_for(reason), "{error}, not {reason}: {self:?}");
    }

    /// The error of a command that failed with status 1, in the words that are written down for this test.
    #[track_caller]
    pub fn error(&self) -> Report {
        let error = self.error_in_any_words();
        sentences::compare(&error);
        error
    }

    /// The error of a command that failed with status 1.
    #[track_caller]
    pub fn error_in_any_words(&self) -> Report {
        assert_eq!(self.status, 1, "{self:?}");
        Report::error(&self.stderr).unwrap_or_else(|| panic!("no error in {self:?}"))
    }

    /// Fails unless the warnings are for these reasons, in the words that are written down for this test.
    #[track_caller]
    pub fn warns(&self, reasons: &[&str]) {
        let warnings = Report::warnings(&self.stderr);
        warnings.iter().for_each(sentences::compare);
        assert_eq!(warnings.iter().map(Report::to_string).collect::<Vec<_>>(), reasons, "{self:?}");
    }
}

/// Whether the owners of a tmpfs can be mapped: since Linux 6.3.
pub fn can_map_tmpfs() -> bool {
    let release = nix::sys::utsname::uname().unwrap().release().to_string_lossy().into_owned();
    let mut numbers = release.split('.').map(|number| number.parse::<u32>().unwrap_or(0));
    (numbers.next(), numbers.next()) >= (Some(6), Some(3))
}

/// Puts a namespace in the place of those of its kind.
pub fn set_namespace(config: &mut Value, entry: Value) {
    let list = config["linux"]["namespaces"].as_array_mut().unwrap();
    list.retain(|namespace| namespace["type"] != entry["type"]);
    list.push(entry);
}

/// Gives the directories of a tree to an id of the host. Its files stay: what is linked (busybox) is the host's own.
pub fn give(path: &Path, id: u32) {
    std::os::unix::fs::chown(path, Some(id), Some(id)).unwrap();
    for entry in std::fs::read_dir(path).unwrap().flatten() {
        if entry.file_type().unwrap().is_dir() {
            give(&entry.path(), id);
        }
    }
}

/// Is set when its thread ends, also by a panic: the other threads must not wait for ever.
pub struct SetAtEnd<'a>(pub &'a AtomicBool);

impl Drop for SetAtEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Does something while `a` and `b` in a directory are exchanged again and again.
pub fn while_exchanged<T>(directory: &Path, act: impl FnOnce() -> T) -> T {
    use nix::fcntl::{RenameFlags, renameat2};
    let (is_over, directory) = (AtomicBool::new(false), std::fs::File::open(directory).unwrap());
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                renameat2(&directory, c"a", &directory, c"b", RenameFlags::RENAME_EXCHANGE).unwrap();
            }
        });
        let _end = SetAtEnd(&is_over);
        act()
    })
}
