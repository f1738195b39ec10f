//! The config as it was at `create`, for `exec`: its bundle may be changed or gone by then.

use super::directory::StateDirectory;
use super::state::State;
use crate::bundle::{self, Bundle};
use crate::error::{Context, Error, Result};

/// Its file in the state directory.
pub(super) const FILE: &str = "config.json";

/// Keeps the text.
pub(super) fn keep(directory: &StateDirectory, bundle: &Bundle) -> Result<()> {
    directory.write(FILE, &bundle.text).what(|| "keep the config")
}

/// Reads it. A container of an older ferrun has only its bundle's.
pub(super) fn read(state: &State) -> Result<Bundle> {
    let directory = state.directory.as_deref().ok_or_else(|| Error::new("the state has no directory"))?;
    match directory.read_up_to(FILE, bundle::LONGEST)? {
        Some(regular) => bundle::of_text(state.bundle.clone(), regular.text),
        None => bundle::load(&state.bundle),
    }
}
