//! The bundle of `ferrun demo`: a first container with nothing to download. Its root is empty but for
//! the host's own programs, bound read-only.

use std::io::IsTerminal;
use std::os::unix::fs::symlink;
use std::path::Path;

use serde_json::json;

use super::default;
use crate::error::{Context, Error, Result};
use crate::sys::start::arguments;

/// What the container runs when nothing else is asked for; its $0 is ferrun, as it was called.
const SCRIPT: &str = r#"echo "Hello from a container."
echo "It is process $$ of its own pid namespace, user $(id -u), on host \"$(hostname)\"."
echo "Network interfaces: $(ls /sys/class/net | tr '\n' ' ')"
echo "It may write to: $(for d in /* /dev/shm; do if [ -w "$d" ] && touch "$d/.try" 2>/dev/null; then rm "$d/.try"; echo "$d"; fi; done | tr '\n' ' ')"
echo "Programs come from the host's /usr, read-only. Try: $0 demo sh""#;

/// Writes the bundle into an empty directory. An empty command stands for a greeting.
///
/// # Errors
/// What the file system says.
pub fn write(directory: &Path, command: &[String]) -> Result<()> {
    let rootfs = directory.join("rootfs");
    let mut config = default::config();
    config["hostname"] = json!("demo");
    let on_terminal = std::io::stdin().is_terminal() && std::io::stdout().is_terminal();
    config["process"]["terminal"] = json!(on_terminal);
    config["process"]["args"] = match command {
        [] => {
            let name = arguments().into_iter().next().unwrap_or_else(|| "ferrun".into());
            json!(["sh", "-c", SCRIPT, name.to_string_lossy()])
        }
        command => json!(command),
    };
    for name in ["usr", "tmp", "proc", "dev", "sys"] {
        let path = rootfs.join(name);
        std::fs::create_dir_all(&path).what(|| format!("make {path:?}"))?;
    }
    let mut mounts = vec![
        json!({ "destination": "/tmp", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "nodev", "mode=1777"] }),
    ];
    let mut bind = |path: &str| {
        mounts.push(json!({ "destination": path, "type": "bind", "source": path, "options": ["rbind", "ro", "nosuid", "nodev"] }));
    };
    bind("/usr");
    for name in ["bin", "sbin", "lib", "lib32", "lib64"] {
        let host = Path::new("/").join(name);
        match std::fs::read_link(&host) {
            // A merged /usr: the link is the same inside.
            Ok(target) => symlink(target, rootfs.join(name)).what(|| format!("link {name}"))?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            // EINVAL: no link.
            Err(error) if error.kind() != std::io::ErrorKind::InvalidInput => {
                return Err(Error::io(format!("read link {host:?}"), &error));
            }
            Err(_) => bind(&format!("/{name}")),
        }
    }
    if let Some(all) = config["mounts"].as_array_mut() {
        all.extend(mounts);
    }
    let path = directory.join("config.json");
    let file = std::fs::File::create(&path).what(|| format!("make {path:?}"))?;
    default::write(&config, file).what(|| format!("write {path:?}"))
}
