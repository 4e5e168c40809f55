//! The pages in docs/: each is found from the index, their links lead somewhere, and each line of the log is explained.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use crate::harness::binaries::workspace;

fn text(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// On one line, with single blanks.
fn flat(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn files(folder: &Path, ending: &str) -> BTreeSet<PathBuf> {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let paths = entries.map(|entry| entry.expect("it can be read").path());
    paths.filter(|path| path.is_file() && path.to_string_lossy().ends_with(ending)).collect()
}

/// What stands in round brackets after square ones.
fn links(text: &str) -> impl Iterator<Item = &str> {
    text.split("](").skip(1).filter_map(|rest| rest.split(')').next())
}

#[test]
fn the_index_has_every_page() {
    let docs = workspace().join("docs");
    let index = text(&docs.join("README.md"));
    let listed: BTreeSet<PathBuf> = links(&index).map(|link| docs.join(link)).collect();
    for page in files(&docs, ".md") {
        assert!(page.ends_with("README.md") || listed.contains(&page), "{} is not in docs/README.md", page.display());
    }
}

#[test]
fn links_lead_somewhere() {
    let folders = ["", "docs", "bench", "examples"].map(|folder| workspace().join(folder));
    let mut seen = 0;
    for page in folders.iter().flat_map(|folder| files(folder, ".md")) {
        let text = text(&page);
        for link in links(&text).filter(|link| !link.contains("://") && !link.starts_with('#')) {
            let file = link.split('#').next().expect("there is always a first part");
            let target = page.parent().expect("it is in a folder").join(file);
            assert!(target.exists(), "{}: {link}", page.display());
            seen += 1;
        }
    }
    assert!(seen > 50, "{seen}");
}

/// What the text of a program holds between double quotes, with continued lines joined.
fn literals(code: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut chars = code.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\'' if chars.peek() == Some(&'"') => drop(chars.nth(1)), // a quote as a character
            '/' if chars.peek() == Some(&'/') => drop(chars.find(|c| *c == '\n')),
            '"' => {
                let mut literal = String::new();
                while let Some(c) = chars.next().filter(|c| *c != '"') {
                    match c {
                        '\\' if chars.next_if_eq(&'\n').is_some() => {
                            while chars.next_if(|c| c.is_whitespace()).is_some() {}
                        }
                        '\\' => literal.extend(chars.next()),
                        c => literal.push(c),
                    }
                }
                found.push(literal);
            }
            _ => {}
        }
    }
    found
}

/// The parts of a format that are the same in each line made of it, if they say something: two words and more.
fn fixed_parts(format: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut depth = 0;
    for c in format.chars() {
        match c {
            '{' => {
                depth += 1;
                parts.push(String::new());
            }
            '}' => depth -= 1,
            c if depth == 0 => parts.last_mut().expect("there is one").push(c),
            _ => {}
        }
    }
    let edges = |c: char| !c.is_alphanumeric();
    let parts = parts.iter().map(|part| flat(part.trim_matches(edges)));
    parts.filter(|part| part.split(' ').filter(|word| word.chars().any(char::is_alphabetic)).count() > 1).collect()
}

#[test]
fn each_line_that_the_master_can_say_is_explained() {
    let page = flat(&text(&workspace().join("docs/troubleshooting.md")));
    let master = workspace().join("master/src");
    let mut code = text(&master.join("notice.rs"));
    if master.join("notice").is_dir() {
        code.extend(
            files(&master.join("notice"), ".rs")
                .iter()
                .filter(|file| !file.ends_with("tests.rs"))
                .map(|file| text(file)),
        );
    }
    let (_, words) = code.split_once("fmt::Display for Notice").expect("the words of the notices");
    let parts: BTreeSet<String> = literals(words).iter().flat_map(|literal| fixed_parts(literal)).collect();
    assert!(parts.len() > 30 && parts.contains("Shutting down: Master"), "{parts:#?}");
    let missing: Vec<&String> = parts.iter().filter(|part| !page.contains(part.as_str())).collect();
    assert!(missing.is_empty(), "not in docs/troubleshooting.md: {missing:#?}");
}

#[test]
fn a_format_is_taken_apart_at_its_places() {
    assert_eq!(
        literals("write!(f, \"one {x:?} \\\n     two\", '\"'); // \"no\"\nf(\"a \\\"b\\\"\")"),
        ["one {x:?} two", "a \"b\""]
    );
    assert_eq!(fixed_parts("Worker {slot} (pid:{pid}) was not ready; killing it"), ["was not ready; killing it"]);
    assert_eq!(fixed_parts("{}: {error}"), [""; 0]);
}
