//! What the commands print and write: state, list, spec, logs, explain, trace; and what of the
//! caller's descriptors reaches the container.

mod common;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use common::cli::{ferrun, json_of, names_in, path};
use common::{Bundle, Done, ferrun_binary};
use serde_json::{Value, json};

/// The arguments that run a bundle.
fn run_args<'a>(bundle: &'a Bundle, flags: &[&'a str]) -> Vec<&'a str> {
    [&["run", "--bundle", bundle.dir.to_str().unwrap()], flags, &[&bundle.id]].concat()
}

#[test]
fn the_state_has_runcs_properties_in_runcs_order() {
    need_root!();
    let bundle = Bundle::new(&["sleep", "100"]).set("/annotations", json!({"org.example.b": "1", "a": "ä\n\"2\""}));
    bundle.create().ok();
    let text = bundle.on("state", &[]).stdout;
    assert!(text.starts_with("{\n  \"ociVersion\": \"1.3.0\",\n  \"id\": "), "{text}");
    assert!(text.ends_with(",\n  \"owner\": \"\"\n}\n"), "{text:?}");
    let keys = text.lines().filter_map(|line| line.strip_prefix("  \"")?.split_once("\": ").map(|(key, _)| key));
    let order = ["ociVersion", "id", "pid", "status", "bundle", "rootfs", "created", "annotations", "owner"];
    assert_eq!(keys.collect::<Vec<_>>(), order);
    let state = json_of(&text);
    assert_eq!(state["id"], bundle.id.as_str());
    assert_eq!(state["bundle"], bundle.dir.to_str().unwrap());
    assert_eq!(state["rootfs"], bundle.rootfs().to_str().unwrap());
    assert_eq!(state["annotations"], bundle.config["annotations"]);
    let created = humantime::parse_rfc3339(state["created"].as_str().unwrap()).unwrap();
    assert!(created.elapsed().unwrap().as_secs() < 20);
    let namespaces = std::fs::read_link(format!("/proc/{}/ns/pid", state["pid"])).unwrap();
    assert_ne!(namespaces, std::fs::read_link("/proc/self/ns/pid").unwrap(), "the pid is the container's as seen here");
}

#[test]
fn a_state_without_annotations_has_no_such_key_and_a_stopped_one_pid_0() {
    need_root!();
    let bundle = Bundle::new(&["true"]);
    bundle.run_with(&["--keep"]).ok();
    let state = bundle.state();
    assert_eq!((&state["status"], &state["pid"], &state["owner"]), (&json!("stopped"), &json!(0), &json!("")));
    assert!(state.get("annotations").is_none(), "{state}");
}

#[test]
fn the_bundle_in_the_state_is_absolute() {
    need_root!();
    let bundle = Bundle::new(&["true"]).set("/root/path", json!("./rootfs/"));
    let command = bundle.command(&["run", "--keep", "--bundle", ".", &bundle.id]).current_dir(&bundle.dir).output();
    Done::new(command.unwrap()).ok();
    assert_eq!(bundle.state()["bundle"], bundle.dir.to_str().unwrap());
    assert!(Path::new(bundle.state()["rootfs"].as_str().unwrap()).is_absolute());
    std::os::unix::fs::symlink(".", bundle.dir.join("link")).unwrap();
    for path in ["", "/", "/link", "/link/link/", "/rootfs/..", "//."] {
        bundle.delete_force().ok();
        let written = format!("{}{path}", bundle.dir.to_str().unwrap());
        bundle.ferrun(&["run", "--keep", "--bundle", &written, &bundle.id]).ok();
        assert_eq!(bundle.state()["bundle"], bundle.dir.to_str().unwrap(), "{written}");
    }
}

#[test]
fn an_empty_list_is_a_header_or_null_or_nothing() {
    need_root!();
    let bundle = Bundle::new(&["true"]);
    std::fs::create_dir(bundle.state_root()).unwrap();
    let header: Vec<String> = bundle.ferrun(&["list"]).ok().split_whitespace().map(str::to_owned).collect();
    assert_eq!(header, ["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"]);
    assert_eq!(bundle.ferrun(&["list", "--format", "json"]).ok(), "null");
    assert_eq!(bundle.ferrun(&["list", "--quiet"]).stdout, "");
    assert_eq!(names_in(&bundle.state_root()), BTreeSet::new(), "looking makes nothing");
}

#[test]
fn a_root_that_is_named_and_missing_is_an_error() {
    need_root!();
    let bundle = Bundle::new(&["true"]);
    for args in [&["list"][..], &["list", "--quiet"], &["list", "--format", "json"]] {
        let done = bundle.ferrun(args);
        assert_eq!(done.stdout, "");
        done.fails("ENOENT");
    }
    for verb in ["state", "kill", "start", "pause", "resume", "delete", "ps", "events"] {
        let done = bundle.on(verb, &[]);
        done.fails("");
        done.refused("container does not exist: ");
    }
    // What is not there is deleted; engines clean up after a create that never began.
    bundle.delete_force().ok();
    assert!(!bundle.state_root().exists(), "looking makes nothing");
}

#[test]
fn the_default_root_may_be_missing() {
    need_root!();
    // In a mount namespace of its own, where nobody has used it yet.
    let script = "mount -t tmpfs none /run && exec \"$0\" list --format json";
    let done = Command::new("unshare").args(["--mount", "sh", "-c", script]).arg(ferrun_binary()).output().unwrap();
    assert_eq!(Done::new(done).ok(), "null");
}

#[test]
fn a_list_has_every_container() {
    need_root!();
    let (bundle, second) = (Bundle::new(&["sleep", "100"]), Bundle::new(&["true"]));
    bundle.create().ok();
    bundle.ferrun(&["run", "--keep", "--bundle", second.dir.to_str().unwrap(), &second.id]).ok();
    let mut states = [bundle.state(), json_of(&bundle.ferrun(&["state", &second.id]).ok())];
    states.sort_by_key(|state| state["id"].as_str().unwrap().to_owned());
    states.iter_mut().for_each(|state| state["owner"] = json!("root"));

    let line = bundle.ferrun(&["list", "--format", "json"]).ok();
    assert!(!line.contains('\n'), "one line");
    assert_eq!(json_of(&line), json!(states));
    assert_eq!(bundle.ferrun(&["list", "-f", "json"]).ok(), line);

    let ids: Vec<&str> = states.iter().map(|state| state["id"].as_str().unwrap()).collect();
    assert_eq!(bundle.ferrun(&["list", "-q"]).stdout, format!("{}\n{}\n", ids[0], ids[1]));
    assert_eq!(bundle.ferrun(&["list", "--quiet", "--format", "json"]).stdout, format!("{}\n{}\n", ids[0], ids[1]));

    let table = bundle.ferrun(&["list"]).stdout;
    let lines: Vec<&str> = table.lines().collect();
    assert_eq!(lines.len(), 3, "{table}");
    let columns = ["id", "pid", "status", "bundle", "created", "owner"];
    for (column, name) in columns.iter().enumerate() {
        let at = lines[0].find(&name.to_uppercase()).unwrap();
        for (line, state) in lines[1..].iter().zip(&states) {
            let cell = line[at..].split_whitespace().next().unwrap();
            let value = state[*name].as_str().map_or(state[*name].to_string(), str::to_owned);
            assert_eq!(cell, value, "{name} in\n{table}");
            assert!(column == 0 || line[..at].ends_with("   "), "columns are 3 apart\n{table}");
        }
    }
    assert!(lines[0].find("STATUS").unwrap() - lines[0].find("PID").unwrap() >= 12, "columns are 12 wide\n{table}");
}

#[test]
fn what_is_no_container_does_not_disturb_the_list() {
    need_root!();
    let bundle = Bundle::new(&["true"]);
    bundle.run_with(&["--keep"]).ok();
    std::fs::write(bundle.state_root().join("file"), "").unwrap();
    std::fs::create_dir(bundle.state_root().join("empty")).unwrap();
    let damaged = bundle.state_root().join("damaged");
    std::fs::create_dir(&damaged).unwrap();
    std::fs::write(damaged.join("state.json"), "{").unwrap();
    let list = bundle.ferrun(&["list", "-q"]);
    assert_eq!(list.stdout, format!("{}\n", bundle.id), "the rest is listed");
    list.fails("");
    bundle.ferrun(&["state", "damaged"]).fails("");
    bundle.ferrun(&["state", "empty"]).refused("does not exist");
    std::fs::remove_file(bundle.state_root().join("file")).unwrap();
    std::fs::remove_dir_all(damaged).unwrap();
    for id in ["empty", &bundle.id] {
        bundle.ferrun(&["delete", "--force", id]).ok();
    }
    bundle.assert_nothing_left("delete --force");
}

#[test]
fn a_list_in_which_containers_are_missing_is_an_error() {
    need_root!();
    let bundle = Bundle::new(&["true"]);
    bundle.run_with(&["--keep"]).ok();
    for (name, text) in [("x1", "{"), ("x2", ""), ("x3", "{\"ociVersion\":3}")] {
        std::fs::create_dir(bundle.state_root().join(name)).unwrap();
        std::fs::write(bundle.state_root().join(name).join("state.json"), text).unwrap();
    }
    for format in ["table", "json"] {
        let list = bundle.ferrun(&["list", "--format", format]);
        assert!(list.stdout.contains(&bundle.id), "{list:?}");
        assert!(["x1", "x2", "x3"].iter().all(|id| list.stderr.contains(id)), "{list:?}");
        list.fails("");
    }
    // One object is in the log, as of any command that fails.
    let list = bundle.ferrun(&["--log-format", "json", "list"]);
    assert!(json_of(&list.stderr)["msg"].as_str().unwrap().contains("container x1"), "{list:?}");
    assert_eq!(list.status, 1);
    ["x1", "x2", "x3"].iter().for_each(|name| std::fs::remove_dir_all(bundle.state_root().join(name)).unwrap());
}

#[test]
fn a_root_that_may_not_be_read_is_an_error() {
    need_root!();
    let bundle = Bundle::new(&["true"]);
    bundle.run_with(&["--keep"]).ok();
    let list = |format: &str| {
        let user = ["--clear-groups", "--regid", "1000", "--reuid", "1000", "--"];
        let mut command = Command::new("setpriv");
        command
            .args(user)
            .arg(ferrun_binary())
            .arg("--root")
            .arg(bundle.state_root())
            .args(["list", "--format", format]);
        Done::new(command.output().unwrap())
    };
    for format in ["table", "json"] {
        let done = list(format);
        assert_eq!(done.stdout, "");
        done.fails("EACCES");
    }
}

/// Runs ferrun with standard output on a device that is always full.
fn to_full_disk(bundle: &Bundle, args: &[&str]) -> Done {
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    Done::new(bundle.command(args).stdout(full).output().unwrap())
}

#[test]
fn a_list_as_json_is_a_line() {
    need_root!();
    let bundle = Bundle::new(&["sleep", "1000"]);
    let list = || bundle.ferrun(&["list", "--format", "json"]).stdout;
    bundle.create().ok();
    assert!(list().ends_with("}]\n"), "{}", list());
    bundle.delete_force().ok();
    assert_eq!(list(), "null\n");
}

#[test]
fn a_trace_that_cannot_be_written_is_a_warning_and_the_container_runs() {
    need_root!();
    let bundle = Bundle::sh("exit 3");
    let ferrun = bundle.command(&["run", "--bundle", bundle.dir.to_str().unwrap(), "--trace", "trace", &bundle.id]);
    let mut command = std::process::Command::new("sh");
    // More than a state has, and less than a trace.
    command.args(["-c", "ulimit -f 12; exec \"$@\"", "sh"]).current_dir(&bundle.dir);
    let done = Done::new(command.arg(ferrun.get_program()).args(ferrun.get_args()).output().unwrap());
    assert_eq!(done.status, 3, "{done:?}");
    assert!(done.stderr.contains("write the trace: file too large"), "{done:?}");
    bundle.assert_nothing_left("run");
}

#[test]
fn output_that_cannot_be_written_is_an_error() {
    need_root!();
    let bundle = Bundle::new(&["sleep", "1000"]);
    let dir = bundle.dir.to_str().unwrap().to_owned();
    bundle.create().ok();
    let id = &*bundle.id;
    for args in [
        &["state", id][..],
        &["list"],
        &["list", "--quiet"],
        &["list", "--format", "json"],
        &["ps", id],
        &["ps", "--format", "json", id],
        &["events", "--stats", id],
        &["events", "--interval", "10ms", id],
        &["features"],
        &["explain", "--bundle", &dir],
        &["explain", "--json", "--bundle", &dir],
        &["explain", "--cost", "1", "--bundle", &dir],
        &["check", "--bundle", &dir],
        &["check", "--json", "--bundle", &dir],
        &["--version"],
        &["--help"],
        &["help"],
        &["run", "--help"],
    ] {
        to_full_disk(&bundle, args).fails("ENOSPC");
    }
    let mut version = Command::new(ferrun_binary());
    version.arg("--version").stdout(std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap());
    Done::new(version.output().unwrap()).fails("ENOSPC");
    bundle.delete_force().ok();
}

#[test]
fn a_reader_that_is_gone_is_no_error() {
    need_root!();
    let bundle = Bundle::new(&["sleep", "1000"]);
    bundle.create().ok();
    for args in [
        &["state", &bundle.id][..],
        &["list"],
        &["features"],
        &["--help"],
        &["events", "--interval", "1ms", &bundle.id],
    ] {
        let (read, write) = nix::unistd::pipe().unwrap();
        drop(read);
        let done = Done::new(bundle.command(args).stdout(write).output().unwrap());
        assert_eq!((done.status, &*done.stderr), (0, ""), "{args:?}");
    }
    bundle.delete_force().ok();
}

#[test]
fn a_limit_on_the_size_of_files_is_an_error_and_no_signal() {
    need_root!();
    let bundle = Bundle::new(&["true"]);
    let limited = |args: &[&str]| {
        let mut command = Command::new("sh");
        command.args(["-c", "ulimit -f 0; exec \"$0\" \"$@\""]).arg(ferrun_binary());
        Done::new(command.arg("--root").arg(bundle.state_root()).args(args).output().unwrap())
    };
    for verb in ["create", "run"] {
        limited(&[verb, "--bundle", &path(&bundle, ""), &bundle.id]).fails("EFBIG");
        bundle.assert_nothing_left(verb);
    }
    let log = path(&bundle, "log");
    let done = limited(&["--log", &log, "state", "none"]);
    assert!(done.stderr.contains(&format!("{log:?}")) && done.stderr.lines().count() == 2, "{done:?}");
    done.refused("container does not exist: none");
    // The program is not concerned.
    let bundle = Bundle::new(&["grep", "SigIgn", "/proc/self/status"]);
    assert_eq!(bundle.run().ok().split_whitespace().last().unwrap(), "0000000000000000");
}

#[test]
fn spec_writes_a_config_that_runs_and_overwrites_none() {
    need_root!();
    let bundle = Bundle::new(&["true"]);
    let config = bundle.dir.join("config.json");
    std::fs::write(&config, "mine").unwrap();
    bundle.ferrun(&["spec", "--bundle", bundle.dir.to_str().unwrap()]).fails("");
    assert_eq!(std::fs::read_to_string(&config).unwrap(), "mine");
    std::fs::remove_file(&config).unwrap();

    let here = bundle.command(&["spec"]).current_dir(&bundle.dir).output().unwrap();
    assert_eq!(Done::new(here).ok(), "", "nothing on standard output");
    let text = std::fs::read_to_string(&config).unwrap();
    assert!(text.starts_with("{\n\t\"") && text.ends_with("\n}\n"), "indented by tabs, as runc's: {text}");
    let spec = json_of(&text);
    assert_eq!((&spec["ociVersion"], &spec["process"]["args"]), (&json!("1.3.0"), &json!(["sh"])));
    bundle.run().ok();
    bundle.ferrun(&["spec", "--bundle", &path(&bundle, "nowhere")]).fails("ENOENT");
}

#[test]
fn a_rootless_spec_maps_its_caller() {
    need_root!();
    use std::os::unix::fs::chown;
    use std::os::unix::process::CommandExt;
    let bundle = Bundle::new(&["true"]);
    let (uid, gid) = (12345, 54321);
    let dir = bundle.dir.join("rootless");
    std::fs::create_dir(&dir).unwrap();
    chown(&dir, Some(uid), Some(gid)).unwrap();
    // The user cannot reach a binary in root's home.
    let binary = bundle.dir.join("ferrun");
    common::copy_program(&ferrun_binary(), &binary);
    let made = Command::new(binary).args(["spec", "--rootless"]).uid(uid).gid(gid).current_dir(&dir).output().unwrap();
    Done::new(made).ok();
    let config = json_of(&std::fs::read_to_string(dir.join("config.json")).unwrap());
    let linux = &config["linux"];
    let namespaces: Vec<&str> =
        linux["namespaces"].as_array().unwrap().iter().map(|namespace| namespace["type"].as_str().unwrap()).collect();
    assert!(namespaces.contains(&"user") && namespaces.contains(&"mount"), "{namespaces:?}");
    assert!(!namespaces.contains(&"network"), "{namespaces:?}");
    assert_eq!(linux["uidMappings"], json!([{"containerID": 0, "hostID": uid, "size": 1}]));
    assert_eq!(linux["gidMappings"], json!([{"containerID": 0, "hostID": gid, "size": 1}]));
}

/// podman reads the whole file as one object.
#[test]
fn the_json_log_of_a_failed_command_is_one_object() {
    need_root!();
    let bundle = Bundle::new(&["nonesuch"]).set("/process/capabilities/bounding/0", json!("CAP_UNHEARD_OF"));
    let dir = bundle.dir.to_str().unwrap();
    for (index, (args, words)) in [
        (&["state", &bundle.id][..], "does not exist"),
        (&["kill", &bundle.id], "does not exist"),
        (&["run", "--bundle", dir, &bundle.id], "executable file not found in $PATH"),
        (&["create", "--bundle", dir, &bundle.id], "executable file not found in $PATH"),
        (&["create", "--bundle", dir, "a/b"], "invalid container ID format"),
    ]
    .into_iter()
    .enumerate()
    {
        let log = path(&bundle, &format!("log{index}"));
        let done = bundle.ferrun(&[&["--log", &log, "--log-format", "json"], args].concat());
        assert_eq!(done.status, 1, "{args:?}: {done:?}");
        assert!(done.stderr.starts_with("ferrun: ") && done.stderr.contains(words), "{done:?}");
        let text = std::fs::read_to_string(&log).unwrap_or_else(|error| panic!("{args:?}: {error}"));
        assert!(text.ends_with("}\n") && text.lines().count() == 1, "{text:?}");
        let entry = json_of(&text);
        let message = entry["msg"].as_str().unwrap();
        assert_eq!(entry["level"], "error");
        assert!(message.contains(words) && !message.contains('\n'), "{message:?}");
        assert!(done.stderr.starts_with(&format!("ferrun: {message}\n")), "the same first line: {done:?}");
        assert!(humantime::parse_rfc3339(entry["time"].as_str().unwrap()).is_ok(), "{entry}");
    }
}

#[test]
fn the_log_of_a_command_that_succeeds_is_empty() {
    need_root!();
    // The warnings about the capability would be taken for the error.
    let bundle = Bundle::new(&["true"]).set("/process/capabilities/bounding/0", json!("CAP_UNHEARD_OF"));
    let log = path(&bundle, "log");
    let globals = ["--log", &log, "--log-format", "json"];
    bundle.ferrun(&[&globals[..], &run_args(&bundle, &["--keep"])].concat()).ok();
    for args in [&["state", &bundle.id][..], &["list"], &["delete", &bundle.id], &["delete", "-f", "missing"]] {
        let done = bundle.ferrun(&[&globals[..], args].concat());
        assert_eq!((done.status, done.stderr.as_str()), (0, ""), "{args:?}");
    }
    assert_eq!(std::fs::read_to_string(&log).unwrap_or_default(), "");
}

#[test]
fn the_log_is_added_to() {
    need_root!();
    let bundle = Bundle::new(&["true"]);
    let log = path(&bundle, "log");
    for _ in 0..2 {
        bundle.ferrun(&["--log", &log, "--log-format", "json", "state", "missing"]).refused("does not exist");
    }
    let text = std::fs::read_to_string(&log).unwrap();
    assert_eq!(text.lines().map(json_of).filter(|entry| entry["level"] == "error").count(), 2, "{text}");
}

#[test]
fn the_text_log_has_time_level_and_message() {
    need_root!();
    let bundle = Bundle::new(&["true"]);
    let log = path(&bundle, "log");
    bundle.ferrun(&["--log", &log, "state", "missing"]).refused("ferrun: container does not exist: missing\n");
    let line = std::fs::read_to_string(&log).unwrap();
    let (time, rest) = line.strip_prefix("time=\"").unwrap().split_once('"').unwrap();
    assert!(humantime::parse_rfc3339(time).is_ok(), "{line}");
    assert_eq!(rest, " level=error msg=\"container does not exist: missing\"\n");
}

#[test]
fn json_without_a_log_file_goes_to_standard_error() {
    need_root!();
    let done = Bundle::new(&["true"]).ferrun(&["--log-format", "json", "state", "missing"]);
    assert_eq!((done.status, done.stdout.as_str()), (1, ""));
    assert_eq!(json_of(&done.stderr)["msg"], "container does not exist: missing");
    let done = ferrun(&["--log-format", "json", "create", "--no-such-flag", "id"]);
    assert_eq!(json_of(&done.stderr)["msg"], "unexpected argument '--no-such-flag' found", "and nothing more");
}

#[test]
fn an_error_in_text_has_its_place_below_its_first_line() {
    need_root!();
    let bundle = Bundle::new(&["true"]).set("/process/cwd", json!("tmp"));
    let line = bundle.line_of("/process/cwd");
    let stderr = bundle.run().stderr;
    let expected = format!("ferrun: cwd \"tmp\" is not an absolute path\n        config.json:{line} /process/cwd\n");
    assert_eq!(stderr, expected);
}

#[test]
fn the_standard_streams_are_the_containers() {
    need_root!();
    let bundle = Bundle::sh("tr a-z A-Z; echo err >&2");
    let input = bundle.dir.join("input");
    std::fs::write(&input, "hello\n").unwrap();
    let file = std::fs::File::open(input).unwrap();
    let done = Done::new(bundle.command(&run_args(&bundle, &[])).stdin(file).output().unwrap());
    assert_eq!((done.status, done.stdout.as_str(), done.stderr.as_str()), (0, "HELLO\n", "err\n"));
}

/// Runs `ferrun ARGS` from a shell that has opened or closed descriptors before.
fn with_descriptors(bundle: &Bundle, redirections: &str, args: &[&str]) -> Output {
    let command = bundle.command(args);
    let mut shell = Command::new("/bin/busybox");
    shell.args(["sh", "-c", &format!("exec \"$@\" {redirections}"), "sh"]);
    shell.arg(command.get_program()).args(command.get_args());
    shell.current_dir(&bundle.dir).stdin(Stdio::null()).output().unwrap()
}

#[test]
fn the_container_sees_the_preserved_descriptors_and_no_others() {
    need_root!();
    let bundle = Bundle::sh("cd /proc/self/fd && for n in *; do [ -e $n ] && echo $n; done; true");
    let three = bundle.dir.join("three");
    std::fs::write(&three, "the third\n").unwrap();
    let open = "3<three 4<three 5<three";
    for (flags, seen) in [
        (&[][..], "0\n1\n2"),
        (&["--preserve-fds", "1"], "0\n1\n2\n3"),
        (&["--preserve-fds", "2"], "0\n1\n2\n3\n4"),
        (&["--preserve-fds", "1", "--trace", "trace"], "0\n1\n2\n3"),
    ] {
        let done = Done::new(with_descriptors(&bundle, open, &run_args(&bundle, flags)));
        // The shell lists the directory through a descriptor of its own, which is gone when it looks.
        assert_eq!(done.ok(), seen, "{flags:?}");
    }
    let read = Bundle::sh("cat <&3; cat <&4 || echo closed");
    std::fs::write(read.dir.join("three"), "the third\n").unwrap();
    let done = Done::new(with_descriptors(&read, open, &run_args(&read, &["--preserve-fds", "1"])));
    assert_eq!(done.stdout, "the third\nclosed\n", "{done:?}");
}

#[test]
fn the_container_of_create_sees_the_preserved_descriptors_and_no_others() {
    need_root!();
    let bundle =
        Bundle::sh("cat <&3 > /tmp/out; cat <&4 || echo closed >> /tmp/out").set("/root/readonly", json!(false));
    std::fs::write(bundle.dir.join("three"), "the third\n").unwrap();
    let create = ["create", "--preserve-fds", "1", "--bundle", ".", &bundle.id];
    Done::new(with_descriptors(&bundle, "3<three 4<three >/dev/null 2>&1", &create)).ok();
    bundle.start().ok();
    bundle.wait_for("stopped");
    assert_eq!(std::fs::read_to_string(bundle.rootfs().join("tmp/out")).unwrap(), "the third\nclosed\n");
}

/// No file of ferrun's gets the number of a stream.
#[test]
fn streams_that_are_closed_are_the_null_device() {
    need_root!();
    let streams = "for n in 0 2; do readlink /proc/$$/fd/$n >> /tmp/out; done";
    let bundle = Bundle::sh(streams).set("/root/readonly", json!(false));
    for (closed, null) in [("<&- >&- 2>&-", 2), ("<&- 2>&-", 2), ("<&-", 1)] {
        with_descriptors(&bundle, closed, &["run", "--bundle", ".", &bundle.id]);
        let inside = std::fs::read_to_string(bundle.rootfs().join("tmp/out")).unwrap();
        assert!(inside.starts_with("/dev/null\n"), "{closed}: {inside}");
        assert_eq!(inside.lines().filter(|line| *line == "/dev/null").count(), null, "{closed}: {inside}");
        std::fs::remove_file(bundle.rootfs().join("tmp/out")).unwrap();
    }
}

#[test]
fn a_preserved_descriptor_that_is_not_open_is_refused() {
    need_root!();
    let bundle = Bundle::new(&["true"]);
    std::fs::write(bundle.dir.join("three"), "").unwrap();
    let mut wrongly = String::new();
    for (redirections, count, closed) in [("3<&-", "1", 3), ("3<three 4<&-", "2", 4), ("3<&- 4<three", "2", 3)] {
        for verb in ["run", "create"] {
            for flags in [&[][..], &["--trace", "trace"]] {
                let args = [&[verb, "--preserve-fds", count, "--bundle", "."], flags, &[&bundle.id]].concat();
                let command = with_descriptors(&bundle, &format!("{redirections} >/dev/null 2>error"), &args);
                let stderr = std::fs::read_to_string(bundle.dir.join("error")).unwrap();
                if command.status.code() != Some(1) || !stderr.contains(&format!("descriptor {closed} ")) {
                    wrongly += &format!("{verb} {flags:?} {redirections}: {} {stderr}\n", command.status);
                }
                bundle.delete_force().ok();
            }
        }
    }
    assert_eq!(wrongly, "");
}

/// Socket activation: sd_listen_fds(3).
#[test]
fn sockets_of_a_service_manager_are_passed_on() {
    need_root!();
    let bundle = Bundle::sh("echo $LISTEN_FDS $LISTEN_PID; cat <&3; cat <&4; cat <&5 || echo closed")
        .with(|config| config["process"]["env"].as_array_mut().unwrap().push(json!("LISTEN_FDS=9")));
    for (name, text) in [("one", "one\n"), ("two", "two\n"), ("three", "three\n")] {
        std::fs::write(bundle.dir.join(name), text).unwrap();
    }
    let run = |variables: &str| {
        let script = format!("exec 3<one 4<two 5<three; {variables} exec \"$@\"");
        let mut command = Command::new("sh");
        command.args(["-c", &script, "sh"]).arg(ferrun_binary()).arg("--root").arg(bundle.state_root());
        command.args(["run", "--preserve-fds", "1", "--bundle", ".", &bundle.id]);
        Done::new(command.current_dir(&bundle.dir).stdin(Stdio::null()).output().unwrap())
    };
    assert_eq!(run("LISTEN_PID=$$ LISTEN_FDS=1").stdout, "1 1\none\ntwo\nclosed\n");
    assert_eq!(run("LISTEN_PID=1 LISTEN_FDS=1").stdout, "9\none\nclosed\n", "meant for another process");
    run("LISTEN_PID=$$ LISTEN_FDS=9").fails("");
}

fn explain(bundle: &Bundle, flags: &[&str]) -> Done {
    bundle.ferrun(&[&["explain", "--bundle", bundle.dir.to_str().unwrap()], flags].concat())
}

#[test]
fn explain_names_every_mount_and_path_and_does_nothing() {
    need_root!();
    let bundle = Bundle::new(&["touch", "/tmp/ran"]).set("/root/readonly", json!(false));
    let text = explain(&bundle, &[]).ok();
    let paths = |list: &Value| -> Vec<String> {
        list.as_array().unwrap().iter().map(|path| path.as_str().unwrap().to_owned()).collect()
    };
    let mounts: Vec<&str> = bundle.config["mounts"]
        .as_array()
        .unwrap()
        .iter()
        .map(|mount| mount["destination"].as_str().unwrap())
        .collect();
    assert_eq!(mounts.len(), 7);
    let line_of = |pointer: &str, words: &str| {
        let place = format!("{pointer} :{}", bundle.line_of(pointer));
        let found = text.lines().find(|line| line.trim_end().ends_with(&place));
        assert!(found.is_some_and(|line| line.contains(words)), "no line with {words:?} and {place:?} in\n{text}");
    };
    for (index, destination) in mounts.iter().enumerate() {
        line_of(&format!("/mounts/{index}"), destination);
    }
    for list in ["maskedPaths", "readonlyPaths"] {
        for (index, path) in paths(&bundle.config["linux"][list]).iter().enumerate() {
            line_of(&format!("/linux/{list}/{index}"), path);
        }
    }
    line_of("/process/args", "touch /tmp/ran");
    assert!(text.lines().next().unwrap().contains(bundle.rootfs().to_str().unwrap()), "{text}");
    assert!(!bundle.rootfs().join("tmp/ran").exists());
    assert!(!bundle.state_root().exists());
    bundle.assert_nothing_left("explain");
}

#[test]
fn explain_refuses_what_run_refuses() {
    need_root!();
    let bundle = Bundle::new(&["true"]).set("/process/cwd", json!("tmp"));
    for flags in [&[][..], &["--json"]] {
        let done = explain(&bundle, flags);
        done.fails("/process/cwd");
        assert_eq!(done.stdout, "");
    }
}

/// The steps of the plan as data.
fn steps(bundle: &Bundle) -> Vec<Value> {
    json_of(&explain(bundle, &["--json"]).ok())["steps"].as_array().unwrap().clone()
}

#[test]
fn explain_as_json_has_the_steps_with_the_lines_they_come_from() {
    need_root!();
    let bundle = Bundle::new(&["true"]);
    let steps = steps(&bundle);
    let text = std::fs::read_to_string(bundle.dir.join("config.json")).unwrap();
    let mut numbers = BTreeSet::new();
    for step in &steps {
        let mut keys: Vec<&String> = step.as_object().unwrap().keys().collect();
        keys.sort();
        assert_eq!(keys, ["from", "lane", "line", "number", "text", "verb"]);
        numbers.insert(step["number"].as_u64().unwrap());
        assert!(["parent", "init"].contains(&step["lane"].as_str().unwrap()), "{step}");
        assert!(!step["verb"].as_str().unwrap().is_empty() && step["text"].is_string(), "{step}");
        let Some(pointer) = step["from"].as_str() else {
            assert!(step["from"].is_null() && step["line"].is_null(), "{step}");
            continue;
        };
        if bundle.config.pointer(pointer).is_some() {
            assert_eq!(step["line"], bundle.line_of(pointer), "{step}");
        } else if let Some(line) = step["line"].as_u64() {
            // A default stands at the nearest property above it that the config has.
            let (above, _) = pointer.rsplit_once('/').unwrap();
            let key = above.rsplit_once('/').unwrap().1;
            assert!(text.lines().nth(line as usize - 1).unwrap().contains(&format!("\"{key}\"")), "{step}");
        }
    }
    assert_eq!(numbers, (1..=steps.len() as u64).collect(), "each number once");
    assert_eq!(steps.last().unwrap()["verb"], "exec");
    assert!(!bundle.state_root().exists());
    bundle.assert_nothing_left("explain --json");
}

/// The events of a trace that stand for steps, as their numbers, in the file's order.
fn traced_steps(trace: &Path) -> Vec<u64> {
    let events = json_of(&std::fs::read_to_string(trace).unwrap());
    let events = events.as_array().unwrap();
    for event in events.iter().filter(|event| event["ph"] == "X") {
        assert!(event["name"].is_string() && event["ts"].as_f64().unwrap() > 0.0, "{event}");
        assert!(event["dur"].as_f64().unwrap() >= 0.0, "{event}");
    }
    let mut numbers: Vec<u64> = events.iter().filter_map(|event| event["args"]["step"].as_u64()).collect();
    numbers.sort_unstable();
    numbers
}

#[test]
fn a_trace_has_each_step_once() {
    need_root!();
    let bundle = Bundle::new(&["true"]);
    let all: Vec<u64> = (1..=steps(&bundle).len() as u64).collect();
    let trace: PathBuf = bundle.dir.join("trace.json");
    let flags = ["--trace", trace.to_str().unwrap()];
    std::fs::write(&trace, "an older and much longer trace".repeat(1000)).unwrap();
    bundle.run_with(&flags).ok();
    assert_eq!(traced_steps(&trace), all, "run");
    bundle.create_with(&flags).ok();
    assert_eq!(traced_steps(&trace), all[..all.len() - 1], "create: all but the program, which start executes");
    let phases = |trace: &Path| -> Vec<String> {
        let events = json_of(&std::fs::read_to_string(trace).unwrap());
        let phases = events.as_array().unwrap().iter().filter(|event| event["ph"] == "X" && event["args"] == json!({}));
        phases.map(|event| event["name"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(phases(&trace), ["plan", "all"], "each phase once");
    bundle.on("start", &flags).ok();
    assert_eq!(phases(&trace), ["start"]);
}

#[test]
fn a_trace_of_a_failed_start_is_json_with_the_steps_so_far() {
    need_root!();
    let bundle = Bundle::new(&["true"]);
    let trace = bundle.dir.join("trace.json");
    let flags = ["--trace", trace.to_str().unwrap()];
    let bad_mount = json!([{"destination": "/tmp", "type": "nonesuch", "source": "x"}]);
    let bundle = bundle.set("/mounts", bad_mount);
    let failing = steps(&bundle).iter().find(|step| step["from"] == "/mounts/0").unwrap()["number"].as_u64().unwrap();
    bundle.run_with(&flags).fails("ENODEV /mounts/0");
    assert!(traced_steps(&trace).contains(&failing), "no step {failing}: {:?}", traced_steps(&trace));
}

#[test]
fn a_trace_of_a_bundle_without_a_plan_is_json() {
    need_root!();
    let bundle = Bundle::new(&[]);
    let trace = bundle.dir.join("trace.json");
    bundle.run_with(&["--trace", trace.to_str().unwrap()]).refused("args must not be empty");
    assert_eq!(traced_steps(&trace), Vec::<u64>::new());
}

#[test]
fn a_trace_as_a_table_goes_to_standard_error() {
    need_root!();
    let bundle = Bundle::sh("echo out");
    let done = bundle.run_with(&["--trace", "-"]);
    assert_eq!((done.status, done.stdout.as_str()), (0, "out\n"));
    let rows: Vec<f64> = done.stderr.lines().filter_map(|line| line.trim().split_once(" µs")?.0.parse().ok()).collect();
    assert!(rows.len() >= steps(&bundle).len() - 2, "a row a step:\n{}", done.stderr);
    assert!(rows.is_sorted_by(|a, b| a >= b), "the longest first:\n{}", done.stderr);
    assert!(!bundle.dir.join("-").exists());
}

#[test]
fn a_trace_that_cannot_be_written_fails_the_start() {
    need_root!();
    let bundle = Bundle::new(&["true"]);
    bundle.run_with(&["--trace", &path(&bundle, "nowhere/trace")]).fails("ENOENT");
    bundle.assert_nothing_left("run");
}

#[test]
fn a_log_is_not_waited_for_and_nobody_else_can_write_to_it_or_to_a_pid_file() {
    need_root!();
    let bundle = Bundle::new(&["true"]);
    let (fifo, log) = (path(&bundle, "fifo"), path(&bundle, "log"));
    nix::unistd::mkfifo(Path::new(&fifo), nix::sys::stat::Mode::S_IRWXU).unwrap();
    let done = bundle.bounded(&["--log", &fifo, "state", "none"]);
    done.refused("container does not exist: none");
    assert!(done.stderr.contains(&format!("log {fifo:?}")), "{done:?}");
    let mut state = Command::new("sh");
    state.args(["-c", "umask 0; \"$0\" --log \"$1\" state none"]).arg(ferrun_binary()).arg(&log);
    assert_eq!(state.status().unwrap().code(), Some(1));
    let pid = path(&bundle, "pid");
    let mut run = Command::new("sh");
    run.args(["-c", "umask 0; exec \"$0\" \"$@\""]).arg(ferrun_binary()).arg("--root").arg(bundle.state_root());
    assert!(run.args(run_args(&bundle, &["--pid-file", &pid])).status().unwrap().success());
    use std::os::unix::fs::PermissionsExt;
    for file in [log, pid] {
        assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o644, "{file}");
    }
}

#[test]
fn files_that_are_written_follow_no_link() {
    need_root!();
    let bundle = Bundle::new(&["true"]).set("/linux/seccomp", json!({ "defaultAction": "SCMP_ACT_ALLOW" }));
    let (dir, victim, link) = (path(&bundle, ""), path(&bundle, "victim"), path(&bundle, "link"));
    std::fs::write(&victim, "precious").unwrap();
    let commands = [
        vec!["run", "--bundle", &dir, "--trace", &link, &bundle.id],
        vec!["create", "--bundle", &dir, "--trace", &link, &bundle.id],
        vec!["start", "--trace", &link, &bundle.id],
        vec!["explain", "--bundle", &dir, "--save-host", &link],
        vec!["seccomp", "--bundle", &dir, "--bpf", &link],
    ];
    for make in [
        &["ln", "-s", "victim"][..],
        &["ln", "-s", "missing"],
        &["ln", &victim],
        &["mkfifo"],
        &["ln", "-s", "/dev/full"],
        &["mknod", "-m", "666"],
    ] {
        let mut command = Command::new(make[0]);
        command.args(&make[1..]).arg(&link);
        if make[0] == "mknod" {
            command.args(["c", "1", "7"]);
        }
        assert!(command.status().unwrap().success());
        commands.iter().for_each(|args| bundle.bounded(args).fails(""));
        assert_eq!(std::fs::read_to_string(&victim).unwrap(), "precious", "{make:?}");
        assert!(!Path::new(&path(&bundle, "missing")).exists());
        std::fs::remove_file(&link).unwrap();
    }
    let command = "umask 0; exec \"$0\" run --bundle \"$1\" --trace \"$2\" x";
    assert!(
        Command::new("sh").args(["-c", command]).arg(ferrun_binary()).args([&dir, &link]).status().unwrap().success()
    );
    use std::os::unix::fs::PermissionsExt;
    assert_eq!(std::fs::metadata(&link).unwrap().permissions().mode() & 0o777, 0o600);
    bundle.assert_nothing_left("refused traces");
}

#[test]
fn the_bundle_of_a_demo_is_nobody_elses() {
    need_root!();
    let bundle = Bundle::new(&["true"]);
    let script = "umask 0; TMPDIR=\"$1\" exec \"$0\" demo sleep 1";
    let mut demo = Command::new("sh");
    let mut demo = demo.args(["-c", script]).arg(ferrun_binary()).arg(&bundle.dir).spawn().unwrap();
    let mine = || names_in(&bundle.dir).into_iter().find(|name| name.starts_with("ferrun-demo"));
    common::wait_until("the demo's directory", || mine().is_some());
    use std::os::unix::fs::PermissionsExt;
    let mode = std::fs::metadata(bundle.dir.join(mine().unwrap())).unwrap().permissions().mode() & 0o7777;
    assert!(demo.wait().unwrap().success());
    assert_eq!(mode, 0o700);
    assert_eq!(mine(), None);
}

#[test]
fn explain_tells_what_differs_between_two_bundles() {
    need_root!();
    let one = Bundle::new(&["true"]);
    let other = Bundle::new(&["false"]).with(|config| {
        config["linux"]["cgroupsPath"] = one.config["linux"]["cgroupsPath"].clone();
        config["mounts"].as_array_mut().unwrap().remove(4);
        config["root"]["path"] = serde_json::json!(one.rootfs());
    });
    let dirs = [&one, &other].map(|bundle| bundle.dir.to_str().unwrap());
    let text = one.ferrun(&["explain", "--bundle", dirs[0], "--diff", dirs[1]]).ok();
    let told: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().take(5).collect()).collect();
    let rootless: Vec<_> = told.iter().filter(|words| words[3] != "rootfs").cloned().collect();
    let wanted = [
        vec!["-", "init", "mount", "mqueue", "on"],
        vec!["-", "init", "exec", "true", "/process/args"],
        vec!["+", "init", "exec", "false", "/process/args"],
    ];
    assert_eq!(rootless, wanted, "{text}");
}

#[test]
fn explain_plans_for_another_host() {
    need_root!();
    let bundle = Bundle::new(&["true"]);
    let (dir, file) = (bundle.dir.to_str().unwrap(), bundle.dir.join("host.json"));
    let file = file.to_str().unwrap();
    let here = bundle.ferrun(&["explain", "--bundle", dir, "--save-host", file]).ok();
    assert_eq!(bundle.ferrun(&["explain", "--bundle", dir, "--host", file]).ok(), here, "its own facts change nothing");
    let v2 = r#"{"cgroups":{"v1":[],"unified":{"controllers":"","mount_point":"/sys/fs/cgroup","own":"/user.slice"}},"permitted":2199023255551}"#;
    std::fs::write(file, v2).unwrap();
    let there = bundle.ferrun(&["explain", "--bundle", dir, "--host", file]).ok();
    for wanted in ["cgroup v2", "pid cgroup into the v2 cgroup", "device filter of", "cgroup2 on /sys/fs/cgroup"] {
        assert!(there.contains(wanted), "no {wanted:?} in {there}");
    }
    assert!(!there.contains("v1"), "{there}");
}

#[test]
fn what_the_words_of_a_step_do_not_say_differs_too() {
    if !std::path::Path::new("/bin/busybox").exists() {
        return common::skip("this test needs /bin/busybox");
    }
    let hooks = json!({"prestart": [{"path": "/bin/true"}], "poststop": [{"path": "/bin/true"}]});
    let fuse = json!([{"path": "/dev/fuse", "type": "c", "major": 10, "minor": 229}]);
    let one = || {
        let bundle = Bundle::new(&["/bin/a"]).set("/hooks", hooks.clone()).set("/linux/devices", fuse.clone());
        bundle.set("/root/path", json!("/")).set("/linux/cgroupsPath", json!("/ferrun-diff"))
    };
    let first = one();
    let diff = |other: &Bundle| {
        let dirs = [&first, other].map(|bundle| bundle.dir.to_str().unwrap().to_owned());
        first.ferrun(&["explain", "--bundle", &dirs[0], "--diff", &dirs[1]]).ok()
    };
    assert_eq!(diff(&one()), "");
    for (pointer, value, wanted) in [
        ("/process/cwd", json!("/tmp"), "- init    cwd       /  /process/cwd\n+ init    cwd       /tmp  /process/cwd"),
        ("/process/args/0", json!("/bin/b"), "- init    exec      /bin/a  /process/args\n+ init    exec      /bin/b"),
        ("/process/env/2", json!("A=b"), "~ init    exec      /bin/a  /process/args"),
        ("/mounts/1/options/4", json!("noexec"), "~ init    mount     tmpfs on /dev  /mounts/1"),
        ("/linux/maskedPaths/0", json!("/proc/a"), "+ init    mask      /proc/a  /linux/maskedPaths/0"),
        ("/linux/devices/0/fileMode", json!(0o600), "~ init    dev       /dev/fuse (c 10:229)  /linux/devices/0"),
        ("/hooks/prestart/0/timeout", json!(5), "~ parent  hooks     prestart /bin/true  /hooks/prestart/0"),
        ("/hooks/poststop/0/env", json!(["A=b"]), "~ parent  hooks     poststop /bin/true  /hooks/poststop/0"),
        ("/hooks/poststop/0/path", json!("/b"), "+ parent  hooks     poststop /b  /hooks/poststop/0"),
    ] {
        let said = diff(&one().set(pointer, value));
        assert!(said.contains(wanted), "{pointer}: {said}");
    }
}

#[test]
fn explain_tells_where_a_warning_stands() {
    if !std::path::Path::new("/bin/busybox").exists() {
        return common::skip("this test needs /bin/busybox");
    }
    let bundle = Bundle::new(&["true"]).set("/process/capabilities/ambient", json!(["CAP_KILL", "CAP_CHOWN"]));
    let line = bundle.line_of("/process/capabilities/ambient");
    let said = bundle.ferrun(&["explain", "--bundle", bundle.dir.to_str().unwrap()]).stderr;
    assert!(said.contains(&format!("config.json:{line} /process/capabilities/ambient")), "{said}");
    // Engines write such configs: not at each start.
    if nix::unistd::geteuid().is_root() {
        assert_eq!(bundle.run().stderr, "");
    }
}

#[test]
fn a_demo_runs_under_a_name_that_is_no_text() {
    need_root!();
    use std::os::unix::{ffi::OsStrExt, process::CommandExt};
    let name = std::ffi::OsStr::from_bytes(b"ferrun-\xff");
    let done = Done::new(Command::new(ferrun_binary()).arg0(name).arg("demo").output().unwrap());
    assert!(done.status == 0 && done.stdout.contains("Network interfaces:"), "{done:?}");
}
