//! A history as bytes, for the next life of its name server and for others over the same store.
//!
//! | bytes | what |
//! |---|---|
//! | 4 | `PXH1` |
//! | 8 | the number of the next tick |
//! | 4 | how many subjects follow |
//! | … | for each: its kind (1), the length of its name (2), its name, and its values (4 each) in the order of the rings |
//!
//! Integers and values are little-endian; all of it is compressed.

use super::{
    History, MAX_SUBJECTS, TICK,
    ring::{Series, TaskSeries},
};
use flate2::{Compression, read::GzDecoder, write::GzEncoder};
use std::io::{Read, Write};

const MAGIC: &[u8; 4] = b"PXH1";

/// The most bytes before compression.
const MAX_BYTES: u64 = 16 << 20;

const TOTAL: u8 = 0;
const OBJECT: u8 = 1;
const WORKER: u8 = 2;
const TASKS: u8 = 3;

impl History {
    /// The bytes, not compressed yet.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&self.ticks.to_le_bytes());
        let tasks = usize::from(self.tasks.is_some());
        let count = 1 + self.objects.len() + self.workers.len() + tasks;
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        bytes.extend_from_slice(&count.to_le_bytes());
        subject(&mut bytes, TOTAL, "", self.total.all());
        for (name, series) in &self.objects {
            subject(&mut bytes, OBJECT, name, series.all());
        }
        for (name, series) in &self.workers {
            subject(&mut bytes, WORKER, name, series.all());
        }
        if let Some(tasks) = &self.tasks {
            subject(&mut bytes, TASKS, "", tasks.all());
        }
        bytes
    }

    /// Reads what [`to_bytes`](Self::to_bytes) has written.
    fn from_bytes(mut bytes: &[u8]) -> Option<Self> {
        let bytes = &mut bytes;
        if take(bytes)? != *MAGIC {
            return None;
        }
        let mut history = Self {
            ticks: u64::from_le_bytes(take(bytes)?),
            ..Self::default()
        };
        for _ in 0..u32::from_le_bytes(take(bytes)?) {
            let [kind] = take(bytes)?;
            let length = usize::from(u16::from_le_bytes(take(bytes)?));
            let (name, rest) = bytes.split_at_checked(length)?;
            *bytes = rest;
            let name = String::from_utf8(name.to_vec()).ok()?;
            let mut values = std::iter::from_fn(|| take(bytes).map(f32::from_le_bytes));
            match kind {
                TOTAL => history.total = Series::read(&mut values)?,
                OBJECT => insert(&mut history.objects, name, Series::read(&mut values)?),
                WORKER => insert(&mut history.workers, name, Series::read(&mut values)?),
                TASKS => history.tasks = Some(TaskSeries::read(&mut values)?),
                _ => return None,
            }
        }
        bytes.is_empty().then_some(history)
    }
}

fn insert(all: &mut std::collections::BTreeMap<String, Series>, name: String, series: Series) {
    if all.len() < MAX_SUBJECTS / 2 {
        all.insert(name, series);
    }
}

fn subject(bytes: &mut Vec<u8>, kind: u8, name: &str, values: impl Iterator<Item = f32>) {
    let length = u16::try_from(name.len()).unwrap_or(0);
    bytes.push(kind);
    bytes.extend_from_slice(&length.to_le_bytes());
    bytes.extend_from_slice(
        name.as_bytes()
            .get(..usize::from(length))
            .unwrap_or_default(),
    );
    for value in values {
        bytes.extend_from_slice(&value.to_le_bytes());
    }
}

fn take<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, rest) = bytes.split_first_chunk::<N>()?;
    *bytes = rest;
    Some(*taken)
}

/// Compresses the bytes of a history.
pub(crate) fn pack(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    // Writing to memory cannot fail.
    let _ = encoder.write_all(bytes);
    encoder.finish().unwrap_or_default()
}

/// The history in compressed bytes, unless they are damaged or those of a time to come.
pub(crate) fn unpack(packed: &[u8], now_ms: u64) -> Option<History> {
    let mut bytes = Vec::new();
    let mut decoder = GzDecoder::new(packed).take(MAX_BYTES);
    decoder.read_to_end(&mut bytes).ok()?;
    let history = History::from_bytes(&bytes)?;
    // The clock of the other name server may be a minute ahead.
    let latest = now_ms / TICK.as_millis() as u64 + 30;
    (history.ticks <= latest).then_some(history)
}
