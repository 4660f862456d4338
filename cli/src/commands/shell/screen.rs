//! Where the shell writes, from one place at a time.
//!
//! While a line is edited, only the editor knows how to print above it, and it may take its time; so
//! what comes by itself goes through a thread of its own. What a command prints goes out at once.

use super::editor::Printer;
use crate::{commands::call::print_result, failure::Failure, output::print, terminal::Modes};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use pyroxene_common::clean;
use std::{
    io::{self, IsTerminal, Write},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};
use tokio::sync::mpsc;

/// How much may wait to be announced.
const WAITING: usize = 256;

/// Standard output and standard error.
pub(super) struct Screen {
    place: Arc<Mutex<Place>>,
    /// To the thread that announces, on a terminal.
    announcer: Option<mpsc::Sender<String>>,
}

/// Who has the terminal.
enum Place {
    /// A command, perhaps with a progress bar.
    Command(Option<ProgressBar>),
    /// The editor.
    Editor,
}

impl Place {
    /// Does something that may write to the terminal.
    fn aside<T>(&self, write: impl FnOnce() -> T) -> T {
        match self {
            Self::Command(Some(bar)) => bar.suspend(write),
            Self::Command(None) | Self::Editor => write(),
        }
    }
}

impl Screen {
    /// For commands that come from a script.
    pub(super) fn plain() -> Arc<Self> {
        let place = Arc::new(Mutex::new(Place::Command(None)));
        Arc::new(Self {
            place,
            announcer: None,
        })
    }

    /// For a person at a terminal. `printer` prints above the line that is edited.
    pub(super) fn terminal(printer: Printer) -> Arc<Self> {
        let place = Arc::new(Mutex::new(Place::Command(None)));
        let (sender, receiver) = mpsc::channel(WAITING);
        let announcing = Arc::clone(&place);
        thread::spawn(move || announce_all(receiver, printer, &announcing));
        Arc::new(Self {
            place,
            announcer: Some(sender),
        })
    }

    /// Whether a person sits there.
    pub(super) fn is_terminal(&self) -> bool {
        self.announcer.is_some()
    }

    /// Prints what a command has to say.
    pub(super) fn print(&self, text: &str) -> Result<(), Failure> {
        lock(&self.place).aside(|| print(text))
    }

    /// Prints the result of a call.
    pub(super) fn print_result(&self, json: &str) -> Result<(), Failure> {
        lock(&self.place).aside(|| print_result(json))
    }

    /// Says what went wrong.
    pub(super) fn complain(&self, failure: &Failure) {
        lock(&self.place).aside(|| failure.report());
    }

    /// Prints a line that comes by itself, above the one that is edited.
    pub(super) async fn announce(&self, line: &str) {
        match &self.announcer {
            // Nobody is left to be told once the thread is gone.
            Some(announcer) => drop(announcer.send(format!("{}\n", clean::line(line))).await),
            // Nobody there to read it is not this line's failure: the next command will tell.
            None => drop(self.print(line)),
        }
    }

    /// Gives the terminal to the editor, until that is dropped.
    pub(super) fn edit(&self) -> Editing<'_> {
        *lock(&self.place) = Place::Editor;
        Editing(self)
    }

    /// Shows a progress bar over so many steps, if standard error is a terminal, until it is dropped.
    pub(super) fn progress(&self, steps: u64) -> Progress<'_> {
        let modes = self.is_terminal().then(Modes::without_control_characters);
        let bar = match io::stderr().is_terminal() {
            true => ProgressBar::with_draw_target(Some(steps), ProgressDrawTarget::stderr()),
            false => ProgressBar::hidden(),
        };
        let template = "{bar:30} {pos}/{len} · {msg} · {elapsed} · {eta} left";
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        bar.enable_steady_tick(Duration::from_millis(100));
        *lock(&self.place) = Place::Command(Some(bar.clone()));
        Progress {
            screen: self,
            bar,
            modes,
        }
    }

    fn free(&self) {
        *lock(&self.place) = Place::Command(None);
    }
}

/// While a line is edited.
pub(super) struct Editing<'a>(&'a Screen);

impl Drop for Editing<'_> {
    fn drop(&mut self) {
        self.0.free();
    }
}

/// A progress bar on the screen.
pub(super) struct Progress<'a> {
    screen: &'a Screen,
    bar: ProgressBar,
    /// The terminal's modes from before.
    modes: Option<Modes>,
}

impl Progress<'_> {
    /// One more is done.
    pub(super) fn advance(&self, message: String) {
        self.bar.inc(1);
        self.bar.set_message(message);
    }
}

impl Drop for Progress<'_> {
    /// Takes the bar away.
    fn drop(&mut self) {
        self.screen.free();
        self.bar.finish_and_clear();
        if let Some(modes) = &self.modes {
            modes.restore();
        }
    }
}

fn announce_all(mut lines: mpsc::Receiver<String>, mut printer: Printer, place: &Mutex<Place>) {
    while let Some(line) = lines.blocking_recv() {
        let place = lock(place);
        let printed = match &*place {
            Place::Command(_) => place.aside(|| {
                let mut stdout = io::stdout().lock();
                stdout
                    .write_all(line.as_bytes())
                    .and_then(|()| stdout.flush())
            }),
            Place::Editor => {
                // The editor may be busy for a while, and whoever wants the place must not wait.
                drop(place);
                printer.print(line).map_err(io::Error::other)
            }
        };
        if printed.is_err() {
            return;
        }
    }
}

fn lock(place: &Mutex<Place>) -> MutexGuard<'_, Place> {
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
        let screen = Screen::terminal(Box::new(Editor(sender)));
        let editing = screen.edit();
        screen.announce("ana: hello\n\x1b[2J").await;
        let line = tokio::task::spawn_blocking(move || printed.recv()).await;
        assert_eq!(line.unwrap().unwrap(), "ana: hello\\n\\u{1b}[2J\n");
        drop(editing);
        assert!(matches!(*lock(&screen.place), Place::Command(None)));
    }
}
