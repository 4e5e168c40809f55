use super::*;

fn hello(config: Config) -> Hello {
    Hello::new(config, &opentelemetry::global::meter("off"))
}

fn answer(hello: &Hello, method: &str, path: &str) -> Response<Full<Bytes>> {
    hello.answer(&Method::from_bytes(method.as_bytes()).unwrap(), path)
}

#[test]
fn hello_to_get_and_head_of_the_root_only() {
    let hello = hello(Config::default());
    let statuses = [("GET", "/", 200), ("HEAD", "/", 200), ("POST", "/", 405), ("GET", "/x", 404), ("PUT", "/x", 404)];
    for (method, path, status) in statuses {
        assert_eq!(answer(&hello, method, path).status(), status, "{method} {path}");
    }
    assert_eq!(answer(&hello, "POST", "/").headers()[ALLOW], "GET, HEAD");
}

#[test]
fn chaos_hits_its_share_of_requests_with_statuses_from_400_to_500() {
    for (percent, expected) in [(0, 0..=0), (25, 2_000..=3_000), (100, 10_000..=10_000)] {
        let hello = hello(Config { chaos_percent: Percent(percent), delay_ms: 0 });
        let failed: Vec<u16> =
            (0..10_000).map(|_| answer(&hello, "GET", "/").status().as_u16()).filter(|status| *status != 200).collect();
        assert!(expected.contains(&failed.len()), "{percent} %: {}", failed.len()); // 25 % is 23 sigmas wide
        assert!(failed.iter().all(|status| (400..=500).contains(status)));
    }
}

#[test]
fn the_environment_overrides_chaos_percent_and_is_checked() {
    let with = |variable| Config::default().with_chaos(variable);
    assert_eq!(with(Some("30")).unwrap().chaos_percent, Percent(30));
    assert_eq!(with(None).unwrap().chaos_percent, Percent(0));
    for bad in ["101", "-1", "half", ""] {
        let problem = with(Some(bad)).unwrap_err().to_string();
        assert!(problem.contains(CHAOS_VARIABLE) && problem.contains("0 to 100"), "{problem}");
    }
}
