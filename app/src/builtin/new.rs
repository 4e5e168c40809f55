//! `rustcorn new NAME`: a small project that builds, tests, serves and reloads. The files are in `template/`.

use std::ffi::OsString;
use std::fmt::Display;
use std::fs;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Where a file of the project goes, and its text with places for names.
const FILES: [(&str, &str); 9] = [
    ("Cargo.toml", include_str!("../../template/Cargo.toml.in")),
    ("src/main.rs", include_str!("../../template/src/main.rs")),
    ("src/lib.rs", include_str!("../../template/src/lib.rs")),
    ("tests/http.rs", include_str!("../../template/tests/http.rs")),
    ("app.toml", include_str!("../../template/app.toml")),
    ("Dockerfile", include_str!("../../template/Dockerfile")),
    ("README.md", include_str!("../../template/README.md")),
    (".gitignore", include_str!("../../template/gitignore")),
    (".dockerignore", include_str!("../../template/dockerignore")),
];

const USAGE: &str = "\
Usage: rustcorn new NAME [--path FOLDER]

Makes a folder NAME with a project: a small web service on rustcorn, with tests, app.toml and a Dockerfile.

  --path FOLDER  Depend on the rustcorn crate in this folder instead of the published one
";

/// What follows the word `new` on the command line.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Wish {
    Project {
        name: String,
        rustcorn: Option<PathBuf>,
    },
    Usage,
    /// What is wrong.
    Nonsense(String),
}

impl Wish {
    /// `None`: this is no `new`. A configuration file may be called `new`, too; but nothing, or options, follow it then, and
    /// never another name, which was a mistake before there was this command.
    pub(super) fn from_args(args: impl IntoIterator<Item = OsString>) -> Option<Self> {
        let mut args = args.into_iter();
        if args.next()? != "new" {
            return None;
        }
        let is_file = Path::new("new").exists();
        let words: Vec<String> = args.map(|word| word.to_string_lossy().into_owned()).collect();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        match words.as_slice() {
            [] | ["-h" | "--help"] if !is_file => Some(Self::Usage),
            [] => None,
            [option, ..] if option.starts_with('-') => None,
            [name] => Some(Self::project(name, None)),
            [name, "--path", folder] => Some(Self::project(name, Some(folder.into()))),
            [_, rest @ ..] => Some(Self::Nonsense(format!("cannot understand {:?}", rest.join(" ")))),
        }
    }

    fn project(name: &str, rustcorn: Option<PathBuf>) -> Self {
        match check_name(name) {
            Ok(()) => Self::Project { name: name.to_owned(), rustcorn },
            Err(why) => Self::Nonsense(format!("{name:?} cannot be the name of a project: {why}")),
        }
    }

    /// Exit code 0, or 1 if the project cannot be made, or 2 if this cannot be understood.
    pub(super) fn fulfil(&self) -> ExitCode {
        match self {
            Self::Project { name, rustcorn } => match make(Path::new(name), name, rustcorn.as_deref()) {
                Ok(()) => {
                    say(std::io::stdout(), &format!("Made {name}. Try:\n  cd {name}\n  cargo run -- --dev app.toml"));
                    ExitCode::SUCCESS
                }
                Err(why) => {
                    say(std::io::stderr(), &format!("Error: {why}"));
                    ExitCode::FAILURE
                }
            },
            Self::Usage => {
                say(std::io::stdout(), USAGE.trim_end());
                ExitCode::SUCCESS
            }
            Self::Nonsense(why) => {
                say(std::io::stderr(), &format!("Error: {why}\n\n{USAGE}"));
                ExitCode::from(2)
            }
        }
    }
}

/// At the end of the help, which is about settings.
pub(super) fn mention() {
    say(std::io::stdout(), "\n`rustcorn new NAME` makes a project to start from.");
}

fn say(mut to: impl Write, text: &str) {
    // Where nobody can be told, the exit code still tells.
    let _ = writeln!(to, "{text}");
}

