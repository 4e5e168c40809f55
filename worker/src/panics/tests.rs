use super::*;

fn panic(said: &'static str) -> Panic {
    Panic::from_payload(&said)
}

fn words(result: Result<(), Box<Panic>>) -> String {
    result.expect_err("it panicked").words()
}

#[test]
fn a_panic_is_the_error_of_who_called() {
    // No hook of ours is set in tests, so this is what the payload says.
    assert_eq!(words(contained(|| panic!("a {}", "b"))), "panicked: a b");
    assert_eq!(words(contained(|| std::panic::panic_any(7))), "panicked");
    assert_eq!(contained(|| 7), Ok(7));
}

#[test]
fn what_the_hook_has_seen_is_told() {
    let result = contained(|| {
        seen(panic("as the hook saw it"));
        panic!("as the payload says");
    });
    assert_eq!(words(result), "panicked: as the hook saw it");
}

#[test]
fn one_that_the_application_catches_is_not_taken_for_the_next() {
    assert_eq!(contained(|| seen(panic("caught inside"))), Ok(()));
    assert_eq!(words(contained(|| panic!("the next"))), "panicked: the next");
    // Two at once: both were written, so neither is left.
    let both = contained(|| {
        seen(panic("first"));
        seen(panic("second"));
        panic!("of the payload");
    });
    assert_eq!(words(both), "panicked: of the payload");
}

#[test]
fn one_border_inside_the_other() {
    let outer = contained(|| {
        assert_eq!(words(contained(|| panic!("inner"))), "panicked: inner");
        assert!(EXPECTED.get(), "the outer one still expects");
        seen(panic("outer"));
        panic!("outer");
    });
    assert_eq!(words(outer), "panicked: outer");
    assert!(!EXPECTED.get());
}
