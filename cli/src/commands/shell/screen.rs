//! The output of the shell. One writer at a time owns the terminal.
//!
//! While a line is being edited, only the editor can print above it, and it may block. So lines that arrive
//! by themselves, such as messages, go through a separate thread. The output of a command is written at once.

use super::editor::Printer;
use crate::{
    commands::call::{WriteOutput, print_result},
    failure::Failure,
    output::print,
    progress::Bar,
    terminal::TerminalModes,
};
use indicatif::ProgressBar;
use pyroxene_common::clean;
use std::{
    io::{self, Write},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
};
use tokio::sync::mpsc;

/// The number of announcements that may be queued.
const MAX_QUEUED_LINES: usize = 256;

/// Standard output and standard error.
pub(super) struct ShellScreen {
    owner: Arc<Mutex<TerminalOwner>>,
    /// The queue of the thread that announces; `None` if there is no terminal.
    announcer: Option<mpsc::Sender<String>>,
}

/// The owner of the terminal.
enum TerminalOwner {
    /// A command, perhaps with a progress bar.
    Command(Option<ProgressBar>),
    /// The editor.
    Editor,
}

impl TerminalOwner {
    /// Runs `write`, which may write to the terminal, with the bar hidden.
    fn with_bar_suspended<T>(&self, write: impl FnOnce() -> T) -> T {
        match self {
            Self::Command(Some(bar)) => bar.suspend(write),
            Self::Command(None) | Self::Editor => write(),
        }
    }
}

impl ShellScreen {
    /// The screen for a script.
    pub(super) fn plain() -> Arc<Self> {
        let place = Arc::new(Mutex::new(TerminalOwner::Command(None)));
        Arc::new(Self {
            owner: place,
            announcer: None,
        })
    }

    /// The screen for a person at a terminal. `printer` prints above the line that is being edited.
    pub(super) fn terminal(printer: Printer) -> Arc<Self> {
        let place = Arc::new(Mutex::new(TerminalOwner::Command(None)));
        let (sender, receiver) = mpsc::channel(MAX_QUEUED_LINES);
        let announcing = Arc::clone(&place);
        thread::spawn(move || announce_all(receiver, printer, &announcing));
        Arc::new(Self {
            owner: place,
            announcer: Some(sender),
        })
    }

    /// Whether this is the screen of a terminal.
    pub(super) fn is_terminal(&self) -> bool {
        self.announcer.is_some()
    }

    /// Prints the output of a command.
    pub(super) fn print(&self, text: &str) -> Result<(), Failure> {
        lock(&self.owner).with_bar_suspended(|| print(text))
    }

    /// Runs what writes the output of a command.
    pub(super) fn write(&self, write: WriteOutput<'_>) -> Result<(), Failure> {
        lock(&self.owner).with_bar_suspended(write)
    }

    /// Prints the result of a call.
    pub(super) fn print_result(&self, json: &str) -> Result<(), Failure> {
        lock(&self.owner).with_bar_suspended(|| print_result(json))
    }

    /// Reports a failure.
    pub(super) fn report_failure(&self, failure: &Failure) {
        lock(&self.owner).with_bar_suspended(|| failure.report());
    }

    /// Prints a line that is not the output of a command, above the line that is being edited.
    pub(super) async fn announce(&self, line: &str) {
        match &self.announcer {
            // This fails only if the thread has ended, because it could not print.
            Some(announcer) => drop(announcer.send(format!("{}\n", clean::line(line))).await),
            // A closed output is not reported here: the next command reports it.
            None => drop(self.print(line)),
        }
    }

    /// Gives the terminal to the editor, until the returned value is dropped.
    pub(super) fn edit(&self) -> EditingGuard<'_> {
        *lock(&self.owner) = TerminalOwner::Editor;
        EditingGuard(self)
    }

    /// Shows a progress bar of `steps` steps until it is dropped, if standard error is a terminal.
    pub(super) fn progress(&self, steps: u64) -> ShellProgressBar<'_> {
        let modes = self
            .is_terminal()
            .then(TerminalModes::without_control_characters);
        let template = "{bar:30} {pos}/{len} · {msg} · {elapsed} · {eta} left";
        let bar = Bar::new(Some(steps), template);
        *lock(&self.owner) = TerminalOwner::Command(Some((*bar).clone()));
        ShellProgressBar {
            screen: self,
            bar,
            modes,
        }
    }

    fn release(&self) {
        *lock(&self.owner) = TerminalOwner::Command(None);
    }
}

/// The editor owns the terminal while this value exists.
pub(super) struct EditingGuard<'a>(&'a ShellScreen);

impl Drop for EditingGuard<'_> {
    fn drop(&mut self) {
        self.0.release();
    }
}

/// A progress bar on the screen.
pub(super) struct ShellProgressBar<'a> {
    screen: &'a ShellScreen,
    bar: Bar,
    /// The modes of the terminal before the bar was shown.
    modes: Option<TerminalModes>,
}

impl ShellProgressBar<'_> {
    /// Counts one more step as done.
    pub(super) fn advance(&self, message: String) {
        self.bar.inc(1);
        self.bar.set_message(message);
    }
}

impl Drop for ShellProgressBar<'_> {
    /// Removes the bar.
    fn drop(&mut self) {
        self.screen.release();
        self.bar.finish_and_clear();
        if let Some(modes) = &self.modes {
            modes.restore();
        }
    }
}

fn announce_all(
    mut lines: mpsc::Receiver<String>,
    mut printer: Printer,
    place: &Mutex<TerminalOwner>,
) {
    while let Some(line) = lines.blocking_recv() {
        let place = lock(place);
        let printed = match &*place {
            TerminalOwner::Command(_) => place.with_bar_suspended(|| {
                let mut stdout = io::stdout().lock();
                stdout
                    .write_all(line.as_bytes())
                    .and_then(|()| stdout.flush())
            }),
            TerminalOwner::Editor => {
                // The lock is released first: the editor may be busy for a while, and others must not wait
                // for it.
                drop(place);
                printer.print(line).map_err(io::Error::other)
            }
        };
        if printed.is_err() {
            return;
        }
    }
}

fn lock(place: &Mutex<TerminalOwner>) -> MutexGuard<'_, TerminalOwner> {
    place.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustyline::ExternalPrinter;
    use std::sync::mpsc as channel;

    /// An editor that prints into a channel.
    struct Editor(channel::Sender<String>);

    impl ExternalPrinter for Editor {
        fn print(&mut self, text: String) -> rustyline::Result<()> {
            self.0.send(text).map_err(io::Error::other)?;
            Ok(())
        }
    }

    #[tokio::test]
    async fn announcements_go_above_the_line_that_is_edited() {
        let (sender, printed) = channel::channel();
        let screen = ShellScreen::terminal(Box::new(Editor(sender)));
        let editing = screen.edit();
        screen.announce("ana: hello\n\x1b[2J").await;
        let line = tokio::task::spawn_blocking(move || printed.recv()).await;
        assert_eq!(line.unwrap().unwrap(), "ana: hello\\n\\u{1b}[2J\n");
        drop(editing);
        assert!(matches!(*lock(&screen.owner), TerminalOwner::Command(None)));
    }
}
