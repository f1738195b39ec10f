//! States that another user can have written. Who acts on them refuses; who only looks reads them, follows no link and
//! waits for nothing.

mod common;

use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use common::{Bundle, sentences};
use serde_json::{Value, json};

/// A created container whose poststop hook leaves a file.
struct Target {
    bundle: Bundle,
    marker: PathBuf,
}

impl Target {
    fn new() -> Target {
        let bundle = Bundle::new(&["sleep", "1000"]);
        let marker = bundle.dir.join("hook-ran");
        let hook = json!([{ "path": "/bin/touch", "args": ["touch", marker] }]);
        let bundle = bundle.set("/hooks/poststop", hook);
        bundle.create().ok();
        Target { bundle, marker }
    }

    fn directory(&self) -> PathBuf {
        self.bundle.state_root().join(&self.bundle.id)
    }

    /// Checks that nothing that acts does so, and that what looks does.
    #[track_caller]
    fn assert_refused(&self) {
        let id = &*self.bundle.id;
        for args in [
            &["delete", id][..],
            &["delete", "--force", id],
            &["kill", id, "KILL"],
            &["kill", "--all", id, "KILL"],
            &["pause", id],
            &["resume", id],
            &["start", id],
            &["update", "--pids-limit", "7", id],
        ] {
            self.bundle.bounded(args).fails("");
        }
        assert!(!self.marker.exists(), "a hook of an untrusted state was run");
        assert_eq!(self.bundle.status(), "created");
        assert_eq!(self.bundle.ferrun(&["list", "--quiet"]).ok(), id);
        assert_ne!(self.bundle.ferrun(&["ps", "--format", "json", id]).ok(), "null");
    }

    fn assert_deleted(&self) {
        self.bundle.delete_force().ok();
        assert!(self.marker.exists(), "its hook runs once the state is trusted");
        self.bundle.assert_nothing_left("delete --force");
    }
}

fn set_mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn a_state_that_another_user_owns_is_only_looked_at() {
    need_root!();
    let target = Target::new();
    for path in [target.bundle.state_root(), target.directory(), target.directory().join("state.json")] {
        chown(&path, Some(1000), None).unwrap();
        target.assert_refused();
        chown(&path, Some(0), None).unwrap();
    }
    target.assert_deleted();
}

#[test]
fn a_state_that_others_can_write_to_is_only_looked_at() {
    need_root!();
    let target = Target::new();
    for path in [target.bundle.state_root(), target.directory()] {
        let before = std::fs::metadata(&path).unwrap().permissions().mode();
        for mode in [0o777, 0o1777, 0o770, 0o702] {
            set_mode(&path, mode);
            target.assert_refused();
        }
        set_mode(&path, before);
    }
    // What nobody else can reach may have any mode, as with a umask of 0.
    set_mode(&target.directory().join("state.json"), 0o666);
    for mode in [0o711, 0o710, 0o701] {
        set_mode(&target.directory(), mode);
        target.assert_refused();
    }
    set_mode(&target.directory(), 0o700);
    target.assert_deleted();
}

#[test]
fn roots_as_engines_make_them_are_trusted() {
    need_root!();
    for mode in [0o700, 0o711, 0o755, 0o1700] {
        let bundle = Bundle::new(&["sleep", "1000"]);
        std::fs::create_dir(bundle.state_root()).unwrap();
        set_mode(&bundle.state_root(), mode);
        bundle.create().ok();
        set_mode(&bundle.state_root().join(&bundle.id), mode & 0o777);
        bundle.start().ok();
        bundle.delete_force().ok();
        bundle.assert_nothing_left("delete --force");
    }
}

/// Modes of a path and of all that is in it, by path.
fn modes(path: &Path) -> Vec<(String, u32)> {
    let mode = std::fs::symlink_metadata(path).unwrap().permissions().mode() & 0o7777;
    let mut found = vec![(path.display().to_string(), mode)];
    if path.is_dir() {
        let mut entries: Vec<PathBuf> = std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()).collect();
        entries.sort();
        found.extend(entries.iter().flat_map(|entry| modes(entry)));
    }
    found
}

