//! For tests: the requests of `e2e/data/http1.txt`, and what is to become of each.

/// One line of the file.
#[allow(dead_code, reason = "not every test asks for all of it")]
pub(crate) struct Case {
    /// Statuses of the answers, in order.
    pub(crate) answers: Vec<u16>,
    /// The connection ends with the last one.
    pub(crate) closes: bool,
    /// Where it is written, and a name.
    pub(crate) name: String,
    pub(crate) bytes: Vec<u8>,
}

/// Reads the file's text.
pub(crate) fn read(text: &str) -> Vec<Case> {
    text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).map(case).collect()
}

fn case(line: &str) -> Case {
    let columns: Vec<&str> = line.split('\t').collect();
    let [answers, rule, name, bytes] = columns[..] else { panic!("not four columns: {line}") };
    let statuses = answers.split(' ').filter(|word| *word != "close");
    Case {
        answers: statuses.map(|word| word.parse().unwrap_or_else(|_| panic!("{word} is no status: {line}"))).collect(),
        closes: answers.ends_with("close"),
        name: format!("{rule}: {name}"),
        bytes: unescaped(bytes),
    }
}

pub(crate) fn unescaped(mut text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    while let Some(first) = text.chars().next() {
        let taken = match first {
            '{' => {
                let end = text.find('}').unwrap_or_else(|| panic!("no }} in {text}"));
                let (repeated, times) = text[1..end].rsplit_once('*').unwrap_or_else(|| panic!("no * in {text}"));
                let times = times.parse().unwrap_or_else(|_| panic!("no number in {text}"));
                bytes.extend(unescaped(repeated).repeat(times));
                end + 1
            }
            '\\' => {
                let (byte, taken) = escape(text);
                bytes.push(byte);
                taken
            }
            other => {
                bytes.extend_from_slice(other.encode_utf8(&mut [0; 4]).as_bytes());
                other.len_utf8()
            }
        };
        text = &text[taken..];
    }
    bytes
}

fn escape(text: &str) -> (u8, usize) {
    match text.as_bytes().get(1) {
        Some(b'r') => (b'\r', 2),
        Some(b'n') => (b'\n', 2),
        Some(b't') => (b'\t', 2),
        Some(b'0') => (0, 2),
        Some(b'\\') => (b'\\', 2),
        Some(b'x') => match text.get(2..4).map(|digits| u8::from_str_radix(digits, 16)) {
            Some(Ok(byte)) => (byte, 4),
            _ => panic!("no two digits in {text}"),
        },
        _ => panic!("unknown escape in {text}"),
    }
}
