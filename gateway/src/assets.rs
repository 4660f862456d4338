//! The pages of the dashboard: files in this program, compressed once when they are first asked for.

use crate::{compress, problem::Problem};
use axum::{
    body::Body,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::Response,
};
use bytes::Bytes;
use flate2::Compression;
use rust_embed::RustEmbed;
use std::{
    collections::HashMap,
    sync::{LazyLock, Mutex, PoisonError},
};

#[derive(RustEmbed)]
#[folder = "assets"]
struct Files;

/// Compressed files by name. The names are those of the files in this program, so their number is bounded.
static COMPRESSED: LazyLock<Mutex<HashMap<String, Bytes>>> = LazyLock::new(Mutex::default);

/// The page that every address of the dashboard shows.
pub(crate) const INDEX: &str = "index.html";

/// One file.
struct Asset {
    content: Bytes,
    tag: String,
}

/// Answers a file of the dashboard.
pub(crate) fn answer(path: &str, headers: &HeaderMap) -> Result<Response, Problem> {
    let missing = || Problem::not_found(format!("there is no page '{}'", path.escape_debug()));
    let asset = find(path).ok_or_else(missing)?;
    let given = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let mut response = Response::new(Body::empty());
    let answered = response.headers_mut();
    // The address stays the same when the program is updated, so the browser always asks.
    answered.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    answered.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
    if let Ok(tag) = HeaderValue::from_str(&asset.tag) {
        answered.insert(header::ETAG, tag);
    }
    if given(header::IF_NONE_MATCH) == Some(&asset.tag) {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        return Ok(response);
    }
    let kind = HeaderValue::from_static(media_type(path));
    answered.insert(header::CONTENT_TYPE, kind);
    let content = match compress::is_accepted(headers) && is_text(path) {
        true => {
            compress::mark(answered);
            compressed(path, &asset)
        }
        false => asset.content,
    };
    *response.body_mut() = Body::from(content);
    Ok(response)
}

fn find(path: &str) -> Option<Asset> {
    if let Some(found) = from_disk(path) {
        return found;
    }
    let file = Files::get(path)?;
    let hash = file.metadata.sha256_hash();
    let tag: String = hash
        .iter()
        .take(8)
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let content = match file.data {
        std::borrow::Cow::Borrowed(content) => Bytes::from_static(content),
        std::borrow::Cow::Owned(content) => content.into(),
    };
    Some(Asset {
        content,
        tag: format!("\"{tag}\""),
    })
}

/// The file in the directory that `PYROXENE_DASHBOARD_DIR` names, for those who work on the pages. The outer
/// `None` where there is no such directory.
#[cfg(debug_assertions)]
fn from_disk(path: &str) -> Option<Option<Asset>> {
    let directory = std::env::var_os("PYROXENE_DASHBOARD_DIR")?;
    if path.split('/').any(|part| part == ".." || part.is_empty()) {
        return Some(None);
    }
    let content = std::fs::read(std::path::Path::new(&directory).join(path)).ok();
    Some(content.map(|content| {
        let tag = crate::hash::hash(&String::from_utf8_lossy(&content));
        let tag: String = tag
            .iter()
            .take(8)
            .map(|byte| format!("{byte:02x}"))
            .collect();
        Asset {
            content: content.into(),
            tag: format!("\"{tag}\""),
        }
    }))
}

#[cfg(not(debug_assertions))]
fn from_disk(_path: &str) -> Option<Option<Asset>> {
    None
}

fn compressed(path: &str, asset: &Asset) -> Bytes {
    let key = format!("{path} {}", asset.tag);
    let mut all = COMPRESSED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = all.get(&key) {
        return known.clone();
    }
    // Files on disk change while somebody works on them.
    if all.len() > 256 {
        all.clear();
    }
    let made = compress::gzip(&asset.content, Compression::best());
    all.insert(key, made.clone());
    made
}

fn is_text(path: &str) -> bool {
    !matches!(extension(path), "png" | "ico" | "woff2" | "jpg" | "webp")
}

fn extension(path: &str) -> &str {
    path.rsplit_once('.').map_or("", |(_, extension)| extension)
}

fn media_type(path: &str) -> &'static str {
    match extension(path) {
        "html" => "text/html; charset=utf-8",
        "js" | "mjs" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "json" | "map" => "application/json",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "ico" => "image/x-icon",
        "woff2" => "font/woff2",
        "jpg" => "image/jpeg",
        "webp" => "image/webp",
        "webmanifest" => "application/manifest+json",
        _ => "text/plain; charset=utf-8",
    }
}
