//! Statistics of block devices: blkio-controller.rst of v1, io.stat of v2.

use super::read::Files;
use super::report::{Blkio, IoEntry};
use crate::error::Result;

/// Which list of the report.
type List = fn(&mut Blkio) -> &mut Vec<IoEntry>;

const SERVICE_BYTES: List = |blkio| &mut blkio.io_service_bytes_recursive;
const SERVICED: List = |blkio| &mut blkio.io_serviced_recursive;
const QUEUED: List = |blkio| &mut blkio.io_queue_recursive;
const SERVICE_TIME: List = |blkio| &mut blkio.io_service_time_recursive;
const WAIT_TIME: List = |blkio| &mut blkio.io_wait_time_recursive;
const MERGED: List = |blkio| &mut blkio.io_merged_recursive;
const TIME: List = |blkio| &mut blkio.io_time_recursive;
const SECTORS: List = |blkio| &mut blkio.sectors_recursive;

/// What a scheduler with all its counters has.
const EVERYTHING: &[(&str, List)] = &[
    ("sectors_recursive", SECTORS),
    ("io_service_time_recursive", SERVICE_TIME),
    ("io_wait_time_recursive", WAIT_TIME),
    ("io_merged_recursive", MERGED),
    ("io_queued_recursive", QUEUED),
    ("time_recursive", TIME),
    ("io_serviced_recursive", SERVICED),
    ("io_service_bytes_recursive", SERVICE_BYTES),
];

/// The files of the schedulers that keep count, the most telling first: BFQ with and without debugging, CFQ,
/// and the throttle, which every kernel has.
const SOURCES: &[(&str, &[(&str, List)])] = &[
    ("blkio.bfq.", EVERYTHING),
    ("blkio.bfq.", &[("io_serviced_recursive", SERVICED), ("io_service_bytes_recursive", SERVICE_BYTES)]),
    ("blkio.", EVERYTHING),
    ("blkio.throttle.", &[("io_serviced_recursive", SERVICED), ("io_service_bytes_recursive", SERVICE_BYTES)]),
    ("blkio.throttle.", &[("io_serviced", SERVICED), ("io_service_bytes", SERVICE_BYTES)]),
];

/// The first source that has counted something.
pub fn v1(files: Files) -> Result<Blkio> {
    let mut blkio = Blkio::default();
    for (prefix, names) in SOURCES {
        for (name, list) in *names {
            let entries = entries(files, &format!("{prefix}{name}"))?;
            if entries.is_empty() {
                break;
            }
            *list(&mut blkio) = entries;
        }
        if blkio != Blkio::default() {
            break;
        }
    }
    Ok(blkio)
}

/// Lines `8:0 Read 4096` or `8:0 4096`; the last, `Total 4096`, belongs to no device.
fn entries(files: Files, name: &str) -> Result<Vec<IoEntry>> {
    let text = files.text(name)?.unwrap_or_default();
    let lines = text.lines().filter(|line| !line.starts_with("Total"));
    lines.map(|line| files.understood(name, line, entry(line))).collect()
}

fn entry(line: &str) -> Option<IoEntry> {
    let mut fields = line.split(' ');
    let (major, minor) = device(fields.next()?)?;
    let (op, value) = match (fields.next()?, fields.next()) {
        (value, None) => (String::new(), value),
        (op, Some(value)) => (op.to_owned(), value),
    };
    Some(IoEntry { major, minor, op, value: value.parse().ok()? })
}

fn device(text: &str) -> Option<(u64, u64)> {
    let (major, minor) = text.split_once(':')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

/// Lines `8:0 rbytes=1 wbytes=2 rios=3 wios=4 …`, in the words of v1.
pub fn v2(files: Files) -> Result<Blkio> {
    const KEYS: [(&str, &str, List); 4] = [
        ("rbytes", "Read", SERVICE_BYTES),
        ("wbytes", "Write", SERVICE_BYTES),
        ("rios", "Read", SERVICED),
        ("wios", "Write", SERVICED),
    ];
    let mut blkio = Blkio::default();
    let text = files.text("io.stat")?.unwrap_or_default();
    for line in text.lines() {
        let mut fields = line.split_ascii_whitespace();
        let Some((major, minor)) = fields.next().and_then(device) else { continue };
        for (key, value) in fields.filter_map(|field| field.split_once('=')) {
            let Some((_, op, list)) = KEYS.iter().find(|(name, ..)| *name == key) else { continue };
            let value = files.understood("io.stat", line, value.parse().ok())?;
            list(&mut blkio).push(IoEntry { major, minor, op: (*op).to_owned(), value });
        }
    }
    Ok(blkio)
}

#[cfg(test)]
mod tests {
    use super::super::read::tests::Fake;
    use super::*;
    use serde_json::{Value, json};

    fn told(read: fn(Files) -> Result<Blkio>, files: &[(&str, &str)]) -> Value {
        serde_json::to_value(read(Fake::new(files).files()).unwrap()).unwrap()
    }

    #[test]
    fn the_first_source_that_counts_is_taken() {
        let throttle = ("blkio.throttle.io_serviced", "8:0 Read 7\nTotal 7\n");
        let bytes = ("blkio.throttle.io_service_bytes", "8:0 Read 4096\nTotal 4096\n");
        let read = |value: u64| json!([{"major": 8, "op": "Read", "value": value}]);
        assert_eq!(
            told(v1, &[throttle, bytes]),
            json!({"ioServicedRecursive": read(7), "ioServiceBytesRecursive": read(4096)})
        );
        // One that is there and has counted nothing is passed over.
        let empty = ("blkio.throttle.io_serviced_recursive", "Total 0\n");
        assert_eq!(told(v1, &[throttle, bytes, empty])["ioServicedRecursive"], read(7));
        let bfq = ("blkio.bfq.io_serviced_recursive", "259:1 Write 3\n");
        assert_eq!(
            told(v1, &[throttle, bytes, bfq]),
            json!({"ioServicedRecursive": [{"major": 259, "minor": 1, "op": "Write", "value": 3}]})
        );
        let cfq = ("blkio.sectors_recursive", "8:16 99\n");
        assert_eq!(told(v1, &[cfq])["sectorsRecursive"], json!([{"major": 8, "minor": 16, "value": 99}]));
        assert!(v1(Fake::new(&[("blkio.sectors_recursive", "8 0\n")]).files()).is_err());
    }

    #[test]
    fn v2_is_told_in_the_words_of_v1() {
        let stat = "8:16 rbytes=1459200 wbytes=0 rios=192 wios=353 dbytes=0 dios=0\n7:0 \n";
        assert_eq!(
            told(v2, &[("io.stat", stat)]),
            json!({"ioServiceBytesRecursive": [{"major": 8, "minor": 16, "op": "Read", "value": 1_459_200},
                                               {"major": 8, "minor": 16, "op": "Write"}],
                   "ioServicedRecursive": [{"major": 8, "minor": 16, "op": "Read", "value": 192},
                                           {"major": 8, "minor": 16, "op": "Write", "value": 353}]})
        );
        assert_eq!(told(v2, &[]), json!({}));
    }
}
