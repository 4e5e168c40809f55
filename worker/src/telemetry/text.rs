//! Text that a client chose, on its way into an attribute: cut, and without secrets.

/// Query keys whose values are credentials, as the semantic conventions list them.
const SECRET: [&str; 7] = [
    "X-Amz-Signature",
    "X-Amz-Credential",
    "X-Amz-Security-Token",
    "AWSAccessKeyId",
    "Signature",
    "sig",
    "X-Goog-Signature",
];

/// At most `longest` characters.
pub(crate) fn cut(text: &str, longest: usize) -> String {
    if text.len() <= longest {
        return text.to_owned();
    }
    text.chars().take(longest).collect()
}

/// Whether a part of a query has a secret key and a value.
fn secret(pair: &str) -> bool {
    let key = pair.split('=').next().unwrap_or_default();
    key.len() < pair.len() && SECRET.iter().any(|secret| same_key(key, secret))
}

/// Whether there is anything in a query that [`redacted`] would replace.
pub(crate) fn reveals(query: &str) -> bool {
    query.split('&').any(secret)
}

/// A query with the values of secret keys replaced, then cut: in this order, or a cut could hide a key from the replacement.
pub(crate) fn redacted(query: &str, longest: usize) -> String {
    if !reveals(query) {
        return cut(query, longest);
    }
    let parts = query.split('&').map(|pair| match pair.split_once('=') {
        Some((key, _)) if secret(pair) => format!("{key}=REDACTED"),
        _ => pair.to_owned(),
    });
    cut(&parts.collect::<Vec<_>>().join("&"), longest)
}

/// Whether a key, which may be percent-encoded, is `secret`. The case of letters does not matter: to hide too much hurts less.
fn same_key(key: &str, secret: &str) -> bool {
    if key.contains('%') { decoded(key).eq_ignore_ascii_case(secret) } else { key.eq_ignore_ascii_case(secret) }
}

/// Percent-encoding undone; what is not well formed stays as it is.
pub(crate) fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        let hex = after.get(..2).and_then(|hex| std::str::from_utf8(hex).ok());
        match hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()).filter(|_| *first == b'%') {
            Some(byte) => {
                bytes.push(byte);
                rest = &after[2..];
            }
            None => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8(bytes).unwrap_or_else(|_| text.to_owned())
}

#[cfg(test)]
#[path = "text_tests.rs"]
mod tests;
