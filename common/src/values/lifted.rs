//! Blobs beside JSON: in an array of numbers, a large one would be slow to write and to read.
//!
//! While a blob is lifted, JSON has its position among others that are handed over beside the text, through a
//! thread-local that is set while the codec runs.

use super::Blob;
use std::cell::{Cell, RefCell};

thread_local! {
    static LIFTING: Cell<bool> = const { Cell::new(false) };
    static PLACING: Cell<bool> = const { Cell::new(false) };
    static BLOBS: RefCell<Vec<Blob>> = const { RefCell::new(Vec::new()) };
}

/// Sets a cell until it is dropped, also when the codec panics.
struct Opened(&'static std::thread::LocalKey<Cell<bool>>, bool);

impl Opened {
    fn new(cell: &'static std::thread::LocalKey<Cell<bool>>) -> Self {
        Self(cell, cell.replace(true))
    }
}

impl Drop for Opened {
    fn drop(&mut self) {
        self.0.set(self.1);
    }
}

/// Runs an encoder to JSON. A blob in it becomes its position among those that are returned.
///
/// ```
/// use pyroxene_common::values::{Blob, lifting_blobs, placing_blobs};
///
/// let (text, blobs) = lifting_blobs(|| serde_json::to_string(&("a", Blob::from(vec![7; 9]))));
/// let text = text?;
/// assert_eq!((text.as_str(), blobs.len()), (r#"["a",0]"#, 1));
/// let read: (String, Blob) = placing_blobs(blobs, || serde_json::from_str(&text))?;
/// assert_eq!(read.1.len(), 9);
/// # Ok::<(), serde_json::Error>(())
/// ```
pub fn lifting_blobs<T>(encode: impl FnOnce() -> T) -> (T, Vec<Blob>) {
    BLOBS.take();
    let encoded = {
        let _opened = Opened::new(&LIFTING);
        encode()
    };
    (encoded, BLOBS.take())
}

/// Runs a decoder of JSON. A blob in it may be the position of one of `blobs`.
pub fn placing_blobs<T>(blobs: Vec<Blob>, decode: impl FnOnce() -> T) -> T {
    let _opened = Opened::new(&PLACING);
    BLOBS.set(blobs);
    let decoded = decode();
    BLOBS.take();
    decoded
}

/// Lifts a blob that is being encoded, if blobs are lifted now. Returns its position.
pub(super) fn lift(blob: &Blob) -> Option<u64> {
    LIFTING.get().then(|| {
        BLOBS.with_borrow_mut(|blobs| {
            blobs.push(blob.clone());
            blobs.len() as u64 - 1
        })
    })
}

/// Whether a blob that is being decoded may be a position.
pub(super) fn is_placing() -> bool {
    PLACING.get()
}

/// The blob at a position.
pub(super) fn place(position: u64) -> Option<Blob> {
    BLOBS.with_borrow(|blobs| blobs.get(usize::try_from(position).ok()?).cloned())
}