/// Who may write there has a root on the host run hooks, and who may read there learns the config. Only what the
/// container is given for its service manager is open to others.
#[test]
fn nobody_else_can_read_or_write_a_state_whatever_the_umask() {
    need_root!();
    for umask in ["0", "022", "077"] {
        let bundle = Bundle::new(&["sleep", "1000"]);
        let ferrun = |words: &str| {
            let script = format!("umask {umask}; exec \"$@\" {words} >/dev/null");
            let mut command = Command::new("/bin/busybox");
            command.args(["sh", "-c", &script, "sh"]).arg(common::ferrun_binary());
            command.arg("--root").arg(bundle.state_root().join("deep/root")).env("NOTIFY_SOCKET", "/nowhere/manager");
            common::bounded(&mut command).ok();
        };
        let (dir, id) = (bundle.dir.display(), &bundle.id);
        ferrun(&format!("create --bundle {dir} --pid-file {dir}/pid {id}"));
        let rules = bundle.dir.join("rules.json");
        std::fs::write(&rules, json!({ "devices": [{ "allow": true, "access": "m" }] }).to_string()).unwrap();
        ferrun(&format!("update --resources {} {id}", rules.display()));
        let expected = |name: &str| match name {
            "state" | "deep" | "root" => 0o700,
            "notify" => 0o755,
            name if name == id => 0o700,
            _ => 0o600,
        };
        let found = modes(&bundle.state_root());
        let name = |path: &str| path.rsplit('/').next().unwrap().to_owned();
        for wanted in ["state.json", "devices.json", "exec.fifo", "start.page", "notify"] {
            assert!(found.iter().any(|(path, _)| name(path) == wanted), "{wanted} in {found:?}");
        }
        for (path, mode) in &found {
            assert_eq!(*mode, expected(&name(path)), "{path} with umask {umask}");
        }
        // It is for others to read, as far as the caller lets them.
        let readable = 0o644 & !u32::from_str_radix(umask, 8).unwrap();
        assert_eq!(modes(&bundle.dir.join("pid"))[0].1, readable, "umask {umask}");
        ferrun(&format!("delete --force {id}"));
    }
}

#[test]
fn the_bundle_may_be_anybodys() {
    need_root!();
    let bundle = Bundle::new(&["true"]);
    chown(&bundle.dir, Some(1000), None).unwrap();
    chown(bundle.dir.join("config.json"), Some(1000), None).unwrap();
    set_mode(&bundle.dir.join("config.json"), 0o666);
    bundle.run().ok();
}

#[test]
fn nothing_is_created_in_a_root_that_others_can_write_to() {
    need_root!();
    for (uid, mode) in [(1000, 0o700), (0, 0o777), (0, 0o1777), (0, 0o770)] {
        let bundle = Bundle::new(&["true"]);
        std::fs::create_dir(bundle.state_root()).unwrap();
        chown(bundle.state_root(), Some(uid), None).unwrap();
        set_mode(&bundle.state_root(), mode);
        bundle.create().fails("");
        bundle.run().fails("");
        bundle.assert_nothing_left("a refused create");
    }
}

/// Changes the first line of a state.
fn tamper(target: &Target, change: impl FnOnce(&mut Value)) {
    let path = target.directory().join("state.json");
    let text = std::fs::read_to_string(&path).unwrap();
    let (first, init) = text.split_once('\n').unwrap();
    let mut state: Value = serde_json::from_str(first).unwrap();
    change(&mut state);
    std::fs::write(path, format!("{state}\n{init}")).unwrap();
}

