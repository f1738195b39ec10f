//! `list`.

use std::os::unix::fs::MetadataExt;

use nix::unistd::{Uid, User};

use super::state::Root;
use super::status::{Report, report};

/// What is told of every container; one that vanishes meanwhile, or has no state yet, is left out.
pub fn list(root: &Root) -> Vec<Report> {
    let ids = root.ids();
    ids.iter().filter_map(|id| Some(report(root, id, root.load(id).ok()?, owner(root, id)))).collect()
}

/// Who made the container: the name of the user that its state directory belongs to.
fn owner(root: &Root, id: &super::id::Id) -> String {
    let Ok(uid) = std::fs::metadata(root.of(id)).map(|directory| directory.uid()) else { return String::new() };
    match User::from_uid(Uid::from_raw(uid)) {
        Ok(Some(user)) => user.name,
        _ => format!("#{uid}"),
    }
}
