use super::*;

#[test]
fn an_answer_is_whole_when_its_body_is() {
    let text = b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\nConnection: close\r\n\r\nabc";
    assert_eq!(parse(text).unwrap(), Some(Answer { status: 200, closes: true }));
    for cut in [0, 20, text.len() - 1] {
        assert_eq!(parse(&text[..cut]).unwrap(), None, "{cut} bytes");
    }
}

#[test]
fn without_a_length_nothing_can_be_said() {
    assert!(parse(b"HTTP/1.1 200 OK\r\n\r\n").is_err());
    assert!(parse(b"what?\r\n\r\n").is_err());
}
