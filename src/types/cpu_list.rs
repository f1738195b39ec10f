//! Lists of CPUs and memory nodes, as cpuset(7) writes them: `0-3,7`.

use std::fmt;

/// No machine has that many: a mask up to any number that can be written would take all memory.
const HIGHEST: u32 = 65_535;

/// CPUs, or memory nodes, as ranges, both ends included, in the order of the text.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CpuList(pub Vec<(u32, u32)>);

impl CpuList {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// As a mask: bit N for number N, in the words that the kernel takes.
    pub fn mask(&self) -> Vec<libc::c_ulong> {
        let bits = libc::c_ulong::BITS;
        let words = self.0.iter().map(|(_, last)| last / bits + 1).max().unwrap_or(0);
        let mut mask = vec![0; words as usize];
        for number in self.0.iter().flat_map(|(first, last)| *first..=*last) {
            mask[(number / bits) as usize] |= 1 << (number % bits);
        }
        mask
    }

    /// Reads a list.
    ///
    /// # Errors
    /// A sentence, for a text that is none.
    pub fn parse(text: &str) -> Result<CpuList, String> {
        let number = |digits: &str| {
            let all = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
            let number = digits.parse().ok().filter(|number| all && *number <= HIGHEST);
            number.ok_or_else(|| format!("{digits:?} in the list {text:?} is no number from 0 to {HIGHEST}"))
        };
        let range = |part: &str| {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            match (number(first)?, number(last)?) {
                (first, last) if first > last => Err(format!("{part} in the list {text:?} goes backwards")),
                range => Ok(range),
            }
        };
        match text {
            "" => Ok(CpuList::default()),
            _ => text.split(',').map(range).collect::<Result<_, _>>().map(CpuList),
        }
    }
}

impl fmt::Display for CpuList {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        for (index, (first, last)) in self.0.iter().enumerate() {
            f.write_str(if index == 0 { "" } else { "," })?;
            if first == last { write!(f, "{first}") } else { write!(f, "{first}-{last}") }?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists() {
        assert_eq!(CpuList::parse("0-3,7").unwrap().mask(), [0x8f]);
        assert_eq!(CpuList::parse("64,1,1").unwrap().mask(), [2, 1]);
        assert!(CpuList::parse("").unwrap().mask().is_empty());
        for wrong in
            [",", "1,", "a", "1-", "-1", "3-1", "1--2", " 1", "1 ", "+1", "0x1", "65536", "99999999999", "1-2-3"]
        {
            assert!(CpuList::parse(wrong).is_err(), "{wrong}");
        }
    }
}
