//! Options and their spelling: --root, --version, --help, options given twice, and command lines that cannot be
//! understood.

mod common;

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use common::cli::{ferrun, json_of, names_in, path};
use common::{Bundle, Done, Report, ferrun_binary, sentences};

#[test]
fn root_is_where_states_are() {
    need_root!();
    let bundle = Bundle::new(&["sleep", "100"]);
    bundle.create().ok();
    assert_eq!(names_in(&bundle.state_root()), BTreeSet::from([bundle.id.clone()]));
    let other = path(&bundle, "other");
    ferrun(&["--root", &other, "state", &bundle.id]).refused("does not exist");
    ferrun(&["--root", &other, "list", "-q"]).fails("ENOENT");
    let relative = Command::new(ferrun_binary()).args(["--root=state", "list", "-q"]).current_dir(&bundle.dir).output();
    assert_eq!(Done::new(relative.unwrap()).ok(), bundle.id);
}

#[test]
fn the_root_directory_is_refused_as_root() {
    need_root!();
    for root in ["/", "//", "/.", "/tmp/.."] {
        for args in [&["state", "x"][..], &["list"], &["kill", "x"]] {
            ferrun(&[&["--root", root], args].concat()).fails("");
        }
    }
}

#[test]
fn the_version_is_told_in_the_lines_that_engines_look_for() {
    for args in [&["--version"][..], &["-v"], &["--root", "/nowhere", "--version"], &["--log-format=json", "-v"]] {
        let done = ferrun(args);
        let lines: Vec<&str> = done.stdout.lines().collect();
        assert_eq!((done.status, done.stderr.as_str(), lines.len()), (0, "", 3), "{done:?}");
        assert_eq!(lines[0], concat!("ferrun version ", env!("CARGO_PKG_VERSION")));
        assert!(lines[1].strip_prefix("commit: ").is_some_and(|commit| !commit.is_empty()), "{done:?}");
        assert_eq!(lines[2], "spec: 1.3.0");
    }
}

#[test]
fn help_is_no_failure() {
    let done = ferrun(&["--help"]);
    assert_eq!((done.status, done.stderr.as_str()), (0, ""));
    let commands = ["create", "start", "run", "state", "kill", "delete", "list", "spec", "explain"];
    for command in commands {
        assert!(done.stdout.contains(&format!("\n  {command} ")), "{command} in {}", done.stdout);
        let own = ferrun(&[command, "--help"]);
        assert_eq!((own.status, own.stderr.as_str()), (0, ""), "{command}");
        assert!(own.stdout.contains("Usage: ferrun"), "{own:?}");
    }
    assert_eq!(ferrun(&["help"]).status, 0);
}

#[test]
fn a_command_line_that_cannot_be_understood_has_status_1_and_an_unknown_command_3() {
    for args in [
        &["create", "--no-such-flag", "id"][..],
        &["--no-such-flag", "state", "id"],
        &["state"],
        &["state", "id", "more"],
        &["kill"],
        &["list", "--format", "xml"],
        &["--log-format", "xml", "list"],
        &["run", "--preserve-fds", "many", "id"],
        &["run", "--bundle"],
        &["--root"],
        &["--root", "/r"],
    ] {
        let done = ferrun(args);
        assert_eq!(done.stdout, "", "{args:?}: {done:?}");
        done.fails("");
    }
    for args in [&["frobnicate"][..], &["--debug", "--root", "/r", "frobnicate", "--flag"], &["Create"], &[""]] {
        let done = ferrun(args);
        assert_eq!((done.status, done.stdout.as_str()), (3, ""), "{args:?}: {done:?}");
        sentences::compare(&Report::error(&done.stderr).unwrap());
    }
}

#[test]
fn a_command_line_that_cannot_be_understood_is_told_in_ferruns_voice() {
    for args in [&["create", "--no-such-flag", "id"][..], &["state"], &["--log-format", "xml", "list"]] {
        let done = ferrun(args);
        assert!(done.stderr.starts_with("ferrun: "), "{args:?}: {}", done.stderr);
    }
}

