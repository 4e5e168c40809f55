//! Cookies, saved values and trace ids.

use super::*;

fn user() -> Values {
    let text = r#"
[variables]
item = ["a", "b"]
[[task]]
path = "/{{token}}"
save = { token = "header:x-token", id = "json:/user/0/id" }
"#;
    Values::new(Arc::new(Scenario::from_text("t", text).unwrap()), 4)
}

fn value(values: &Values, name: &str) -> String {
    let at = values.scenario.variables.iter().position(|variable| variable.name == name).unwrap();
    String::from_utf8(values.get(at).into_owned()).unwrap()
}

#[test]
fn cookies_are_kept_replaced_and_taken_away() {
    let mut values = user();
    values.field(0, "Set-Cookie", b"a=1; Path=/; HttpOnly");
    values.field(0, "set-cookie", b"b=x=y");
    values.field(0, "set-cookie", b"nonsense");
    values.field(0, "set-cookie", b"a=2; Max-Age=60");
    assert_eq!(values.cookie(), b"b=x=y; a=2");
    values.field(0, "set-cookie", b"b=; max-age=0");
    assert_eq!(values.cookie(), b"a=2");
}

#[test]
fn parts_of_answers_are_saved() {
    let mut values = user();
    assert_eq!(value(&values, "token"), "");
    values.field(0, "X-Token", b"t1");
    let task = values.scenario.tasks[0].clone();
    assert_eq!(values.body(&task, br#"{"user":[{"id":17}]}"#), None);
    assert_eq!((value(&values, "token"), value(&values, "id")), ("t1".to_owned(), "17".to_owned()));
    assert_eq!(values.body(&task, b"no json"), Some("id".to_owned()));
    assert_eq!(value(&values, "item"), "b", "the fourth user has the second of two");
}

#[test]
fn a_traceparent_is_well_formed() {
    let trace = Trace { id: 0xabc, span: 1 << 60, sampled: true };
    assert_eq!(&trace.header(), b"00-00000000000000000000000000000abc-1000000000000000-01");
    let sampled = (0..1000).filter(|_| Trace::new(0.25).sampled).count();
    assert!((150..350).contains(&sampled), "{sampled}");
    assert!(!Trace::new(0.0).sampled && Trace::new(1.0).sampled);
}
