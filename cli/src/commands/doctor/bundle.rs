//! A file for a bug report. It has no secrets: of environment variables only the names.

use super::{Finding, examine::Examined};
use crate::{
    cli::VERSION,
    failure::{Exit, Failure},
    output::now_ms,
};
use pyroxene_gateway::views::rfc3339;
use serde::Serialize;
use serde_json::{Value, json};
use std::{
    env,
    io::{self, Write},
    path::Path,
};
use tempfile::NamedTempFile;

/// The most workers, and the most objects, in the file.
const MOST: usize = 1000;

/// Writes a new file as a whole, with access for its owner only.
pub(super) fn write(path: &Path, examined: &Examined) -> Result<(), Failure> {
    let cannot = |error: &dyn std::fmt::Display| {
        let path = path.display();
        Failure::new(
            Exit::Failed,
            format!("cannot write the bundle {path}: {error}"),
        )
    };
    let text = serde_json::to_string_pretty(&content(examined)).map_err(|error| cannot(&error))?;
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let write = || -> io::Result<()> {
        // `NamedTempFile` makes files with mode 0600.
        let mut draft = NamedTempFile::new_in(directory)?;
        writeln!(draft, "{text}")?;
        draft.persist_noclobber(path)?;
        Ok(())
    };
    write().map_err(|error| cannot(&error))
}

fn content(examined: &Examined) -> Value {
    let nameservers = examined.nameservers.iter().map(|(endpoint, answer)| {
        let endpoint = endpoint.to_string();
        match answer {
            Ok(status) => json!({"nameserver": endpoint, "status": status}),
            Err(reason) => json!({"nameserver": endpoint, "error": reason}),
        }
    });
    let variables = env::vars_os().filter_map(|(name, _)| {
        let name = name.to_string_lossy().into_owned();
        let is_ours = ["PYROXENE_", "OTEL_", "RUST_"];
        is_ours
            .iter()
            .any(|prefix| name.starts_with(prefix))
            .then_some(name)
    });
    json!({
        "version": VERSION,
        "system": format!("{} {}", env::consts::OS, env::consts::ARCH),
        "time": rfc3339(now_ms()),
        "variables": variables.collect::<Vec<_>>(),
        "findings": examined.findings.iter().map(Finding::to_json).collect::<Vec<_>>(),
        "nameservers": nameservers.collect::<Vec<_>>(),
        "workers": first(&examined.workers),
        "objects": first(&examined.objects),
    })
}

fn first<T: Serialize>(entries: &[T]) -> Value {
    let shown: Vec<&T> = entries.iter().take(MOST).collect();
    json!({"count": entries.len(), "first": shown})
}
