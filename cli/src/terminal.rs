//! The terminal's width, and its modes, which a program must leave as it found them.
//!
//! A line editor turns echo off while a line is being edited, and cannot turn it on again if the program ends
//! meanwhile.

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};
use std::{
    io::{self, Write},
    os::fd::AsFd,
};

/// The number of columns of the terminal on standard output; `None` if it is not a terminal, or does not
/// report it.
pub(crate) fn columns() -> Option<usize> {
    columns_of(io::stdout())
}

/// The same of standard error.
pub(crate) fn error_columns() -> Option<usize> {
    columns_of(io::stderr())
}

fn columns_of(output: impl AsFd) -> Option<usize> {
    let size = tcgetwinsize(output).ok()?;
    Some(usize::from(size.ws_col)).filter(|columns| *columns > 0)
}

/// The saved modes of the terminal on standard input; `None` if it is not a terminal.
pub(crate) struct TerminalModes(Option<Termios>);

impl TerminalModes {
    /// Saves the current modes.
    pub(crate) fn now() -> Self {
        Self(tcgetattr(io::stdin()).ok())
    }

    /// Stops the terminal from showing Ctrl-C as `^C`, which would move the line of a progress bar. Returns
    /// the modes before that.
    pub(crate) fn without_control_characters() -> Self {
        let before = Self::now();
        if let Some(modes) = &before.0 {
            let mut modes = modes.clone();
            modes.local_modes.remove(LocalModes::ECHOCTL);
            set(&modes);
        }
        before
    }

    /// Restores the saved modes.
    pub(crate) fn restore(&self) {
        if let Some(modes) = &self.0 {
            set(modes);
        }
    }

    /// Restores the saved modes while a line may be being edited, and leaves that line.
    pub(crate) fn restore_from_editing(&self) {
        /// Turns bracketed paste off, and begins a new line.
        const NO_BRACKETED_PASTE: &[u8] = b"\x1b[?2004l\r\n";
        if self.0.is_none() {
            return;
        }
        self.restore();
        let mut stdout = io::stdout();
        // If this fails, nobody sees the terminal.
        let _ = stdout
            .write_all(NO_BRACKETED_PASTE)
            .and_then(|()| stdout.flush());
    }
}

fn set(modes: &Termios) {
    // This fails only if the terminal is gone.
    let _ = tcsetattr(io::stdin(), OptionalActions::Now, modes);
}
