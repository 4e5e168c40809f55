//! What is filled in, what stays, and what must not get through.

use super::*;

fn render(text: &str, place: Place, value: &str) -> String {
    let template = Template::parse(text, &built_in(), place).unwrap();
    let mut out = Vec::new();
    template.render(&mut out, |_| value.as_bytes());
    String::from_utf8(out).unwrap()
}

#[test]
fn names_are_filled_in_and_other_braces_stay() {
    assert_eq!(render("/a/{{user}}/{{ random }}", Place::Path, "7"), "/a/7/7");
    assert_eq!(render(r#"{"a":{"b":{{user}}}}"#, Place::Body, "7"), r#"{"a":{"b":7}}"#);
    assert_eq!(render("{{", Place::Body, "7"), "{{");
    assert_eq!(render("", Place::Body, "7"), "");
}

#[test]
fn no_value_can_break_a_request() {
    assert_eq!(render("/{{user}}", Place::Path, "a b\r\n#ü"), "/a%20b%0D%0A%23%C3%BC");
    assert_eq!(render("x {{user}}", Place::Header, "a\r\nevil: 1"), "x aevil: 1");
}

#[test]
fn unknown_names_are_refused() {
    let error = Template::parse("{{usr}}", &built_in(), Place::Path).unwrap_err();
    assert!(error.contains("did you mean \"user\"?"), "{error}");
}
