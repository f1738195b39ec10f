//! Ids of a user namespace: ranges of them, and which ids of the host they stand for.

use serde::Deserialize;
use serde::de::Deserializer;

use super::text::objects;

/// A range of ids: user_namespaces(7).
#[derive(Deserialize, Debug, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct IdMapping {
    /// The first inside.
    #[serde(rename = "containerID")]
    pub container_id: u32,
    /// The id of the host that it stands for.
    #[serde(rename = "hostID")]
    pub host_id: u32,
    /// How many follow each other, the first counted.
    pub size: u32,
}

/// The ranges of one kind of ids.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Mappings(pub Vec<IdMapping>);

impl<'de> Deserialize<'de> for Mappings {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Mappings, D::Error> {
        objects(from).map(Mappings)
    }
}

impl Mappings {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The id of the host that an id of the container stands for.
    pub fn on_host(&self, id: u32) -> Option<u32> {
        let range = self.0.iter().find(|range| id.checked_sub(range.container_id).is_some_and(|n| n < range.size))?;
        range.host_id.checked_add(id - range.container_id)
    }

    /// The same ids in as few ranges as can be, in order: the kernel takes only so many.
    #[must_use]
    pub fn joined(&self) -> Mappings {
        let mut sorted = self.0.clone();
        sorted.sort_by_key(|range| range.container_id);
        let mut joined: Vec<IdMapping> = Vec::new();
        for next in sorted {
            let follows = |last: &IdMapping| {
                last.container_id.checked_add(last.size) == Some(next.container_id)
                    && last.host_id.checked_add(last.size) == Some(next.host_id)
            };
            match joined.last_mut().filter(|last| follows(last)) {
                Some(last) => last.size = last.size.saturating_add(next.size),
                None => joined.push(next),
            }
        }
        Mappings(joined)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mappings(list: &[[u32; 3]]) -> Mappings {
        Mappings(list.iter().map(|&[container_id, host_id, size]| IdMapping { container_id, host_id, size }).collect())
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
}
