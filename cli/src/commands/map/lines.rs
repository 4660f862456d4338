//! The lines of the input, read as they are needed.

use crate::failure::{Failure, cannot_read};
use futures::{Stream, stream};
use pyroxene_common::wire::DEFAULT_MAX_MESSAGE;
use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read},
    thread,
};
use tokio::sync::mpsc;

/// A line that is not blank.
#[derive(Debug)]
pub(in crate::commands) struct InputLine {
    /// Its number, from 1; blank lines count.
    pub(in crate::commands) number: u64,
    /// Where it ends, in bytes from the beginning.
    pub(in crate::commands) end: u64,
    /// Its content, or the failure to read it. After a failure there are no more lines.
    pub(in crate::commands) content: Result<Vec<u8>, Failure>,
}

/// An open input.
pub(in crate::commands) struct LineInput {
    /// Its size in bytes, if it has one.
    pub(in crate::commands) size: Option<u64>,
    reader: Box<dyn Read + Send>,
}

impl LineInput {
    /// Opens a file, or standard input for `-`.
    pub(in crate::commands) fn open(path: &str) -> Result<Self, Failure> {
        if path == "-" {
            return Ok(Self {
                size: None,
                reader: Box::new(io::stdin()),
            });
        }
        let unreadable = |error: io::Error| cannot_read(path, &error);
        let file = File::open(path).map_err(unreadable)?;
        let metadata = file.metadata().map_err(unreadable)?;
        if metadata.is_dir() {
            return Err(Failure::usage(format!(
                "cannot read {path}: it is a directory"
            )));
        }
        Ok(Self {
            size: metadata.is_file().then_some(metadata.len()),
            reader: Box::new(file),
        })
    }

    /// The lines. At most `ahead` of them are read in advance.
    pub(in crate::commands) fn lines(self, ahead: usize) -> impl Stream<Item = InputLine> {
        let (sender, receiver) = mpsc::channel(ahead);
        // A separate thread: a read from a terminal or a pipe may never return, and must not keep the process
        // from ending.
        thread::spawn(move || {
            let mut reader = BufReader::new(self.reader);
            let mut position = Position::default();
            while let Some(line) = next_line(&mut reader, &mut position, DEFAULT_MAX_MESSAGE) {
                let last = line.content.is_err();
                if sender.blocking_send(line).is_err() || last {
                    return;
                }
            }
        });
        stream::unfold(receiver, |mut receiver| async move {
            receiver.recv().await.map(|line| (line, receiver))
        })
    }
}

#[derive(Clone, Copy, Debug, Default)]
struct Position {
    lines: u64,
    bytes: u64,
}

/// The next line that is not blank. No more than `limit` bytes of it are kept in memory.
fn next_line(
    reader: &mut impl BufRead,
    position: &mut Position,
    limit: usize,
) -> Option<InputLine> {
    loop {
        let mut content = Vec::new();
        let bound = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
        let read = reader.by_ref().take(bound).read_until(b'\n', &mut content);
        let size = match read {
            Ok(0) => return None,
            Ok(size) => size,
            Err(error) => {
                let failure = Failure::usage(format!("cannot read further: {error}"));
                return Some(line(*position, 1, Err(failure)));
            }
        };
        position.bytes += u64::try_from(size).unwrap_or(0);
        if size > limit && content.last() != Some(&b'\n') {
            let failure = Failure::usage(format!("it is longer than {limit} bytes"));
            return Some(line(*position, 1, Err(failure)));
        }
        position.lines += 1;
        if !content.trim_ascii().is_empty() {
            return Some(line(*position, 0, Ok(content)));
        }
    }
}

fn line(position: Position, beyond: u64, content: Result<Vec<u8>, Failure>) -> InputLine {
    InputLine {
        number: position.lines + beyond,
        end: position.bytes,
        content,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str, limit: usize) -> Vec<String> {
        let mut reader = text.as_bytes();
        let mut position = Position::default();
        std::iter::from_fn(|| {
            let line = next_line(&mut reader, &mut position, limit)?;
            let content = match line.content {
                Ok(content) => String::from_utf8(content).unwrap().trim().to_owned(),
                Err(failure) => {
                    reader = b"";
                    failure.message.unwrap()
                }
            };
            Some(format!("{} {} {content}", line.number, line.end))
        })
        .collect()
    }

    #[test]
    fn blank_lines_are_skipped_and_counted() {
        let seen = lines("1\n\n  \r\n[2]\r\n3", 100);
        assert_eq!(seen, ["1 2 1", "4 12 [2]", "5 13 3"]);
        assert!(lines("", 100).is_empty());
        assert!(lines("\n\n", 100).is_empty());
    }

    #[test]
    fn a_line_beyond_the_limit_is_not_kept() {
        let seen = lines("1234\n12345\n", 4);
        assert_eq!(seen, ["1 5 1234", "2 10 it is longer than 4 bytes"]);
    }
}
