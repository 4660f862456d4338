//! Writing numbers and matrices.

use super::numbers::{self, Format};
use crate::failure::{Exit, Failure, cannot_write};
use pyroxene_common::values::{Matrix, Numbers};
use std::{
    fs::{self, File, OpenOptions, Permissions},
    io::{self, BufWriter, Write},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};
use tempfile::NamedTempFile;

/// The mode of a new file, before the umask applies.
const NEW_FILE: u32 = pyroxene_common::private_file::MODE;

/// The destination of a result.
pub(crate) enum OutputTarget {
    Stdout,
    /// A temporary file, which is renamed to `path` once it is complete.
    File {
        draft: NamedTempFile,
        path: PathBuf,
    },
    /// A special file, such as a pipe, which is written directly.
    Special {
        file: File,
        path: PathBuf,
    },
}

impl OutputTarget {
    /// Opens the destination before the calculation, so that no result is calculated that cannot be written.
    pub(crate) fn open(path: &str) -> Result<Self, Failure> {
        if path == "-" {
            return Ok(Self::Stdout);
        }
        Self::at(path).map_err(|error| not_written(Path::new(path), &error))
    }

    fn at(path: &str) -> io::Result<Self> {
        // A symbolic link stays, and the file that it points to is replaced.
        let path = fs::canonicalize(path).unwrap_or_else(|_| PathBuf::from(path));
        let mode = match fs::metadata(&path) {
            Ok(there) if there.is_dir() => {
                return Err(io::Error::new(
                    io::ErrorKind::IsADirectory,
                    "it is a directory",
                ));
            }
            Ok(there) if !there.is_file() => {
                let file = OpenOptions::new().write(true).open(&path)?;
                return Ok(Self::Special { file, path });
            }
            // A file without write permission is not replaced either.
            Ok(there) => {
                OpenOptions::new().write(true).open(&path)?;
                Some(there.permissions().mode() & 0o777)
            }
            Err(_) => None,
        };
        let directory = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        let draft = tempfile::Builder::new()
            .prefix(".pyroxene-")
            .permissions(Permissions::from_mode(NEW_FILE))
            .tempfile_in(directory)?;
        if let Some(mode) = mode {
            fs::set_permissions(draft.path(), Permissions::from_mode(mode))?;
        }
        Ok(Self::File { draft, path })
    }

    /// Whether it is a file that is renamed at the end.
    pub(crate) fn is_file(&self) -> bool {
        matches!(self, Self::File { .. })
    }

    /// Writes everything, and gives a temporary file its final name.
    fn write(self, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<(), Failure> {
        let buffered = |target: &mut dyn Write| {
            let mut buffer = BufWriter::with_capacity(256 * 1024, target);
            write(&mut buffer)?;
            buffer.flush()
        };
        match self {
            Self::Stdout => {
                buffered(&mut io::stdout().lock()).map_err(|error| match error.kind() {
                    io::ErrorKind::InvalidData => not_representable(&error),
                    _ => cannot_write(&error),
                })
            }
            Self::Special { mut file, path } => {
                buffered(&mut file).map_err(|error| not_written(&path, &error))
            }
            Self::File { mut draft, path } => {
                let written = buffered(draft.as_file_mut());
                written
                    .and_then(|()| Ok(draft.persist(&path)?))
                    .map(drop)
                    .map_err(|error| not_written(&path, &error))
            }
        }
    }
}

fn not_written(path: &Path, error: &io::Error) -> Failure {
    match error.kind() {
        io::ErrorKind::InvalidData => not_representable(error),
        _ => Failure::new(
            Exit::Failed,
            format!("cannot write {}: {error}", path.display()),
        ),
    }
}

/// The failure for a number that the format cannot represent.
fn not_representable(error: &io::Error) -> Failure {
    Failure::new(Exit::Failed, error.to_string()).hint("write another --format: lines or f64le")
}

fn json_error(error: serde_json::Error) -> io::Error {
    match error.io_error_kind() {
        Some(kind) => io::Error::new(kind, error),
        None => io::Error::new(io::ErrorKind::InvalidData, error),
    }
}

/// Writes numbers.
pub(crate) fn write_numbers(
    values: &Numbers,
    format: Format,
    target: OutputTarget,
) -> Result<(), Failure> {
    target.write(|mut writer| match format {
        Format::F64le => write_packed(writer, &values.0),
        Format::Json => {
            serde_json::to_writer(&mut writer, values).map_err(json_error)?;
            writer.write_all(b"\n")
        }
        Format::Lines => values.0.iter().try_for_each(|value| {
            numbers::write(&mut writer, *value)?;
            writer.write_all(b"\n")
        }),
    })
}

/// Writes a matrix.
pub(crate) fn write_matrix(
    matrix: &Matrix,
    format: Format,
    target: OutputTarget,
) -> Result<(), Failure> {
    target.write(|mut writer| match format {
        Format::F64le => write_packed(writer, matrix.values()),
        Format::Json => {
            serde_json::to_writer(&mut writer, matrix).map_err(json_error)?;
            writer.write_all(b"\n")
        }
        Format::Lines => matrix.iter_rows().try_for_each(|row| {
            let row: Numbers = row.iter().copied().collect();
            serde_json::to_writer(&mut writer, &row).map_err(json_error)?;
            writer.write_all(b"\n")
        }),
    })
}

fn write_packed(writer: &mut dyn Write, values: &[f64]) -> io::Result<()> {
    values
        .iter()
        .try_for_each(|value| writer.write_all(&value.to_le_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_appears_whole_or_stays_as_it_was() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("out");
        let name = path.to_str().unwrap();
        let write = |values: &[f64], format| {
            let target = OutputTarget::open(name).unwrap();
            write_numbers(&Numbers(values.to_vec()), format, target)
        };
        write(&[1.0, f64::NAN], Format::Lines).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "1\nNaN\n");
        let failure = write(&[1.0, f64::NAN], Format::Json).unwrap_err();
        assert_eq!(
            failure.message.unwrap(),
            "JSON has no form for the number NaN"
        );
        assert!(failure.hint.unwrap().contains("f64le"));
        assert_eq!(fs::read_to_string(&path).unwrap(), "1\nNaN\n");
        write(&[2.0], Format::F64le).unwrap();
        assert_eq!(fs::read(&path).unwrap(), 2.0_f64.to_le_bytes());
        drop(OutputTarget::open(name).unwrap());
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_cannot_be_written_is_said_before_anything_is_done() {
        let directory = tempfile::tempdir().unwrap();
        let name = directory.path().to_str().unwrap();
        for path in [name.to_owned(), format!("{name}/missing/out")] {
            let failure = OutputTarget::open(&path).err().unwrap();
            assert_eq!(failure.exit, Exit::Failed);
            let sentence = failure.message.unwrap();
            assert!(sentence.starts_with("cannot write "), "{sentence}");
        }
        write_numbers(
            &Numbers(vec![1.0]),
            Format::Lines,
            OutputTarget::open("/dev/null").unwrap(),
        )
        .unwrap();
    }

    #[test]
    fn a_file_keeps_its_permissions() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("out");
        fs::write(&path, "").unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
        let target = OutputTarget::open(path.to_str().unwrap()).unwrap();
        write_numbers(&Numbers(vec![1.0]), Format::Lines, target).unwrap();
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o640);
    }
}
