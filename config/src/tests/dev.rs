//! The settings for development.

use std::path::PathBuf;

use super::{Directory, HELLO, load};
use crate::dev_rule::Paths;
use crate::rule::Rule;

fn dev_watch(file: &str, args: &str) -> Vec<PathBuf> {
    load(&format!("{file}\n{HELLO}"), &[], args).settings.dev_watch
}

fn paths(words: &[&str]) -> Vec<PathBuf> {
    words.iter().map(PathBuf::from).collect()
}

#[test]
fn paths_come_with_commas_in_lists_and_one_by_one() {
    assert_eq!(dev_watch("", ""), paths(&[]));
    assert_eq!(dev_watch("dev_watch = \"a, b/c\"", ""), paths(&["a", "b/c"]));
    assert_eq!(dev_watch("dev_watch = [\"a,b\", \"c d\"]", ""), paths(&["a,b", "c d"]));
    assert_eq!(dev_watch("", "--dev-watch a --reload-extra-file=b,c"), paths(&["a", "b", "c"]));
    for wrong in ["7", "[7]", "[\"\"]"] {
        let directory = Directory::new();
        let file = format!("dev_watch = {wrong}\n{HELLO}");
        let problems = directory.invocation(file.as_bytes(), &[], "").load().map(drop).expect_err(wrong);
        assert!(directory.plain(&problems).starts_with("app.toml:1: dev_watch: "), "{problems}");
    }
    let value = paths(&["a,b", "c \"d\""]);
    assert_eq!(dev_watch(&format!("dev_watch = {}", Paths.show(&value)), ""), value);
}

#[test]
fn dev_is_a_switch_and_has_gunicorns_name_too() {
    let dev = |args| load(HELLO, &[], args).settings.dev;
    assert_eq!([dev(""), dev("--dev"), dev("--reload"), dev("--dev=false")], [false, true, true, false]);
}
