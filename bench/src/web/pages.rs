//! The first load of the dashboard: every file that the page asks for, as it comes over the wire.

use std::{
    collections::{BTreeSet, VecDeque},
    io::Read,
    net::SocketAddr,
};

use anyhow::Result;
use flate2::read::GzDecoder;

use super::connection::HttpConnection;
use crate::figure::{Figure, FigureTarget};

pub(super) async fn measure(address: SocketAddr) -> Result<Vec<Figure>> {
    let mut connection = HttpConnection::open(address).await?;
    let mut waiting = VecDeque::from(["/".to_owned()]);
    let mut asked: BTreeSet<String> = BTreeSet::new();
    let mut bytes = 0;
    while let Some(path) = waiting.pop_front() {
        if !asked.insert(path.clone()) {
            continue;
        }
        let request =
            format!("GET {path} HTTP/1.1\r\nhost: {address}\r\naccept-encoding: gzip\r\n\r\n");
        let head = connection.send(request.as_bytes()).await?;
        let body = connection.body(&head).await?;
        bytes += head.size + body.len();
        let text = match head.header("content-encoding") {
            Some("gzip") => {
                let mut text = String::new();
                GzDecoder::new(&*body).read_to_string(&mut text)?;
                text
            }
            _ => String::from_utf8_lossy(&body).into_owned(),
        };
        waiting.extend(mentioned(&path, &text));
    }
    let kibibytes = bytes as f64 / 1024.0;
    Ok(vec![
        Figure::new("first load of the dashboard", kibibytes, "KiB")
            .target(FigureTarget::AtMost(150.0)),
        Figure::new("files of it", asked.len() as f64, "files"),
    ])
}

/// The files that a page or a module names.
fn mentioned(path: &str, text: &str) -> Vec<String> {
    let is_page = path == "/";
    if !is_page && !path.ends_with(".js") {
        return Vec::new();
    }
    // A module names others by their place, and a page by their path.
    let quoted = text.split('"').skip(1).step_by(2);
    let named = quoted.filter_map(|text| match text {
        text if text.starts_with("/assets/") && is_page => Some(text.to_owned()),
        text if text.starts_with("./") || text.starts_with("../") => resolve(path, text),
        _ => None,
    });
    named.filter(|path| path.contains('.')).collect()
}

/// The path of what stands at a place beside a module.
fn resolve(base: &str, place: &str) -> Option<String> {
    let mut parts: Vec<&str> = base.split('/').collect();
    parts.pop();
    for part in place.split('/') {
        match part {
            "." => {}
            ".." => {
                parts.pop()?;
            }
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modules_are_found_from_pages_and_from_modules() {
        let page = r#"<link href="/assets/a.css"><script src="/assets/app.js"></script>"#;
        assert_eq!(mentioned("/", page), ["/assets/a.css", "/assets/app.js"]);
        let module = r#"import { x } from "../lib/x.js"; const text = "./"; import "./y.js";"#;
        let found = mentioned("/assets/pages/p.js", module);
        assert_eq!(found, ["/assets/lib/x.js", "/assets/pages/y.js"]);
    }
}
