//! `linux.maskedPaths` and `linux.readonlyPaths`: each path once, however it is spelled, as with runc.

use std::ffi::CString;

use super::Compiler;
use crate::bundle::path::clean;
use crate::bundle::text::Text;

impl Compiler<'_> {
    /// The paths that are hidden, each with its index in the config.
    pub(super) fn hidden_paths(&self) -> Vec<(usize, CString)> {
        distinct(&self.spec.linux.masked_paths)
    }

    /// The paths that are read-only. What is hidden cannot be written to anyway.
    pub(super) fn read_only_paths(&self) -> Vec<(usize, CString)> {
        let mut paths = distinct(&self.spec.linux.readonly_paths);
        let mut hidden: Vec<CString> = self.spec.linux.masked_paths.iter().map(|path| clean(path)).collect();
        hidden.sort_unstable();
        paths.retain(|(_, path)| hidden.binary_search(path).is_err());
        paths
    }
}

/// The first of each path, in the order of the list.
fn distinct(paths: &[Text]) -> Vec<(usize, CString)> {
    let mut paths: Vec<(usize, CString)> = paths.iter().map(|path| clean(path)).enumerate().collect();
    paths.sort_by(|(_, one), (_, other)| one.cmp(other));
    paths.dedup_by(|(_, later), (_, first)| later == first);
    paths.sort_unstable_by_key(|(index, _)| *index);
    paths
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_each_path_stays_in_its_place() {
        let list = ["/z", "/a", "//a/", "/b/../z", "/a/b", "a", "/z"].map(|path| Text(CString::new(path).unwrap()));
        let wanted = [(0, c"/z"), (1, c"/a"), (4, c"/a/b")].map(|(index, path)| (index, path.to_owned()));
        assert_eq!(distinct(&list), wanted);
        // Each doubling of the list doubles the time, more or less.
        let many: Vec<Text> = (0..100_000).map(|n| Text(CString::new(format!("/{}", n % 50_000)).unwrap())).collect();
        assert_eq!(distinct(&many).len(), 50_000);
    }
}
