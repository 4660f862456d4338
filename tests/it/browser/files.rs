//! The files of the dashboard, without a browser.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// Modules that are no part of the first load: the two that the page names as scripts, and the charts'.
const NOT_LISTED: [&str; 3] = ["app.js", "lib/theme.js", "vendor/uplot.iife.js"];

fn assets() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../gateway/assets")
}

fn modules(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            modules(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "js") {
            found.push(path);
        }
    }
}

#[test]
fn the_page_lists_every_module_so_that_none_is_found_late() {
    let assets = assets();
    let page = fs::read_to_string(assets.join("index.html")).unwrap();
    let mut found = Vec::new();
    modules(&assets, &mut found);
    let names = found
        .iter()
        .map(|path| path.strip_prefix(&assets).unwrap().to_str().unwrap());
    let missing: Vec<&str> = names
        .filter(|name| !NOT_LISTED.contains(name))
        .filter(|name| !page.contains(&format!("\"modulepreload\" href=\"/assets/{name}\"")))
        .collect();
    assert!(missing.is_empty(), "add to index.html: {missing:?}");
    let listed = page.matches("\"modulepreload\"").count();
    assert_eq!(
        listed,
        found.len() - NOT_LISTED.len(),
        "index.html lists a module that is gone"
    );
}

#[test]
fn the_page_has_nothing_inline_that_the_policy_of_contents_forbids() {
    let page = fs::read_to_string(assets().join("index.html")).unwrap();
    for forbidden in ["<style", " style=", "onload=", "onclick=", "javascript:"] {
        assert!(!page.contains(forbidden), "{forbidden}");
    }
    let inline = page
        .split("<script")
        .skip(1)
        .filter(|script| !script.contains("></script>"));
    assert_eq!(inline.count(), 0);
}
