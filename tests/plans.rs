//! The plans of the configs that engines really wrote (tests/data/configs, recorded from Docker, Podman
//! and containerd), each compared with the text in tests/data/plans. No root, no host: the facts of the
//! host are a file, too. After a change that is meant: `UPDATE_PLANS=1 cargo test --test plans`.

use std::path::{Path, PathBuf};

use ferrun::bundle::{self, Positions};
use ferrun::plan::{self, Host, Options};

fn data() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data")
}

/// Whose mount namespaces are new, which Linux 7.0 can make in another way: without hooks, with them, in a user namespace.
const OF_LINUX_7: [&str; 3] = ["ctr-default", "docker-volumes", "podman-userns"];

/// What `explain` would print, or why the bundle is refused.
fn planned(config: &Path, host: &Host) -> String {
    let name = config.file_stem().unwrap().to_str().unwrap();
    let dir = std::env::temp_dir().join(format!("ferrun-plan-{}-{name}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    std::fs::copy(config, dir.join("config.json")).unwrap();
    let options = Options { id: "ID".into(), ..Options::default() };
    let planned = bundle::load(&dir).and_then(|bundle| {
        let plan = plan::compile(&bundle, host, &options)?;
        let warnings = bundle.warnings.iter().chain(&plan.warnings);
        let warnings: String = warnings.map(|warning| format!("warning: {warning}\n")).collect();
        Ok(warnings + &plan::explain::text(&plan, &Positions::new(&bundle.text)))
    });
    let text = planned.unwrap_or_else(|error| {
        let pointer = error.pointer.as_deref().unwrap_or_default();
        format!("refused: {error} ({pointer})\n")
    });
    std::fs::remove_dir_all(&dir).unwrap();
    text.replace(dir.to_str().unwrap(), "BUNDLE")
}

#[test]
fn the_plans_of_recorded_configs_are_as_written_down() {
    let mut wrong = Vec::new();
    for host_name in ["hybrid", "v2", "linux-7"] {
        let facts = std::fs::read(data().join(format!("host-{host_name}.json"))).unwrap();
        let host: Host = serde_json::from_slice(&facts).unwrap();
        let mut configs: Vec<PathBuf> =
            std::fs::read_dir(data().join("configs")).unwrap().map(|entry| entry.unwrap().path()).collect();
        configs.sort();
        assert!(configs.len() > 20, "the recorded configs are there");
        for config in configs {
            let name = config.file_stem().unwrap().to_str().unwrap();
            if host_name == "linux-7" && !OF_LINUX_7.contains(&name) {
                continue;
            }
            let golden = data().join(format!("plans/{name}.{host_name}.txt"));
            let planned = planned(&config, &host);
            if std::env::var_os("UPDATE_PLANS").is_some() {
                std::fs::write(&golden, &planned).unwrap();
            } else if std::fs::read_to_string(&golden).unwrap_or_default() != planned {
                wrong.push(format!("{}:\n{planned}", golden.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "plans differ from what is written down:\n{}", wrong.join("\n"));
}
