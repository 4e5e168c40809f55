//! What the clients print, read.

use super::*;

#[test]
fn each_client_has_its_words_for_requests() {
    let loadtester = "x: closed loop\n\n  task   requests  failed    per second  received\n  GET /   128,509       0        42,736   1.54 MB\n";
    assert_eq!(Client::Loadtester(PathBuf::new()).requests(loadtester), Some(128_509.0));
    assert_eq!(Client::Wrk.requests("  61279 requests in 3.02s, 8.94MB read\n"), Some(61_279.0));
    let oha = "Summary:\n  Success rate:\t100.00%\n  Total:\t2.0000 secs\n  Requests/sec:\t1500.5000\n";
    assert_eq!(Client::Oha.requests(oha), Some(3001.0));
    let locust = "Type     Name  # reqs      # fails |\n         Aggregated       6189     0(0.00%) |      9\n";
    assert_eq!(Client::Locust.requests(locust), Some(6189.0));
    assert_eq!(Client::Wrk.requests("unable to connect"), None);
}
