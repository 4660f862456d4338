//! The line editor, on a separate thread, because it blocks on keys.

use super::{
    command::spec,
    complete::{Vocabulary, complete},
};
use crate::{
    failure::{Exit, Failure},
    store::state_directory,
};
use rustyline::{
    CompletionType, Config, Context, Editor as Rustyline, ExternalPrinter, Helper,
    completion::Completer,
    error::ReadlineError,
    highlight::Highlighter,
    hint::{Hint, Hinter},
    history::FileHistory,
    validate::Validator,
};
use std::{
    borrow::Cow,
    fs::DirBuilder,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    sync::mpsc as requests,
    thread,
};
use tokio::sync::{mpsc, oneshot};

/// The number of lines in the history.
const MAX_HISTORY: usize = 1000;

/// The outcome of reading a line.
pub(super) enum EditorEvent {
    Line(String),
    /// The user gave the line up with Ctrl-C.
    Interrupted,
    /// There are no more lines.
    End,
    /// The terminal does not work.
    Broken(String),
}

/// The thread that reads lines, one at a time.
pub(super) struct Editor {
    line_requests: requests::Sender<()>,
    lines: mpsc::Receiver<EditorEvent>,
}

/// Prints above the line that is being edited.
pub(super) type Printer = Box<dyn ExternalPrinter + Send>;

impl Editor {
    /// Starts the thread. `history` is the file with the history.
    pub(super) async fn start(
        prompt: String,
        vocabulary: impl Vocabulary + Send + 'static,
        history: Option<PathBuf>,
    ) -> Result<(Self, Printer), Failure> {
        let (wanted, wishes) = requests::channel();
        let (sender, lines) = mpsc::channel(1);
        let (started, start) = oneshot::channel();
        thread::spawn(move || {
            let editor = match set_up(vocabulary, history.as_deref()) {
                Ok((editor, printer)) => {
                    // This fails only if the shell has ended.
                    drop(started.send(Ok(printer)));
                    editor
                }
                Err(error) => {
                    drop(started.send(Err(error)));
                    return;
                }
            };
            read_lines(editor, &prompt, history.as_deref(), &wishes, &sender);
        });
        let cannot = |why: String| Failure::new(Exit::Failed, format!("cannot edit lines: {why}"));
        let printer = start
            .await
            .map_err(|error| cannot(error.to_string()))?
            .map_err(|error| cannot(error.to_string()))?;
        Ok((
            Self {
                line_requests: wanted,
                lines,
            },
            printer,
        ))
    }

    /// Reads the next line.
    pub(super) async fn read(&mut self) -> EditorEvent {
        if self.line_requests.send(()).is_err() {
            return EditorEvent::End;
        }
        self.lines.recv().await.unwrap_or(EditorEvent::End)
    }
}

type LineEditor<V> = Rustyline<Assistant<V>, FileHistory>;

fn set_up<V: Vocabulary>(
    vocabulary: V,
    history: Option<&Path>,
) -> rustyline::Result<(LineEditor<V>, Printer)> {
    let config = Config::builder()
        .max_history_size(MAX_HISTORY)?
        .history_ignore_dups(true)?
        .history_ignore_space(true)
        .completion_type(CompletionType::List)
        .build();
    let mut editor = Rustyline::with_config(config)?;
    editor.set_helper(Some(Assistant(vocabulary)));
    if let Some(history) = history {
        // A missing or unreadable history is no error: it is only a convenience.
        drop(editor.load_history(history));
    }
    let printer = editor.create_external_printer()?;
    Ok((editor, Box::new(printer)))
}

fn read_lines<V: Vocabulary>(
    mut editor: LineEditor<V>,
    prompt: &str,
    history: Option<&Path>,
    wishes: &requests::Receiver<()>,
    lines: &mpsc::Sender<EditorEvent>,
) {
    let styled = format!("\x1b[1m{prompt}\x1b[0m");
    while wishes.recv().is_ok() {
        let read = match editor.readline(&(prompt, styled.as_str())) {
            Ok(line) => {
                // The line is saved at once: a terminal that is closed leaves no time for it.
                if editor.add_history_entry(&line).unwrap_or(false)
                    && let Some(history) = history
                {
                    drop(editor.append_history(history));
                }
                EditorEvent::Line(line)
            }
            Err(ReadlineError::Interrupted) => EditorEvent::Interrupted,
            Err(ReadlineError::Eof) => EditorEvent::End,
            Err(error) => EditorEvent::Broken(error.to_string()),
        };
        if lines.blocking_send(read).is_err() {
            return;
        }
    }
}

/// The file of the history, in a directory that only this user may read; `None` if there is no such
/// directory.
pub(super) fn history_file() -> Option<PathBuf> {
    let directory = state_directory().ok()?;
    let mut builder = DirBuilder::new();
    builder
        .recursive(true)
        .mode(0o700)
        .create(&directory)
        .ok()?;
    Some(directory.join("history"))
}

/// Completes words, and shows the usage of commands.
struct Assistant<V>(V);

impl<V: Vocabulary> Helper for Assistant<V> {}

impl<V> Validator for Assistant<V> {}

impl<V: Vocabulary> Completer for Assistant<V> {
    type Candidate = String;

    fn complete(
        &self,
        line: &str,
        position: usize,
        _: &Context<'_>,
    ) -> rustyline::Result<(usize, Vec<String>)> {
        let before = line.get(..position).unwrap_or(line);
        Ok(complete(before, &self.0))
    }
}

/// The usage of a command, shown after its name.
struct UsageHint(&'static str);

impl Hint for UsageHint {
    fn display(&self) -> &str {
        self.0
    }

    fn completion(&self) -> Option<&str> {
        None
    }
}

impl<V> Hinter for Assistant<V> {
    type Hint = UsageHint;

    fn hint(&self, line: &str, position: usize, _: &Context<'_>) -> Option<UsageHint> {
        usage_hint(line.get(..position)?, line.len() == position).map(UsageHint)
    }
}

/// The usage of a command, if the line has only its name so far.
fn usage_hint(line: &str, at_end: bool) -> Option<&'static str> {
    let spec = spec(line.trim_start().strip_suffix(' ')?)?;
    (at_end && !spec.usage.is_empty()).then_some(spec.usage)
}

impl<V> Highlighter for Assistant<V> {
    fn highlight_hint<'h>(&self, hint: &'h str) -> Cow<'h, str> {
        Cow::Owned(format!("\x1b[2m{hint}\x1b[0m"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_alone_shows_what_it_wants() {
        assert_eq!(usage_hint("/describe ", true), Some("OBJECT"));
        assert_eq!(usage_hint("/describe", true), None);
        assert_eq!(usage_hint("/describe e", true), None);
        assert_eq!(usage_hint("/describe ", false), None);
        assert_eq!(usage_hint("/workers ", true), None);
        assert_eq!(usage_hint("hello ", true), None);
    }
}
