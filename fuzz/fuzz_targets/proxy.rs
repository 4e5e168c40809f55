//! The parser of the PROXY protocol: what is a header stays one whatever follows, no part of it is taken for anything else, no panic.
#![no_main]

use libfuzzer_sys::fuzz_target;
use rustcorn_config::ProxyProtocol;

#[allow(dead_code, reason = "shared with the worker, which uses all of it")]
#[path = "../../worker/src/proxy.rs"]
mod proxy;

use proxy::{Begin, read};

fuzz_target!(|data: &[u8]| {
    for versions in [ProxyProtocol::Off, ProxyProtocol::V1, ProxyProtocol::V2, ProxyProtocol::Auto] {
        let whole = read(data, versions);
        match whole {
            Begin::Header(length, _) => {
                assert!(length <= data.len() && length <= 16 + 4096);
                assert_eq!(read(&data[..length], versions), whole);
                for cut in 0..length {
                    assert_eq!(read(&data[..cut], versions), Begin::Part, "{cut}");
                }
            }
            Begin::Part => {
                for cut in 0..data.len() {
                    assert_eq!(read(&data[..cut], versions), Begin::Part, "{cut}");
                }
            }
            Begin::Other | Begin::Malformed => {
                // Decided is decided.
                let more = [data, b"more"].concat();
                assert_eq!(read(&more, versions), whole);
            }
        }
        assert!(versions != ProxyProtocol::Off || whole == Begin::Other);
    }
});
