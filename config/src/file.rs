//! The configuration file: read it whole, find every mistake in it, and know the line of each key.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::ops::Range;
use std::os::unix::fs::FileTypeExt;
use std::path::Path;

use rustcorn_sys::error::without_number;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::app::App;
use crate::input::Input;
use crate::layers::Layers;
use crate::problem::{Origin, Problem};
use crate::setting::{Setting, unknown_key};

/// Longest file that is read: far more than settings need, and an end to reading /dev/zero.
const LONGEST: u64 = 1 << 20;

/// How the table of variables is called in the file, and the setting that it is.
const ENV: &str = "env";
const RAW_ENV: &str = "raw_env";

/// A file's name, as messages show it, and its text.
#[derive(Clone, Debug, Default)]
pub(crate) struct Source {
    pub(crate) name: String,
    pub(crate) text: String,
}

impl Source {
    /// Reads the file, or says in one sentence why that is not possible.
    /// A relative path begins at `directory`; messages show it as it is.
    pub(crate) fn read(path: &Path, directory: &Path) -> Result<Self, Problem> {
        let name: String = path.display().to_string().chars().map(|c| if c.is_control() { '?' } else { c }).collect();
        let cannot = |why: &str, remedy: &str| Problem::general(format!("cannot read {name}: {why}; {remedy}"));
        let path = directory.join(path);
        // To open one would wait for a writer, for ever perhaps, and a reload could not read it again.
        if path.metadata().is_ok_and(|meta| meta.file_type().is_fifo()) {
            return Err(cannot("it is a pipe", "name a file that can be read again on a reload"));
        }
        let mut bytes = Vec::new();
        let read = File::open(path).and_then(|file| file.take(LONGEST + 1).read_to_end(&mut bytes));
        match read {
            Ok(_) if bytes.len() as u64 > LONGEST => {
                return Err(cannot("it is larger than 1 MiB", "name a configuration file"));
            }
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::IsADirectory => {
                return Err(cannot("it is a directory", "name the file in it"));
            }
            Err(error) => {
                let remedy = match error.kind() {
                    ErrorKind::NotFound => "check the path, which is relative to the current directory",
                    ErrorKind::PermissionDenied => "let the user that starts the master read it",
                    _ => "name a readable TOML file",
                };
                return Err(cannot(&without_number(&error), remedy));
            }
        }
        String::from_utf8(bytes).map(|text| Self { name: name.clone(), text }).map_err(|error| {
            let good = error.utf8_error().valid_up_to();
            let line = line_of(&error.as_bytes()[..good]);
            Problem::new(Origin::File { name, line: Some(line) }, "", "not UTF-8 text; save the file as UTF-8")
        })
    }

    /// Where the byte at `offset` is.
    pub(crate) fn origin(&self, offset: usize) -> Origin {
        let line = line_of(&self.text.as_bytes()[..offset.min(self.text.len())]);
        Origin::File { name: self.name.clone(), line: Some(line) }
    }

    /// The file as a whole.
    pub(crate) fn whole(&self) -> Origin {
        Origin::File { name: self.name.clone(), line: None }
    }

    fn line(&self, offset: usize) -> usize {
        line_of(&self.text.as_bytes()[..offset.min(self.text.len())])
    }

    /// Adds the file's values, and everything that is wrong with it, to the layers below it.
    pub(crate) fn apply(&self, layers: &mut Layers) {
        let (root, errors) = DeTable::parse_recoverable(&self.text);
        let mut found = Found { source: self, problems: Vec::new(), broken: BTreeSet::new(), app_is_whole: true };
        found.syntax(root.get_ref(), &errors);
        for (key, value) in root.get_ref() {
            let line = self.line(key.span().start);
            // What recovery made of a broken line is a guess: the syntax is to be mended first.
            // Below a broken [header] nobody knows which table the keys belong to.
            if found.broken.contains(&line) || found.below_broken_header(line) || key.get_ref() == "app" {
                continue;
            }
            let name = key.get_ref().as_ref();
            if name == ENV && root.get_ref().contains_key(RAW_ENV) {
                found.at(key.span().start, name, "the same as raw_env, which is set, too; keep one of them");
                continue;
            }
            let name = if name == ENV { RAW_ENV } else { name };
            if let Some(setting) = Setting::find(name) {
                if let Err(text) =
                    layers.set(setting, &Input::from_toml(value.get_ref()), self.origin(key.span().start))
                {
                    found.at(key.span().start, name, &text);
                }
            } else {
                found.at(key.span().start, name, &unknown_key(name));
            }
        }
        if found.app_is_whole {
            match App::read_from(self) {
                Ok((app, spec)) => {
                    layers.settings.app = app;
                    layers.app = Some(spec);
                }
                Err(problems) => found.problems.extend(problems.0.into_iter().map(|problem| {
                    let line =
                        if let Origin::File { line: Some(line), .. } = problem.origin() { *line } else { usize::MAX };
                    (line, problem)
                })),
            }
        }
        found.problems.sort_by_key(|&(line, _)| line);
        layers.problems.extend(found.problems.into_iter().map(|(_, problem)| problem));
    }
}

