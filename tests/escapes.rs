//! Text of a config, an image or a hook reaches no terminal as it is: names with sequences that a terminal obeys are
//! written out, in errors, warnings and everything that is printed for people.

mod common;

use common::{Bundle, Done};
use serde_json::{Value, json};

/// Escape sequences, a bell, C1's CSI, a return, a line of somebody else, and a change of direction.
const HOSTILE: &str = "x\u{1b}[31m\u{7}\u{9b}1m\rferrun: fine\nferrun: forged\u{202e}";

#[track_caller]
fn assert_harmless(done: &Done, what: &str) {
    for text in [&done.stdout, &done.stderr] {
        let acts = |c: char| (c.is_control() && c != '\n') || c == '\u{202e}';
        assert!(!text.contains(acts), "{what}: {text:?}");
        assert!(!text.lines().any(|line| line.starts_with("ferrun: f")), "{what}: {text}");
    }
}

#[track_caller]
fn assert_written_out(done: &Done, what: &str) {
    assert_harmless(done, what);
    let both = format!("{}{}", done.stdout, done.stderr);
    assert!(both.contains("\\u{1b}"), "it is written out: {what}: {both}");
}

#[test]
fn no_property_reaches_the_terminal() {
    need_root!();
    let path = format!("/{HOSTILE}");
    let cases: &[(&str, Value)] = &[
        ("/mounts/0", json!({ "destination": "/a", "type": HOSTILE, "source": "none" })),
        ("/mounts/0", json!({ "destination": path, "type": "bind", "source": "/nowhere", "options": ["bind"] })),
        ("/mounts/0", json!({ "destination": "/a", "type": "bind", "source": path, "options": ["bind"] })),
        ("/mounts/0", json!({ "destination": "/a", "type": "tmpfs", "source": "none", "options": [HOSTILE] })),
        ("/linux/sysctl", json!({ HOSTILE: "1" })),
        ("/linux/sysctl", json!({ format!("net.{HOSTILE}"): "1" })),
        ("/linux/rootfsPropagation", json!(HOSTILE)),
        ("/linux/cgroupsPath", json!(format!("/ferrun-x/{HOSTILE}/memory.max"))),
        ("/linux/namespaces/0", json!({ "type": HOSTILE })),
        ("/linux/devices", json!([{ "path": path, "type": HOSTILE }])),
        ("/linux/resources/unified", json!({ HOSTILE: "1" })),
        ("/process/args", json!([HOSTILE])),
        ("/process/cwd", json!(HOSTILE)),
        ("/process/env/0", json!(HOSTILE)),
        ("/process/capabilities/bounding/0", json!(HOSTILE)),
        ("/process/rlimits/0/type", json!(HOSTILE)),
        ("/root/path", json!(HOSTILE)),
        ("/ociVersion", json!(HOSTILE)),
        ("/hooks/createRuntime", json!([{ "path": path }])),
    ];
    for (pointer, value) in cases {
        let bundle = Bundle::new(&["true"]).set(pointer, value.clone());
        let (dir, mut shown) = (bundle.dir.to_str().unwrap(), 0);
        for args in
            [&["run", "--bundle", dir, &bundle.id][..], &["check", "--bundle", dir], &["explain", "--bundle", dir]]
        {
            let done = bundle.ferrun(args);
            assert_harmless(&done, &format!("{args:?} {pointer} {value}"));
            shown += usize::from(format!("{done:?}").contains("\\\\u{1b}"));
        }
        assert_ne!(shown, 0, "no command tells of {pointer} {value}");
    }
}

#[test]
fn no_name_of_an_unknown_property_reaches_the_terminal() {
    need_root!();
    let bundle = Bundle::new(&["true"]).with(|config| config["process"][HOSTILE] = json!(1));
    let dir = bundle.dir.to_str().unwrap();
    assert_written_out(&bundle.ferrun(&["check", "--bundle", dir]), "check");
    assert_written_out(&bundle.ferrun(&["explain", "--bundle", dir]), "explain");
    let rules =
        json!({ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{ "names": [HOSTILE], "action": "SCMP_ACT_ERRNO" }] });
    let bundle = Bundle::new(&["true"]).set("/linux/seccomp", rules);
    let dir = bundle.dir.to_str().unwrap();
    assert_written_out(&bundle.ferrun(&["seccomp", "--bundle", dir]), "seccomp");
}

