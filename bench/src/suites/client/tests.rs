//! What the clients print, read.

use super::*;

#[test]
fn each_client_has_its_words_for_requests() {
    let loadtester = "x: closed loop\n\n  task   requests  failed    per second  received\n  GET /   128,509       0        42,736   1.54 MB\n";
    assert_eq!(Client::Loadtester(PathBuf::new()).requests(loadtester), Some(128_509.0));
    assert_eq!(Client::Wrk.requests("  61279 requests in 3.02s, 8.94MB read\n"), Some(61_279.0));
    // Of oha 1.16, whose rate counts what it cut off at the end, and whose total time has any unit.
    let oha = "Summary:\n  Success rate:\t100.00%\n  Total:\t2005.9527 ms\n  Requests/sec:\t26305.2071\n\n\
               Status code distribution:\n  [200] 52703 responses\n\nError distribution:\n  [64] aborted due to deadline\n";
    assert_eq!(Client::Oha.requests(oha), Some(52_703.0));
    let locust = "Type     Name  # reqs      # fails |\n         Aggregated       6189     0(0.00%) |      9\n";
    assert_eq!(Client::Locust.requests(locust), Some(6189.0));
    assert_eq!(Client::Wrk.requests("unable to connect"), None);
}