/// 1 for the text of a first line, as editors count.
fn line_of(before: &[u8]) -> usize {
    before.iter().filter(|&&byte| byte == b'\n').count() + 1
}

/// Problems of one file with their lines, to be put in order.
struct Found<'a> {
    source: &'a Source,
    problems: Vec<(usize, Problem)>,
    /// Lines that are not valid TOML.
    broken: BTreeSet<usize>,
    /// No mistake in the syntax may have cost `[app]` a key, so what is missing there is missing.
    app_is_whole: bool,
}

impl Found<'_> {
    fn at(&mut self, offset: usize, key: &str, text: &str) {
        self.problems.push((self.source.line(offset), Problem::new(self.source.origin(offset), key, text)));
    }

    fn below_broken_header(&self, line: usize) -> bool {
        let is_header = |line: &usize| {
            let text = self.source.text.lines().nth(line - 1).unwrap_or_default();
            text.trim_start().starts_with('[')
        };
        self.broken.iter().find(|line| is_header(line)).is_some_and(|&header| line > header)
    }

    /// Words the parser's errors, one a line.
    fn syntax(&mut self, root: &DeTable<'_>, errors: &[toml::de::Error]) {
        for error in errors {
            let span = error.span().unwrap_or(0..0);
            // One mistake makes the parser stumble several times over the same line.
            if !self.broken.insert(self.source.line(span.start)) {
                continue;
            }
            if error.message() == "duplicate key" {
                let name = self.source.text.get(span.clone()).unwrap_or_default().trim_matches(['"', '\'']).to_owned();
                let first = occurrences(root, "", &name).into_iter().filter(|(_, at)| at.start < span.start);
                let (path, text) = match first.max_by_key(|(_, at)| at.start) {
                    Some((path, at)) => {
                        (path, format!("already set on line {}; remove one", self.source.line(at.start)))
                    }
                    None => (name, "set twice; remove one".to_owned()),
                };
                self.app_is_whole &= path != "app" && !path.starts_with("app.");
                self.at(span.start, &path, &text);
            } else {
                self.app_is_whole = false;
                self.at(span.start, "", &format!("not valid TOML: {}", error.message()));
            }
        }
    }
}

/// Paths and places of all keys called `name`.
fn occurrences(table: &DeTable<'_>, prefix: &str, name: &str) -> Vec<(String, Range<usize>)> {
    let mut found = Vec::new();
    for (key, value) in table {
        let path = format!("{prefix}{}", key.get_ref());
        if let DeValue::Table(inner) = value.get_ref() {
            found.extend(occurrences(inner, &format!("{path}."), name));
        }
        if key.get_ref() == name {
            found.push((path, key.span()));
        }
    }
    found
}

/// Dotted path of the innermost key that the byte at `offset` belongs to, by the key itself or by its value.
pub(crate) fn path_at(table: &DeTable<'_>, offset: usize) -> Option<Vec<String>> {
    let inside = |span: Range<usize>| span.contains(&offset);
    for (key, value) in table {
        let name = key.get_ref().to_string();
        if inside(key.span()) {
            return Some(vec![name]);
        }
        if let Some(mut path) = path_in(value, offset) {
            path.insert(0, name);
            return Some(path);
        }
    }
    None
}

fn path_in(value: &Spanned<DeValue<'_>>, offset: usize) -> Option<Vec<String>> {
    // A table under a [header] spans its header only, so what is inside is asked first.
    let inner = match value.get_ref() {
        DeValue::Table(table) => path_at(table, offset),
        DeValue::Array(items) => items.iter().find_map(|item| path_in(item, offset)),
        _ => None,
    };
    inner.or_else(|| value.span().contains(&offset).then(Vec::new))
}
