use super::*;

const PRINTED: &str = "Running 2s test @ http://127.0.0.1:8000/
  1 threads and 64 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency   812.26us  109.87us   3.51ms   93.54%
    Req/Sec    78.77k     3.01k   81.40k    85.00%
  Latency Distribution
     50%  792.00us
     75%  825.00us
     90%    0.88ms
     99%    1.22ms
  156838 requests in 2.00s, 20.19MB read
  Socket errors: connect 0, read 3, write 0, timeout 1
  Non-2xx or 3xx responses: 2
Requests/sec:  78298.15
Transfer/sec:     10.08MB
";

#[test]
fn the_report_of_wrk_is_read() {
    let load = Load { requests: 156_838, rate: 78298.15, p50: 792.0, p99: 1220.0, failed: 6 };
    assert_eq!(parse(PRINTED), Some(load));
    assert_eq!(parse("unable to connect to 127.0.0.1:8000 Connection refused"), None);
}

#[test]
fn a_clean_report_has_no_failures() {
    let clean: String = PRINTED
        .lines()
        .filter(|line| !line.contains("errors") && !line.contains("Non-2xx"))
        .fold(String::new(), |text, line| text + line + "\n");
    assert_eq!(parse(&clean).unwrap().failed, 0);
}
