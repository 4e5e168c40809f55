//! The guard: the same verdict wherever the bytes are cut, in any order of settings; what passed once passes again unchanged; no panic.
#![no_main]

use libfuzzer_sys::fuzz_target;
use rustcorn_config::{HeaderMap, Settings};

#[allow(dead_code, reason = "shared with the worker, which uses all of it")]
#[path = "../../worker/src/guard/mod.rs"]
mod guard;

use guard::{Guard, Reason, Rules};

/// Settings by the bits of one byte.
fn rules(bits: u8) -> Rules {
    let is = |bit: u8| bits & 1 << bit != 0;
    let mut settings = Settings::defaults();
    settings.permit_obsolete_folding = is(0);
    settings.strip_header_spaces = is(1);
    settings.permit_unconventional_http_method = is(2);
    settings.permit_unconventional_http_version = is(3);
    settings.casefold_http_method = is(4);
    settings.header_map = if is(5) { HeaderMap::Refuse } else { HeaderMap::Drop };
    if is(6) {
        settings.limit_request_line = 64;
        settings.limit_request_field_size = 32;
        settings.limit_request_fields = 5;
        settings.max_body_size = 10;
    }
    Rules::new(&settings)
}

/// What passes, and why no more does.
fn read<'a>(rules: &Rules, trusted: bool, pieces: impl Iterator<Item = &'a [u8]>) -> (Vec<u8>, Option<Reason>, bool) {
    let (mut guard, mut stash, mut passed) = (Guard::new(trusted), Vec::new(), Vec::new());
    for piece in pieces {
        stash.extend_from_slice(piece);
        loop {
            let fed = guard.feed(&mut stash, rules);
            assert!(fed.pass <= fed.len && fed.len <= stash.len());
            stash.truncate(fed.len);
            passed.extend(stash.drain(..fed.pass));
            if guard.asked() {
                guard.decided(false);
            }
            if let Some(refused) = fed.refused {
                return (passed, Some(refused.reason), refused.in_body);
            }
            if fed.pass == 0 || stash.is_empty() {
                break;
            }
        }
    }
    (passed, None, false)
}

fuzz_target!(|data: &[u8]| {
    let [bits, step, bytes @ ..] = data else { return };
    let (rules, trusted) = (rules(*bits), bits & 1 << 7 != 0);
    let step = usize::from(*step).max(1);
    let (passed, reason, _) = read(&rules, trusted, std::iter::once(bytes));
    let (in_pieces, same, in_body) = read(&rules, trusted, bytes.chunks(step));
    assert_eq!(reason, same, "cut every {step} bytes");
    if in_body {
        assert!(in_pieces.starts_with(&passed)); // the whole takes the head along
    } else {
        assert_eq!(passed, in_pieces, "cut every {step} bytes");
    }
    let (again, reason, _) = read(&rules, trusted, passed.chunks(step));
    assert_eq!((again, reason), (passed, None), "what passed is clean");
});
