//! Writes what the fuzzers begin with: `seeds CORPUS.TXT FOLDER`, the requests of e2e/data/http1.txt for `guard` and some headers for `proxy`.

use std::path::Path;

#[path = "../worker/src/guard/corpus.rs"]
mod corpus;

const PROXY: [&[u8]; 5] = [
    b"PROXY TCP4 203.0.113.7 192.0.2.1 4711 443\r\nGET / HTTP/1.1\r\n",
    b"PROXY TCP6 2001:db8::1 ::1 1 65535\r\n",
    b"PROXY UNKNOWN ff::1 ff::2 1 2\r\n",
    b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xcb\0\x71\x07\xc0\0\x02\x01\x12\x67\x01\xbbGET / HTTP/1.1\r\n",
    b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0",
];

fn main() -> std::io::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [file, folder] = &arguments[..] else { panic!("usage: seeds CORPUS.TXT FOLDER") };
    let cases = corpus::read(&std::fs::read_to_string(file)?);
    let requests = cases.iter().filter(|case| case.bytes.len() < 4096);
    // The first two bytes are settings and size of the pieces: those of the defaults, whole and byte by byte.
    let requests =
        requests.flat_map(|case| [[&[0, 255], &case.bytes[..]].concat(), [&[0, 1], &case.bytes[..]].concat()]);
    write(&Path::new(folder).join("guard"), requests)?;
    write(&Path::new(folder).join("proxy"), PROXY.into_iter().map(<[u8]>::to_vec))
}

fn write(folder: &Path, seeds: impl Iterator<Item = Vec<u8>>) -> std::io::Result<()> {
    std::fs::create_dir_all(folder)?;
    seeds.enumerate().try_for_each(|(number, seed)| std::fs::write(folder.join(format!("seed-{number}")), seed))
}
