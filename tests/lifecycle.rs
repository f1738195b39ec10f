//! create, start, state, kill, delete: runtime.md of the OCI runtime spec, "Lifecycle" and "Operations".

mod common;

use common::Bundle;

#[test]
fn a_container_goes_through_its_states() {
    need_root!();
    let bundle = Bundle::new(&["sleep", "100"]);
    bundle.create().ok();
    assert_eq!(bundle.status(), "created");
    let state = bundle.state();
    assert!(state["pid"].as_i64().unwrap() > 1);
    bundle.start().ok();
    assert_eq!(bundle.status(), "running");
    assert_eq!(bundle.state()["pid"], state["pid"], "the init becomes the program");
    bundle.on("kill", &["KILL"]).ok();
    bundle.wait_for("stopped");
    assert_eq!(bundle.state()["pid"], 0);
    bundle.on("delete", &[]).ok();
    bundle.on("state", &[]).refused("does not exist");
    bundle.assert_nothing_left("delete");
}

#[test]
fn exit_statuses_are_passed_on() {
    need_root!();
    assert_eq!(Bundle::sh("exit 7").run().status, 7);
    assert_eq!(Bundle::sh("exit 0").run().status, 0);
    assert_eq!(Bundle::sh("kill -9 $$; sleep 1; exit 3").run().status, 3, "pid 1 is not killed from inside");
}