#[test]
fn no_step_of_a_plan_reaches_the_terminal() {
    need_root!();
    let plain = Bundle::new(&["true"]);
    let mount = json!({ "destination": format!("/{HOSTILE}"), "type": "tmpfs", "source": "none" });
    let bundle = Bundle::new(&["true"]).set("/hostname", json!(HOSTILE)).set("/mounts/7", mount);
    let (one, other) = (plain.dir.to_str().unwrap(), bundle.dir.to_str().unwrap());
    assert_written_out(&bundle.ferrun(&["explain", "--bundle", other]), "explain");
    assert_written_out(&bundle.ferrun(&["explain", "--bundle", one, "--diff", other]), "explain --diff");
    // A name of a host is refused by nobody.
    let done = bundle.ferrun(&["run", "--bundle", other, "--trace", "-", &bundle.id]);
    assert_written_out(&done, "run --trace -");
}

#[test]
fn neither_hooks_nor_paths_reach_the_terminal() {
    need_root!();
    let script = "printf 'a\\033[31m\\007\\nferrun: forged\\n' >&2; exit 1";
    let hook = json!([{ "path": "/bin/sh", "args": ["sh", "-c", script] }]);
    let done = Bundle::new(&["true"]).set("/hooks/createRuntime", hook.clone()).run();
    assert!(done.stderr.contains("ferrun: forged") && !done.stderr.contains('\u{1b}'), "{done:?}");
    assert!(!done.stderr.lines().any(|line| line.starts_with("ferrun: forged")), "{done:?}");

    let bundle = Bundle::new(&["true"]);
    let strange = bundle.dir.join(HOSTILE);
    std::fs::create_dir(&strange).unwrap();
    for name in ["config.json", "rootfs"] {
        std::fs::rename(bundle.dir.join(name), strange.join(name)).unwrap();
    }
    let strange = strange.to_str().unwrap();
    bundle.ferrun(&["run", "--keep", "--bundle", strange, &bundle.id]).ok();
    assert_written_out(&bundle.ferrun(&["list"]), "list");
    assert_written_out(&bundle.ferrun(&["state", HOSTILE]), "state");
    assert_written_out(&bundle.ferrun(&[HOSTILE]), "no such command");
    assert_written_out(&bundle.ferrun(&["state", &format!("--{}", HOSTILE.replace('\n', ""))]), "no such option");
}

/// JSON may have DEL, C1 and marks of direction as they are, which act on a terminal all the same.
#[test]
fn json_acts_on_no_terminal_either() {
    need_root!();
    let bundle = Bundle::new(&["sleep", "1000"]).set("/annotations", json!({ HOSTILE: format!("\u{7f}{HOSTILE}") }));
    bundle.create().ok();
    let broken = Bundle::new(&["true"]).set("/process/env/0", json!(HOSTILE));
    let (dir, broken_dir) = (bundle.dir.to_str().unwrap(), broken.dir.to_str().unwrap());
    for (args, shown) in [
        (&["state", &bundle.id][..], true),
        (&["list", "--format", "json"], true),
        (&["explain", "--json", "--bundle", dir], false),
        (&["check", "--json", "--bundle", broken_dir], false),
        (&["--log-format", "json", "run", "--bundle", broken_dir, &broken.id], false),
    ] {
        let done = bundle.ferrun(args);
        assert_harmless(&done, &format!("{args:?}"));
        let text = if done.stdout.is_empty() { &done.stderr } else { &done.stdout };
        let value: Value = serde_json::from_str(text).unwrap_or_else(|error| panic!("{args:?}: {error}: {text}"));
        let annotations = value.get("annotations").or_else(|| value.get(0)?.get("annotations"));
        if shown {
            assert_eq!(annotations.unwrap()[HOSTILE], format!("\u{7f}{HOSTILE}"), "the value is the same: {args:?}");
        }
    }
    bundle.delete_force().ok();
}
