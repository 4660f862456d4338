//! A browser window, and what one does with it.

use crate::harness::{Broker, Process, eventually_within, seconds};
use serde_json::Value;
use std::{fmt::Write as _, fs, os::unix::fs::PermissionsExt, path::Path, time::Duration};
use tempfile::TempDir;
use thirtyfour::{ChromeCapabilities, Key, LoggingPrefsLogLevel, prelude::*};
use tokio::process::Command;

/// How long something may take that needs no more than a moment: the machine runs other tests too.
const PATIENCE: Duration = seconds(20);

/// Starts the browser so that it ends with its driver, however that ends.
const BROWSER: &str = "#!/bin/sh\nexec setpriv --pdeathsig KILL chromium \"$@\"\n";

/// A window of Chromium on the dashboard of a broker.
pub(crate) struct Window {
    driver: WebDriver,
    origin: String,
    _chromedriver: Process,
    _dir: TempDir,
}

/// Opens a window on a broker's first name server; `None`, with a line that says so, where there is no
/// browser.
pub(crate) async fn open(broker: &mut Broker) -> Option<Window> {
    let origin = format!("http://{}", broker.nameserver(0).address());
    open_at(&origin).await
}

/// The same, at an address.
pub(crate) async fn open_at(origin: &str) -> Option<Window> {
    if let Some(missing) = ["chromium", "chromedriver"]
        .into_iter()
        .find(|name| !is_installed(name))
    {
        let required = std::env::var("CI").is_ok_and(|value| value == "true");
        assert!(
            !required,
            "{missing} is not installed, and CI=true demands it"
        );
        eprintln!("SKIPPED: {missing} is not installed (Debian: chromium chromium-driver)");
        return None;
    }
    let dir = TempDir::new().unwrap();
    let mut command = Command::new("setpriv");
    command
        .args(["--pdeathsig", "KILL", "chromedriver", "--port=0"])
        .kill_on_drop(true);
    let mut chromedriver = Process::start("chromedriver", command, dir.path());
    let port = driver_port(&mut chromedriver).await;
    let driver = WebDriver::new(format!("http://127.0.0.1:{port}"), capabilities(dir.path()))
        .await
        .unwrap();
    let window = Window {
        driver,
        origin: origin.to_owned(),
        _chromedriver: chromedriver,
        _dir: dir,
    };
    window.resize(1440, 900).await;
    Some(window)
}

fn is_installed(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|dir| dir.join(program).is_file())
}

async fn driver_port(chromedriver: &mut Process) -> u16 {
    loop {
        let line = chromedriver.line().await;
        if let Some((_, port)) = line.split_once("started successfully on port ") {
            return port.trim_end_matches('.').parse().unwrap();
        }
    }
}

fn capabilities(dir: &Path) -> ChromeCapabilities {
    let browser = dir.join("browser");
    fs::write(&browser, BROWSER).unwrap();
    fs::set_permissions(&browser, fs::Permissions::from_mode(0o755)).unwrap();
    let mut capabilities = DesiredCapabilities::chrome();
    capabilities.set_binary(browser.to_str().unwrap()).unwrap();
    let profile = format!("--user-data-dir={}", dir.join("profile").display());
    // Tests run as root in containers, where the sandbox does not start and /dev/shm is small.
    for flag in [
        "--headless=new",
        "--no-sandbox",
        "--disable-dev-shm-usage",
        &profile,
    ] {
        capabilities.add_arg(flag).unwrap();
    }
    capabilities
        .set_browser_log_level(LoggingPrefsLogLevel::Severe)
        .unwrap();
    capabilities
}

impl Window {
    /// Gives it another size, in pixels.
    pub(crate) async fn resize(&self, width: u32, height: u32) {
        self.driver
            .set_window_rect(0, 0, width, height)
            .await
            .unwrap();
    }

    /// Opens a page of the dashboard.
    pub(crate) async fn go(&self, path: &str) {
        let address = format!("{}{path}", self.origin);
        self.driver.goto(address).await.unwrap();
    }

    /// Waits until an element that `css` selects has this text.
    pub(crate) async fn sees(&self, css: &str, text: &str) {
        self.sees_within(PATIENCE, css, text).await;
    }