/// As cargo has it for packages, and a crate by this name can be called from another one.
fn check_name(name: &str) -> Result<(), &'static str> {
    const TAKEN: [&str; 12] = [
        "axum",
        "build",
        "core",
        "deps",
        "examples",
        "incremental",
        "rustcorn",
        "serde",
        "std",
        "test",
        "tokio",
        "tracing",
    ];
    const KEYWORDS: &str = " abstract as async await become box break const continue crate do dyn else enum extern false final \
        fn for gen if impl in let loop macro match mod move mut override priv pub ref return self static struct super trait true \
        try type typeof unsafe unsized use virtual where while yield ";
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_';
    if !name.starts_with(|c: char| c.is_ascii_lowercase()) || !name.chars().all(plain) {
        return Err("use lower-case letters, digits, - and _, with a letter first");
    }
    if name.len() > 64 {
        return Err("use at most 64 characters");
    }
    if TAKEN.contains(&name) || KEYWORDS.contains(&format!(" {name} ")) {
        return Err("the word has a meaning for Rust or for cargo; use another");
    }
    Ok(())
}

fn make(folder: &Path, name: &str, rustcorn: Option<&Path>) -> Result<(), String> {
    let cannot = |what: &str, path: &Path, why: &dyn Display| format!("cannot {what} {}: {why}", path.display());
    let rustcorn = match rustcorn {
        None => format!("version = {:?}", env!("CARGO_PKG_VERSION")),
        Some(path) => {
            let is_crate = path.join("src/lib.rs").is_file() && path.join("Cargo.toml").is_file();
            let real = path.canonicalize().map_err(|error| cannot("use", path, &error))?;
            if !is_crate {
                return Err(cannot("use", path, &"it holds no crate; name the folder app/ of rustcorn's sources"));
            }
            format!("path = {:?}", real.display().to_string())
        }
    };
    match fs::read_dir(folder).map(|mut entries| entries.next().is_some()) {
        Ok(true) => return Err(cannot("make a project in", folder, &"the folder is not empty; choose another name")),
        Ok(false) => {}
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(cannot("make a project in", folder, &error)),
    }
    for (file, text) in FILES {
        let path = folder.join(file);
        let text = text.replace("{{name}}", name).replace("{{crate}}", &name.replace('-', "_"));
        let text = text.replace("{{rustcorn}}", &rustcorn);
        let parent = path.parent().expect("it is in the folder");
        fs::create_dir_all(parent)
            .and_then(|()| fs::write(&path, text))
            .map_err(|error| cannot("write", &path, &error))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wish(words: &str) -> Option<Wish> {
        Wish::from_args(words.split_ascii_whitespace().map(OsString::from))
    }

    #[test]
    fn new_and_a_name_make_a_project_and_anything_else_is_as_before() {
        let project =
            |path: Option<&str>| Some(Wish::Project { name: "shop".into(), rustcorn: path.map(PathBuf::from) });
        assert_eq!(wish("new shop"), project(None));
        assert_eq!(wish("new shop --path ../rustcorn/app"), project(Some("../rustcorn/app")));
        for words in
            ["", "app.toml", "--dev app.toml", "new --workers 4", "new --check-config", "--workers 4 new", "./new shop"]
        {
            assert_eq!(wish(words), None, "{words}"); // in the folder of this crate there is no file `new`
        }
        assert_eq!(wish("new"), Some(Wish::Usage));
        assert_eq!(wish("new --help"), Some(Wish::Usage));
        for words in ["new shop --workers 4", "new shop --path", "new shop shelf"] {
            assert!(matches!(wish(words), Some(Wish::Nonsense(_))), "{words}");
        }
    }

    #[test]
    fn a_name_is_one_that_cargo_takes() {
        for name in ["shop", "a", "my-service2", "a_b"] {
            assert_eq!(check_name(name), Ok(()), "{name}");
        }
        for name in
            ["", "2a", "-a", "A", "a b", "a/b", "../a", ".", "a.toml", "é", "fn", "test", "rustcorn", &"a".repeat(65)]
        {
            assert!(check_name(name).is_err(), "{name}");
        }
    }

    #[test]
    fn every_place_for_a_name_is_filled() {
        for (file, text) in FILES {
            let left = text.replace("{{name}}", "").replace("{{crate}}", "").replace("{{rustcorn}}", "");
            assert!(!left.contains("{{") && !left.contains("}}"), "{file}");
        }
    }
}
