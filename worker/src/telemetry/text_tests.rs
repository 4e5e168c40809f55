//! Nothing secret gets out, and nothing endless.

use super::*;

#[test]
fn secrets_of_a_query_are_replaced() {
    let same = ["", "a=1&b=2", "signature", "xsig=1", "sig", "q=sig%3D1"];
    for query in same {
        assert_eq!(redacted(query, 100), query);
    }
    let changed = [
        ("sig=abc", "sig=REDACTED"),
        ("a=1&X-Amz-Signature=abc&b=2", "a=1&X-Amz-Signature=REDACTED&b=2"),
        ("X-Goog-Signature=a=b", "X-Goog-Signature=REDACTED"),
        ("SIG=a&AWSAccessKeyId=&Signature=b", "SIG=REDACTED&AWSAccessKeyId=REDACTED&Signature=REDACTED"),
        ("%73ig=abc", "%73ig=REDACTED"),
        ("X-Amz-Credential=a&X-Amz-Security-Token=b", "X-Amz-Credential=REDACTED&X-Amz-Security-Token=REDACTED"),
    ];
    for (query, expected) in changed {
        assert_eq!(redacted(query, 100), expected);
    }
}

#[test]
fn a_cut_hides_no_secret_from_its_replacement() {
    assert_eq!(redacted("aaaaaaaa&sig=abc", 14), "aaaaaaaa&sig=R");
}

#[test]
fn characters_are_cut_whole() {
    assert_eq!((cut("äöü", 2), cut("abc", 3), cut("abc", 0)), ("äö".to_owned(), "abc".to_owned(), String::new()));
}

#[test]
fn percent_encoding() {
    for (text, expected) in [("a%20b", "a b"), ("%c3%BC", "ü"), ("100%", "100%"), ("%zz%4", "%zz%4"), ("%ff", "%ff")] {
        assert_eq!(decoded(text), expected);
    }
}