    /// The same, in this time.
    pub(crate) async fn sees_within(&self, patience: Duration, css: &str, text: &str) {
        let what = format!("'{css}' says '{text}'");
        eventually_within(patience, &what, || async {
            let found = self.texts(css).await?;
            let seen = found.iter().any(|shown| shown.contains(text));
            if seen {
                Ok(())
            } else {
                Err(self.shown(&found).await)
            }
        })
        .await;
    }

    /// Waits until no element that `css` selects has this text.
    pub(crate) async fn misses(&self, css: &str, text: &str) {
        let what = format!("'{css}' no longer says '{text}'");
        eventually_within(PATIENCE, &what, || async {
            let found = self.texts(css).await?;
            let seen = found.iter().any(|shown| shown.contains(text));
            if seen {
                Err(format!("{found:?}"))
            } else {
                Ok(())
            }
        })
        .await;
    }

    /// Clicks on the first element that `css` selects and that has this text.
    pub(crate) async fn click(&self, css: &str, text: &str) {
        let what = format!("a click on '{css}' with '{text}'");
        eventually_within(PATIENCE, &what, || async {
            for element in self.find(css).await? {
                let shown = element.text().await.map_err(|error| error.to_string())?;
                if shown.contains(text) {
                    return element.click().await.map_err(|error| error.to_string());
                }
            }
            Err(self.shown(&self.texts(css).await?).await)
        })
        .await;
    }

    /// Types text into the element that `css` selects, in the place of what it has.
    pub(crate) async fn fill(&self, css: &str, text: &str) {
        let what = format!("text in '{css}'");
        eventually_within(PATIENCE, &what, || async {
            let found = self.find(css).await?;
            let Some(element) = found.first() else {
                return Err(self.shown(&[]).await);
            };
            // As a person does it. WebDriver's own clearing is no input: a page that draws itself anew just
            // then would put the old text back.
            let filled = async {
                element.send_keys(Key::Control + "a").await?;
                element.send_keys(text).await
            };
            filled
                .await
                .map_err(|error: WebDriverError| error.to_string())
        })
        .await;
    }

    /// Chooses an option of a list.
    pub(crate) async fn choose(&self, css: &str, option: &str) {
        self.click(&format!("{css} option"), option).await;
    }

    /// What a script answers, in the page.
    pub(crate) async fn run(&self, script: &str) -> Value {
        let answered = self
            .driver
            .execute(script, Vec::<Value>::new())
            .await
            .unwrap();
        answered.json().clone()
    }

    /// The same, for a script that hands its answer to its last argument, within two minutes.
    pub(crate) async fn run_async(&self, script: &str) -> Value {
        self.driver.set_script_timeout(seconds(120)).await.unwrap();
        let answered = self
            .driver
            .execute_async(script, Vec::<Value>::new())
            .await
            .unwrap();
        answered.json().clone()
    }

    /// Waits until the page is up to date with the broker.
    pub(crate) async fn is_live(&self) {
        self.sees("#connection[data-state=live]", "Live").await;
    }

    /// Ends it. The browser must have had nothing to complain about: no script that failed, nothing that
    /// the policy of contents refused.
    pub(crate) async fn close(self) {
        let complaints: Vec<String> = self.complaints().await;
        assert!(
            complaints.is_empty(),
            "the browser complained: {complaints:#?}"
        );
        self.driver.quit().await.unwrap();
    }

    async fn complaints(&self) -> Vec<String> {
        let entries = self.driver.browser_log().await.unwrap();
        let messages = entries.into_iter().map(|entry| entry.message);
        let of_the_page = |message: &String| {
            ["Uncaught", "Content Security Policy", "violates"]
                .iter()
                .any(|words| message.contains(words))
        };
        messages.filter(of_the_page).collect()
    }

    async fn find(&self, css: &str) -> Result<Vec<WebElement>, String> {
        let found = self.driver.find_all(By::Css(css)).await;
        found.map_err(|error| error.to_string())
    }

    async fn texts(&self, css: &str) -> Result<Vec<String>, String> {
        let mut texts = Vec::new();
        for element in self.find(css).await? {
            // It may have been drawn anew meanwhile.
            texts.push(element.text().await.map_err(|error| error.to_string())?);
        }
        Ok(texts)
    }

    /// What there is to see instead, for whoever reads the failure.
    async fn shown(&self, found: &[String]) -> String {
        let mut shown = format!("{found:?}; the page:\n");
        let text = self.texts("body").await.unwrap_or_default();
        let _ = write!(shown, "{}", text.join("\n"));
        shown
    }
}
