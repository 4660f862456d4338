//! The terminal's width, and its modes, which a program must leave as it found them.
//!
//! A line editor turns echo off while a line is edited, and has no chance to turn it on again if the
//! program ends meanwhile.

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};
use std::io::{self, Write};

/// How many columns the terminal on standard output has; nothing if it is no terminal, or does not
/// know.
pub(crate) fn columns() -> Option<usize> {
    let size = tcgetwinsize(io::stdout()).ok()?;
    Some(usize::from(size.ws_col)).filter(|columns| *columns > 0)
}

/// The modes of the terminal on standard input as they were, or nothing if it is no terminal.
pub(crate) struct Modes(Option<Termios>);

impl Modes {
    /// As they are now.
    pub(crate) fn now() -> Self {
        Self(tcgetattr(io::stdin()).ok())
    }

    /// Turns off that the terminal shows a Ctrl-C as `^C`, which would move what a progress bar takes
    /// for its line. Answers the modes before that.
    pub(crate) fn without_control_characters() -> Self {
        let before = Self::now();
        if let Some(modes) = &before.0 {
            let mut modes = modes.clone();
            modes.local_modes.remove(LocalModes::ECHOCTL);
            set(&modes);
        }
        before
    }

    /// Makes them as they were.
    pub(crate) fn restore(&self) {
        if let Some(modes) = &self.0 {
            set(modes);
        }
    }

    /// Makes them as they were while a line may be edited, and leaves that line.
    pub(crate) fn restore_from_editing(&self) {
        /// Pasted text is not marked any more.
        const NO_BRACKETED_PASTE: &[u8] = b"\x1b[?2004l\r\n";
        if self.0.is_none() {
            return;
        }
        self.restore();
        let mut stdout = io::stdout();
        // Nobody sees it: then it is of no use either.
        let _ = stdout
            .write_all(NO_BRACKETED_PASTE)
            .and_then(|()| stdout.flush());
    }
}

fn set(modes: &Termios) {
    // A terminal that is gone has no modes to care about.
    let _ = tcsetattr(io::stdin(), OptionalActions::Now, modes);
}