#[test]
fn what_is_no_cgroup_is_neither_read_nor_removed() {
    need_root!();
    let target = Target::new();
    let text = std::fs::read(target.directory().join("state.json")).unwrap();
    let tree = target.bundle.dir.join("tree");
    for path in [tree.to_str().unwrap(), "/..", "/", "/sys/fs/cgroup", "/sys/fs/cgroup/../../../etc", "relative", ""] {
        std::fs::create_dir_all(tree.join("of/empty/directories")).unwrap();
        tamper(&target, |state| state["cgroup"] = json!([{ "path": path }]));
        let id = &*target.bundle.id;
        for args in [
            &["ps", "--format", "json", id][..],
            &["state", id],
            &["kill", "--all", id, "KILL"],
            &["delete", id],
            &["delete", "--force", id],
        ] {
            target.bundle.bounded(args).fails("");
        }
        assert!(tree.join("of/empty/directories").is_dir(), "{path}");
        assert!(!target.marker.exists());
        std::fs::write(target.directory().join("state.json"), &text).unwrap();
        assert_eq!(target.bundle.status(), "created", "{path}");
    }
    target.assert_deleted();
}

/// Runs the commands that read the state of a container in which one file is strange.
#[track_caller]
fn assert_unread(bundle: &Bundle, errno: &str) {
    let other = Bundle::new(&["true"]);
    bundle.ferrun(&["run", "--keep", "--bundle", other.dir.to_str().unwrap(), &other.id]).ok();
    for verb in ["state", "ps", "kill", "start", "pause", "delete"] {
        bundle.bounded(&[verb, "strange"]).fails(errno);
    }
    let list = bundle.bounded(&["list", "--quiet"]);
    list.fails(errno);
    assert_eq!(list.stdout.trim(), other.id);
    bundle.ferrun(&["delete", &other.id]).ok();
}

#[test]
fn a_state_that_is_no_regular_file_is_not_opened() {
    need_root!();
    let bundle = Bundle::new(&["true"]);
    let strange = bundle.state_root().join("strange");
    std::fs::create_dir_all(&strange).unwrap();
    let state = strange.join("state.json");
    for (make, errno) in [
        ("mkfifo", ""),
        ("ln -s /dev/zero", "ELOOP"),
        ("ln -s /etc/passwd", "ELOOP"),
        ("mkdir", "EISDIR"),
        ("truncate -s 5M", ""),
    ] {
        let mut words_of = make.split(' ').chain(state.to_str());
        assert!(Command::new(words_of.next().unwrap()).args(words_of).status().unwrap().success());
        assert_unread(&bundle, errno);
        match state.is_dir() {
            true => std::fs::remove_dir(&state).unwrap(),
            false => std::fs::remove_file(&state).unwrap(),
        }
    }
    std::fs::remove_dir(strange).unwrap();
}

/// Replaces a file of the state directory by what a command makes in its place.
fn replace(target: &Target, name: &str, make: &str) {
    let path = target.directory().join(name);
    std::fs::rename(&path, target.directory().join("kept")).unwrap();
    let mut words = make.split(' ');
    assert!(Command::new(words.next().unwrap()).args(words).arg(&path).status().unwrap().success(), "{make}");
}

#[test]
fn start_follows_no_link_and_waits_for_nobody() {
    need_root!();
    for (name, make, errno) in [
        ("exec.fifo", "ln -s kept", "ELOOP"),
        ("exec.fifo", "touch", ""),
        ("exec.fifo", "mkdir", ""),
        ("start.page", "ln -s kept", "ELOOP"),
        ("start.page", "mkfifo", ""),
        ("start.page", "mkdir", "EISDIR"),
        ("start.page", "truncate -s 0", ""),
    ] {
        let target = Target::new();
        replace(&target, name, make);
        target.bundle.bounded(&["start", &target.bundle.id]).fails(errno);
        assert_eq!(target.bundle.status(), "created", "{name}: {make}");
        let path = target.directory().join(name);
        match path.is_dir() && !path.is_symlink() {
            true => std::fs::remove_dir(&path).unwrap(),
            false => std::fs::remove_file(&path).unwrap(),
        }
        std::fs::rename(target.directory().join("kept"), &path).unwrap();
        target.bundle.bounded(&["start", &target.bundle.id]).ok();
        target.assert_deleted();
    }
    // Nobody has another fifo open.
    let target = Target::new();
    replace(&target, "exec.fifo", "mkfifo");
    target.bundle.bounded(&["start", &target.bundle.id]).ok();
    std::fs::remove_file(target.directory().join("kept")).unwrap();
    target.assert_deleted();
}

