use super::*;

/// A field with a value of less than 128 bytes.
fn field(number: u8, value: &[u8]) -> Vec<u8> {
    [&[number << 3 | 2, u8::try_from(value.len()).expect("short")], value].concat()
}

#[test]
fn spans_are_counted_over_scopes_and_resources_and_nothing_else_is() {
    let (resource, span) = (field(1, b"resource"), field(2, &field(5, b"GET /")));
    let scope = |spans: usize| field(2, &[field(1, b"scope"), span.repeat(spans), field(3, b"schema")].concat());
    let one = field(1, &[resource.clone(), scope(3), scope(1)].concat());
    let other = field(1, &[resource, scope(2)].concat());
    assert_eq!(count(&[one.clone(), other].concat()), 6);
    assert_eq!((count(&[]), count(&one[..one.len() - 1])), (0, 0), "what is cut short");
    // Numbers of all kinds on the way: a varint of two bytes, eight bytes, four.
    let numbers = [&[3 << 3, 0x96, 1, 4 << 3 | 1][..], &[0; 8], &[5 << 3 | 5], &[0; 4]].concat();
    assert_eq!(count(&[numbers, one].concat()), 4);
}
