//! Id maps of a user namespace: ranges of the container's ids with the ids of the host that they stand for.

use std::fmt::Write;

use crate::error::{Error, Result};

/// Ranges that a namespace may have: UID_GID_MAP_MAX_EXTENTS of linux/user_namespace.h.
pub const MOST_RANGES: usize = 340;
/// The kernel takes the text in one write of less than a page.
const LONGEST_TEXT: usize = 4095;

/// A range of ids: user_namespaces(7).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    /// The first inside.
    pub inside: u32,
    /// The id of the host that it stands for.
    pub outside: u32,
    /// How many follow each other, the first counted.
    pub size: u32,
}

/// The ranges of one kind of ids.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Mappings(pub Vec<Range>);

impl Mappings {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The id of the host that an id of the container stands for.
    pub fn on_host(&self, id: u32) -> Option<u32> {
        let range = self.0.iter().find(|range| id.checked_sub(range.inside).is_some_and(|n| n < range.size))?;
        range.outside.checked_add(id - range.inside)
    }

    /// The same ids in as few ranges as can be, in order: the kernel takes only so many.
    #[must_use]
    pub fn joined(&self) -> Mappings {
        let mut sorted = self.0.clone();
        sorted.sort_by_key(|range| range.inside);
        let mut joined: Vec<Range> = Vec::new();
        for next in sorted {
            let follows = |last: &Range| {
                last.inside.checked_add(last.size) == Some(next.inside)
                    && last.outside.checked_add(last.size) == Some(next.outside)
            };
            match joined.last_mut().filter(|last| follows(last)) {
                Some(last) => last.size = last.size.saturating_add(next.size),
                None => joined.push(next),
            }
        }
        Mappings(joined)
    }

    /// The text that the kernel reads, a line a range.
    ///
    /// # Errors
    /// More ranges than it takes.
    pub fn text(&self) -> Result<String> {
        let Mappings(ranges) = self.joined();
        let mut text = String::new();
        for Range { inside, outside, size } in &ranges {
            let _ = writeln!(text, "{inside} {outside} {size}");
        }
        if ranges.len() > MOST_RANGES || text.len() > LONGEST_TEXT {
            let (count, bytes) = (ranges.len(), text.len());
            return Err(Error::new(format!(
                "{count} mappings ({bytes} bytes) are more than a user namespace can have"
            ))
            .hint(format!("the kernel takes {MOST_RANGES} ranges, and {LONGEST_TEXT} bytes of them as text")));
        }
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mappings(list: &[[u32; 3]]) -> Mappings {
        Mappings(list.iter().map(|&[inside, outside, size]| Range { inside, outside, size }).collect())
    }

    #[test]
    fn ids_are_looked_up_in_their_range() {
        let map = mappings(&[[0, 1000, 1], [1, 100_000, 10], [u32::MAX - 1, 5, 1]]);
        for (inside, outside) in
            [(0, Some(1000)), (1, Some(100_000)), (10, Some(100_009)), (11, None), (u32::MAX - 1, Some(5))]
        {
            assert_eq!(map.on_host(inside), outside, "{inside}");
        }
    }

    #[test]
    fn ranges_that_follow_each_other_are_joined() {
        assert_eq!(mappings(&[[1, 101, 2], [0, 100, 1], [3, 103, 1]]).joined(), mappings(&[[0, 100, 4]]));
        let apart = mappings(&[[0, 100, 1], [1, 102, 1], [3, 103, 1]]);
        assert_eq!(apart.joined(), apart);
    }

    #[test]
    fn what_the_kernel_takes_no_more_is_refused() {
        let ranges = |count: u32, step: u32| {
            Mappings((0..count).map(|n| Range { inside: n * step, outside: n * step * 3, size: 1 }).collect())
        };
        assert!(ranges(340, 2).text().is_ok());
        assert!(ranges(341, 2).text().is_err());
        assert!(ranges(340, 1_000_000).text().is_err(), "too long as text");
        let one = Mappings((0..1000).map(|n| Range { inside: n, outside: n + 7, size: 1 }).collect());
        assert_eq!(one.text().unwrap(), "0 7 1000\n");
    }
}