#[test]
fn a_state_directory_that_is_a_link_is_not_followed() {
    need_root!();
    let target = Target::new();
    symlink(&target.bundle.id, target.bundle.state_root().join("link")).unwrap();
    for verb in ["state", "kill", "delete", "start", "ps"] {
        target.bundle.ferrun(&[verb, "link"]).fails("ENOTDIR");
    }
    target.bundle.ferrun(&["delete", "--force", "link"]).fails("ENOTDIR");
    assert_eq!(target.bundle.ferrun(&["list", "--quiet"]).ok(), target.bundle.id);
    std::fs::remove_file(target.bundle.state_root().join("link")).unwrap();
    target.assert_deleted();
}

#[test]
fn a_config_that_is_no_regular_file_is_not_opened() {
    need_root!();
    let bundle = Bundle::new(&["true"]);
    let config = bundle.dir.join("config.json");
    let dir = bundle.dir.to_str().unwrap();
    std::fs::rename(&config, bundle.dir.join("elsewhere.json")).unwrap();
    for (make, is_terminal) in
        [("mkfifo", false), ("ln -s /dev/zero", false), ("ln -s /dev/tty", true), ("truncate -s 17M", false)]
    {
        let mut words_of = make.split(' ').chain(config.to_str());
        assert!(Command::new(words_of.next().unwrap()).args(words_of).status().unwrap().success());
        for args in [
            &["run", "--bundle", dir, &bundle.id][..],
            &["create", "--bundle", dir, &bundle.id],
            &["check", "--bundle", dir],
            &["explain", "--bundle", dir],
            &["seccomp", "--bundle", dir],
        ] {
            let error = bundle.bounded(args).error_in_any_words();
            // Whether this process has a terminal decides what the last one is.
            if !is_terminal {
                assert_eq!(error.to_string(), "", "{make}");
                sentences::compare(&error);
            }
        }
        std::fs::remove_file(&config).unwrap();
    }
    // A link to a regular file is one.
    symlink("elsewhere.json", &config).unwrap();
    bundle.run().ok();
}

#[test]
fn a_named_file_without_an_end_does_not_take_all_memory() {
    need_root!();
    let bundle = Bundle::new(&["sleep", "1000"]);
    bundle.create().ok();
    bundle.bounded(&["update", "--resources", "/dev/zero", &bundle.id]).fails("");
    bundle.bounded(&["seccomp", "--profile", "/dev/zero"]).fails("");
    bundle.bounded(&["explain", "--bundle", bundle.dir.to_str().unwrap(), "--host", "/dev/zero"]).fails("");
    bundle.delete_force().ok();
}

#[test]
fn delete_removes_no_directory_that_is_none_of_resctrl() {
    need_root!();
    let bundle = Bundle::new(&["sleep", "1000"]);
    bundle.create().ok();
    let innocent = bundle.dir.join("innocent");
    std::fs::create_dir(&innocent).unwrap();
    let file = bundle.state_root().join(&bundle.id).join("state.json");
    let text = std::fs::read_to_string(&file).unwrap();
    let (first, rest) = text.split_once('\n').unwrap();
    let mut state: serde_json::Value = serde_json::from_str(first).unwrap();
    state["resctrl"] = serde_json::json!({ "path": innocent });
    std::fs::write(&file, format!("{state}\n{rest}")).unwrap();
    bundle.delete_force().ok();
    assert!(innocent.is_dir());
    bundle.assert_nothing_left("delete --force");
}