/// An engine that passes a flag of another runtime sees nothing but the log.
#[test]
fn a_command_line_that_cannot_be_understood_is_in_the_log() {
    need_root!();
    let bundle = Bundle::new(&["true"]);
    let log = path(&bundle, "log");
    for args in [&["create", "--no-such-flag", "id"][..], &["frobnicate"]] {
        bundle.ferrun(&[&["--log", &log, "--log-format", "json"], args].concat());
        let text = std::fs::read_to_string(&log).unwrap_or_default();
        assert_eq!(text.lines().count(), 1, "{args:?}: {text:?}");
        assert!(json_of(&text)["msg"].as_str().unwrap().contains(args[args.len().min(2) - 1]), "{text}");
        std::fs::remove_file(&log).unwrap();
    }
}

/// Docker's runtimeArgs and Podman's --runtime-flag are added to what the engine itself gives.
#[test]
fn of_an_option_given_twice_the_last_counts() {
    let bundle = Bundle::new(&["true"]);
    std::fs::create_dir(bundle.state_root()).unwrap();
    let (one, other) = (path(&bundle, "one.log"), path(&bundle, "other.log"));
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    for dashes in ["-", "--"] {
        let option = |name: &str| format!("{dashes}{name}");
        let [log, format, debug] = ["log", "log-format", "debug"].map(option);
        let [systemd, root, rootless] = ["systemd-cgroup", "root", "rootless"].map(option);
        let args = [
            &*log,
            &one,
            &format,
            "text",
            &debug,
            &systemd,
            &root,
            "/nowhere",
            &rootless,
            "true",
            &log,
            &other,
            &format,
            "json",
            &debug,
            &systemd,
            &root,
            &path(&bundle, "state"),
            &rootless,
            "auto",
            "state",
            "missing",
        ];
        let done = ferrun(&args);
        done.fails("");
        assert!(!Path::new(&one).exists(), "{done:?}");
        let message = json_of(&read(&other))["msg"].clone();
        assert!(message.as_str().unwrap().starts_with("container does not exist"), "{message}");
        std::fs::remove_file(&other).unwrap();
        // A command line that cannot be understood is reported there as well.
        let done = ferrun(&[&log, &one, &log, &other, &format, "json", "state", "--no-such-flag"]);
        done.fails("");
        assert!(!Path::new(&one).exists(), "{done:?}");
        assert!(json_of(&read(&other))["msg"].as_str().unwrap().contains("--no-such-flag"));
        std::fs::remove_file(&other).unwrap();
        let [quiet, table] = ["quiet", "format"].map(option);
        assert_eq!(bundle.ferrun(&["list", &table, "json", &quiet, &format!("{table}=table"), &quiet]).ok(), "");
    }
    assert_eq!(bundle.ferrun(&["list", "-f", "table", "-f", "json", "--quiet", "--quiet=false"]).ok(), "null");
}

#[test]
fn an_option_that_there_is_not_is_named() {
    for (args, option, meant) in [
        (&["--log-level", "debug", "list"][..], "--log-level", ""),
        (&["--log-level=debug", "list"], "--log-level", ""),
        (&["-rot", "/x", "list"], "-rot", "--root"),
        (&["--debgu", "list"], "--debgu", "--debug"),
        (&["list", "-qiet"], "-qiet", "--quiet"),
        (&["run", "-it", "c"], "-it", "process.terminal"),
        (&["run", "-t", "c"], "-t", "process.terminal"),
        (&["create", "-bundel=x", "c"], "-bundel", "--bundle"),
        (&["create", "--bundel=x", "c"], "--bundel", "--bundle"),
        (&["run", "--detch", "c"], "--detch", "--detach"),
        (&["kill", "-9", "c"], "-9", "ferrun kill ID 9"),
        (&["kill", "-s", "KILL", "c"], "-s", "ferrun kill ID KILL"),
        (&["update", "--cpus", "2", "c"], "--cpus", "--cpu-quota"),
        (&["ps", "-x", "c"], "-x", "ferrun ps ID -x"),
        (&["-V"], "-V", "-v"),
        (&["list", "--root", "X"], "--root", "ferrun --root DIR list"),
        (&["run", "--debug", "c"], "--debug", "ferrun --debug run"),
    ] {
        let error = ferrun(args).error();
        assert!(error.sentence.contains(option) && !error.sentence.contains("tip:"), "{error:?}");
        assert!(error.hint.contains(meant) && meant.is_empty() == error.hint.is_empty(), "{error:?}");
    }
    for option in ["-d", "-x"] {
        assert!(!ferrun(&[option]).stderr.contains("hint"), "{option} is near nothing");
    }
}

