//! `list`.

use nix::unistd::{Uid, User};

use super::directory::Purpose;
use super::state::{Root, State};
use super::status::{Report, report};
use crate::error::{Error, Result};

/// The reports on all containers, and an error for each one whose state cannot be read. One that vanishes
/// meanwhile, or has no state yet, is left out.
///
/// # Errors
/// A root that cannot be read.
pub fn list(root: &Root) -> Result<(Vec<Report>, Vec<Error>)> {
    let (mut reports, mut errors) = (Vec::new(), Vec::new());
    for id in root.ids()? {
        let found = root.find(&id, Purpose::Look).and_then(|state| {
            let owned = state.map(|state| (owner(&state), state));
            owned.map(|(owner, state)| report(state, owner)).transpose()
        });
        match found {
            Ok(report) => reports.extend(report),
            Err(error) => errors.push(error),
        }
    }
    Ok((reports, errors))
}

/// Who made the container: the name of the user that its state directory belongs to.
fn owner(state: &State) -> String {
    let Some(Ok(uid)) = state.directory.as_ref().map(|directory| directory.owner()) else { return String::new() };
    match User::from_uid(Uid::from_raw(uid)) {
        Ok(Some(user)) => user.name,
        _ => format!("#{uid}"),
    }
}
