//! A terminal with a command at it, as a person has one.

use super::{Broker, PYROXENE, eventually, in_time, process::command, seconds};
use rustix::{
    fs::{Mode, OFlags},
    process::{Pid, Signal, kill_process},
    pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
    termios::{InputModes, LocalModes, OutputModes, Winsize, tcgetattr, tcsetwinsize},
};
use std::{
    fs::File,
    io::{Read, Write},
    os::fd::OwnedFd,
    path::Path,
    process::ExitStatus,
    sync::{Arc, Mutex},
    thread,
};
use tokio::process::Child;

/// What the terminal does with what is typed and shown.
pub(crate) type Modes = (InputModes, OutputModes, LocalModes);

/// A terminal at which a command runs.
pub(crate) struct Terminal {
    child: Child,
    /// Where the person is.
    outer: File,
    /// Where the command is. Open here too, so that the terminal outlives it.
    inner: OwnedFd,
    shown: Arc<Mutex<Vec<u8>>>,
}

impl Terminal {
    /// Runs a client command on a broker, at a terminal of its own. Gives the terminal's modes before
    /// that too.
    pub(crate) fn start(broker: &Broker, arguments: &[&str]) -> (Self, Modes) {
        Self::of_width(100, broker, arguments)
    }

    /// The same, with a terminal of so many columns.
    pub(crate) fn of_width(columns: u16, broker: &Broker, arguments: &[&str]) -> (Self, Modes) {
        let outer = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
        grantpt(&outer).unwrap();
        unlockpt(&outer).unwrap();
        let name = ptsname(&outer, Vec::new()).unwrap();
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
        let inner = rustix::fs::open(name, flags, Mode::empty()).unwrap();
        let size = Winsize {
            ws_row: 30,
            ws_col: columns,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        tcsetwinsize(&inner, size).unwrap();
        let before = modes(&inner);
        let inner_again = || inner.try_clone().unwrap();
        let child = command(Path::new(PYROXENE), broker.dir())
            .args(arguments)
            .args(["--nameserver", &broker.addresses()])
            .env("TERM", "xterm")
            .current_dir(broker.dir())
            .stdin(inner_again())
            .stdout(inner_again())
            .stderr(inner_again())
            .spawn()
            .unwrap();
        let outer = File::from(outer);
        let shown = Arc::<Mutex<Vec<u8>>>::default();
        let (mut reader, read) = (outer.try_clone().unwrap(), Arc::clone(&shown));
        // Ends when nobody has the inner side open any more.
        thread::spawn(move || {
            let mut piece = [0; 4096];
            while let Ok(length @ 1..) = reader.read(&mut piece) {
                read.lock().unwrap().extend(&piece[..length]);
            }
        });
        let terminal = Self {
            child,
            outer,
            inner,
            shown,
        };
        (terminal, before)
    }

    pub(crate) fn modes(&self) -> Modes {
        modes(&self.inner)
    }

    /// Types.
    pub(crate) fn type_in(&mut self, text: &str) {
        self.outer.write_all(text.as_bytes()).unwrap();
    }

    /// Waits until this is shown somewhere.
    pub(crate) async fn shows(&self, text: &str) {
        eventually(&format!("'{text}' is shown"), || async {
            let shown = String::from_utf8_lossy(&self.shown.lock().unwrap()).into_owned();
            shown.contains(text).then_some(()).ok_or(shown)
        })
        .await;
    }

    /// What was shown until now.
    pub(crate) fn shown_so_far(&self) -> String {
        String::from_utf8_lossy(&self.shown.lock().unwrap()).into_owned()
    }

    /// Everything that was shown by the time the command had ended.
    pub(crate) async fn all(mut self) -> String {
        self.ended().await;
        drop(self.inner);
        // The reader ends when nobody has the terminal open any more, and drops its share then.
        eventually("everything is read", || async {
            let left = Arc::strong_count(&self.shown);
            (left == 1).then_some(()).ok_or(left.to_string())
        })
        .await;
        String::from_utf8_lossy(&self.shown.lock().unwrap()).into_owned()
    }

    /// Waits until its modes are such.
    pub(crate) async fn has(&self, what: &str, is_so: impl Fn(Modes) -> bool) {
        eventually(what, || async {
            let modes = self.modes();
            is_so(modes).then_some(()).ok_or(format!("{modes:?}"))
        })
        .await;
    }

    /// Sends the command a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        let pid = self.child.id().and_then(|id| i32::try_from(id).ok());
        let pid = pid.and_then(Pid::from_raw).expect("it runs");
        kill_process(pid, signal).unwrap();
    }

    /// Waits until the command has ended.
    pub(crate) async fn ended(&mut self) -> ExitStatus {
        in_time(seconds(30), "the command's end", self.child.wait())
            .await
            .unwrap()
    }
}

fn modes(terminal: &OwnedFd) -> Modes {
    let modes = tcgetattr(terminal).unwrap();
    (modes.input_modes, modes.output_modes, modes.local_modes)
}
