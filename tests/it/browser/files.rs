//! The files of the dashboard, without a browser.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

/// The modules that the page itself starts.
const STARTED: [&str; 2] = ["app.js", "lib/theme.js"];

fn assets() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../gateway/assets")
}

/// Adds what a module imports, and what that imports. Pages that are fetched later are not imported so.
fn add_imports(module: &str, found: &mut BTreeSet<String>) {
    if !found.insert(module.to_owned()) {
        return;
    }
    let text = fs::read_to_string(assets().join(module)).unwrap();
    let directory = Path::new(module).parent().unwrap();
    for part in text.replace("from \"", "from\"").split("from\"").skip(1) {
        let path = part.split('"').next().unwrap();
        let mut imported = directory.to_owned();
        for step in path.split('/') {
            match step {
                "." => {}
                ".." => assert!(imported.pop(), "{path} in {module}"),
                step => imported.push(step),
            }
        }
        add_imports(imported.to_str().unwrap(), found);
    }
}

#[test]
fn the_page_lists_every_module_that_it_needs_at_first_and_no_other() {
    let mut needed = BTreeSet::new();
    for module in STARTED {
        add_imports(module, &mut needed);
    }
    let page = fs::read_to_string(assets().join("index.html")).unwrap();
    let listed = page.split("\"modulepreload\" href=\"/assets/").skip(1);
    let mut listed: BTreeSet<String> = listed
        .map(|rest| rest.split('"').next().unwrap().to_owned())
        .collect();
    listed.extend(STARTED.map(str::to_owned));
    assert_eq!(listed, needed, "mend the list in index.html");
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
