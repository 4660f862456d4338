//! The same computations in Python: `math.factorial`, `str`, NumPy's `sort` and `@`, and `hashlib`.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use tokio::process::Command;

use super::{FACTORIAL_N, Kernel, MATRIX_SIZE, SORT_LENGTH, TEXT_LENGTH};

/// The interpreter runs this script. Its arguments are the kernel, its size and the number of runs.
const SCRIPT: &str = include_str!("peer.py");

/// A Python interpreter that runs.
pub(super) struct Python {
    program: PathBuf,
    /// The versions of Python and NumPy, for people.
    pub(super) version: String,
    has_numpy: bool,
}

#[derive(Deserialize)]
struct PythonVersions {
    python: String,
    numpy: Option<String>,
}

impl Python {
    /// The interpreter, if it runs. Otherwise the reason goes to standard error.
    pub(super) async fn find(program: &Path) -> Option<Self> {
        let about: Result<PythonVersions> = run_script(program, &["about", "0", "0"]).await;
        match about {
            Ok(PythonVersions { python, numpy }) => Some(Self {
                program: program.to_owned(),
                has_numpy: numpy.is_some(),
                version: match numpy {
                    Some(numpy) => format!("Python {python}, NumPy {numpy}"),
                    None => format!("Python {python} without NumPy"),
                },
            }),
            Err(error) => {
                eprintln!("no Python to compare with: {error:#}");
                None
            }
        }
    }

    /// The times of `repeats` runs in a fresh interpreter, after one warm-up run that does not count.
    /// Empty if the kernel needs NumPy and the interpreter has none.
    pub(super) async fn measure(&self, kernel: Kernel) -> Result<Vec<Duration>> {
        let (name, size) = match kernel {
            Kernel::Factorial => ("factorial", FACTORIAL_N),
            Kernel::Digits => ("digits", FACTORIAL_N),
            Kernel::Sha256 => ("sha256", TEXT_LENGTH as u64),
            Kernel::Sort if self.has_numpy => ("sort", SORT_LENGTH as u64),
            Kernel::Product if self.has_numpy => ("product", u64::from(MATRIX_SIZE)),
            Kernel::Sort | Kernel::Product => return Ok(Vec::new()),
        };
        let arguments = [name, &size.to_string(), &kernel.repeats().to_string()];
        let seconds: Vec<f64> = run_script(&self.program, &arguments).await?;
        Ok(seconds.into_iter().map(Duration::from_secs_f64).collect())
    }
}

async fn run_script<T: for<'de> Deserialize<'de>>(program: &Path, arguments: &[&str]) -> Result<T> {
    let output = Command::new(program)
        .args(["-c", SCRIPT])
        .args(arguments)
        .kill_on_drop(true)
        .output()
        .await
        .with_context(|| format!("cannot start {}", program.display()))?;
    if !output.status.success() {
        bail!(
            "{} failed: {}",
            program.display(),
            String::from_utf8_lossy(&output.stderr).trim_end()
        );
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}
