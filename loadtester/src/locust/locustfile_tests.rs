//! There and back.

use super::*;

const TEXT: &str = r#"
[[class]]
name = "Browse"
weight = 3
host = "http://shop:8000"
[[class.task]]
path = "/"
headers = { "X-Quote" = '''he said """'''  }

[[class]]
name = "Buy"
[[class.task]]
method = "POST"
path = "/cart"
body = "a\\b\u00e9"
"#;

fn scenario() -> Scenario {
    Scenario::from_text("shop.toml", TEXT).expect("a valid scenario")
}

fn file(contents: String) -> Source {
    Source::Text { name: "locustfile.py".into(), contents }
}

#[test]
fn the_text_comes_back_as_it_was() {
    let generated = generate("shop.toml", TEXT, &scenario()).expect("good names");
    assert!(
        generated.contains("\n\nclass Browse(_Rustcorn):\n    weight = 3\n    host = \"http://shop:8000\"\n"),
        "{generated}"
    );
    assert!(generated.contains("\n\nclass Buy(_Rustcorn):\n    weight = 1\n\n"), "{generated}");
    assert_eq!(extract(&[file(generated.clone())]), Ok(("shop.toml".into(), TEXT.into())));
    let windows = generated.replace('\n', "\r\n");
    let (_, text) = extract(&[Source::Url("http://x/y.py".into()), file(windows)]).expect("the same");
    assert_eq!(text, TEXT);
}

#[test]
fn a_class_that_python_cannot_name_is_a_problem() {
    for (name, good) in [
        ("Browse_2", true),
        ("browse", true),
        ("2nd", false),
        ("_x", false),
        ("a b", false),
        ("class", false),
        ("é", false),
        ("", false),
    ] {
        assert_eq!(is_python_name(name), good, "{name:?}");
    }
    let mut scenario = scenario();
    scenario.classes[1].name = "buy now".into();
    let problems = generate("shop.toml", TEXT, &scenario).expect_err("a blank");
    assert!(problems.to_string().contains("\"buy now\""), "{problems}");
}

#[test]
fn what_cannot_be_extracted_says_why() {
    let generated = generate("shop.toml", TEXT, &scenario()).expect("good names");
    let cut = generated.replace(END, "");
    let touched = generated.replace("#|path", "path");
    let table = [
        (vec![], "there is none"),
        (vec![file("class A(User): pass".into()), Source::Url("http://x".into())], "there is none"),
        (vec![file(generated.clone()), file(generated)], "several"),
        (vec![file(cut)], "does not begin"),
        (vec![file(touched)], "changed by hand"),
    ];
    for (sources, why) in table {
        let error = extract(&sources).expect_err(why);
        assert!(error.contains(why), "{error:?} does not say {why:?}");
    }
}

#[test]
fn a_name_cannot_break_out_of_its_comment() {
    let generated = generate("a\nimport os", "", &scenario()).expect("good names");
    assert!(!generated.contains("\nimport os"), "{generated}");
}
