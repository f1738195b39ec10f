//! `list`.

use std::os::unix::fs::MetadataExt;

use nix::unistd::{Uid, User};

use super::state::Root;
use super::status::{Report, report};
use crate::error::Error;

/// The reports on all containers, and a warning for each one whose state cannot be read. One that vanishes
/// meanwhile, or has no state yet, is left out.
pub fn list(root: &Root) -> (Vec<Report>, Vec<Error>) {
    let (mut reports, mut warnings) = (Vec::new(), Vec::new());
    for id in root.ids() {
        let found = root.find(&id).and_then(|state| state.map(|state| report(state, owner(root, &id))).transpose());
        match found {
            Ok(report) => reports.extend(report),
            Err(error) => warnings.push(error),
        }
    }
    (reports, warnings)
}

/// Who made the container: the name of the user that its state directory belongs to.
fn owner(root: &Root, id: &super::id::Id) -> String {
    let Ok(uid) = std::fs::metadata(root.of(id)).map(|directory| directory.uid()) else { return String::new() };
    match User::from_uid(Uid::from_raw(uid)) {
        Ok(Some(user)) => user.name,
        _ => format!("#{uid}"),
    }
}