#[test]
fn a_command_that_there_is_not_has_a_hint() {
    for (word, meant) in [("strat", "start"), ("Run", "run"), ("rm", "delete"), ("checkpoint", ""), ("frobnicate", "")]
    {
        let done = ferrun(&[word]);
        let error = Report::error(&done.stderr).unwrap();
        sentences::compare(&error);
        assert!(done.status == 3 && error.hint.contains(meant), "{done:?}");
    }
    assert!(ferrun(&["kill", "c", "-9"]).error().hint.contains('9'));
    assert!(ferrun(&["kill", "c", "KIL"]).error().hint.contains("KILL"));
}

#[test]
fn a_value_may_adhere_to_the_letter_of_its_option() {
    need_root!();
    let bundle = Bundle::new(&["echo", "hello"]);
    std::os::unix::fs::symlink(&bundle.dir, bundle.dir.join("bundle")).unwrap();
    let mut command = Command::new(ferrun_binary());
    let command = command.current_dir(&bundle.dir).arg("--root").arg(bundle.state_root());
    assert_eq!(Done::new(command.args(["run", "-bbundle", &bundle.id]).output().unwrap()).ok().trim(), "hello");
}

#[test]
fn a_log_that_cannot_be_written_is_reported_as_anything_else() {
    for (log, errno) in [("/nonexistent/log", "ENOENT"), ("/dev/full", "ENOSPC")] {
        let done = ferrun(&["--log", log, "kill", "c", "NONSENSE"]);
        let (first, rest) = done.stderr.split_once('\n').unwrap();
        let first = Report::error(first).unwrap();
        sentences::compare(&first);
        assert!(first.errno == errno && first.sentence.contains(log), "{done:?}");
        sentences::compare(&Report::error(rest).unwrap());
        assert_eq!(done.status, 1);
    }
    assert!(!Path::new("/nonexistent").exists());
}

#[test]
fn a_bundle_without_a_config_has_a_hint() {
    let empty = std::env::temp_dir().join(format!("ferrun-test-empty-{}", std::process::id()));
    std::fs::create_dir(&empty).unwrap();
    for verb in [&["run", "c"][..], &["explain"], &["check"]] {
        let done = ferrun(&[verb, &["--bundle", empty.to_str().unwrap()]].concat());
        let error = done.error_in_any_words();
        assert!(error.errno == "ENOENT" && error.hint.contains("ferrun spec"), "{done:?}");
    }
    std::fs::remove_dir(&empty).unwrap();
}

#[test]
fn without_root_an_error_says_so() {
    need_root!();
    use std::os::unix::process::CommandExt;
    let bundle = Bundle::new(&["true"]);
    let binary = std::fs::copy(ferrun_binary(), bundle.dir.join("ferrun")).map(|_| bundle.dir.join("ferrun")).unwrap();
    let root = bundle.dir.join("others");
    std::fs::create_dir(&root).unwrap();
    std::os::unix::fs::chown(&root, Some(65534), Some(65534)).unwrap();
    for root in [root.to_str().unwrap(), "/run/ferrun-nobody"] {
        let mut command = Command::new(&binary);
        command.args(["--root", root, "run", "--bundle"]).arg(&bundle.dir).arg(&bundle.id).uid(65534).gid(65534);
        let done = Done::new(command.output().unwrap());
        assert!(done.error_in_any_words().hint.contains("root"), "{done:?}");
    }
}
