//! The log as machines read it.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::harness::{Conn, PATIENCE, Server, Setup, Sig, Sink, eventually, proc};
use crate::receiver::{Health, Receiver};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

/// Every line so far, each of which has to be an object with what every line has.
#[track_caller]
fn objects(server: &Server) -> Vec<Value> {
    server.log.since(0).iter().map(|line| object(line)).collect()
}

#[track_caller]
fn object(line: &str) -> Value {
    let object: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    let text = |key: &str| object[key].as_str().unwrap_or_else(|| panic!("no {key}: {line}")).to_owned();
    assert!(["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"].contains(&text("severity").as_str()), "{line}");
    let time = text("time");
    assert!(time.len() == 27 && time.ends_with('Z') && time.as_bytes()[10] == b'T', "{line}");
    assert!(object["pid"].is_u64() && object["message"].is_string(), "{line}");
    match text("role").as_str() {
        "worker" => assert!(object["slot"].is_u64() && object["generation"].is_u64(), "{line}"),
        role => assert!(["master", "admin"].contains(&role), "{line}"),
    }
    object
}

/// Waits for the object whose message contains `words`.
#[track_caller]
fn wait_for(server: &Server, words: &str) -> Value {
    object(&server.log.wait(0, words, 1, PATIENCE))
}

/// A message without what differs from run to run.
fn common(message: &str) -> String {
    message.split(|c: char| c.is_ascii_digit()).filter(|part| !part.is_empty()).collect::<Vec<_>>().join("#")
}

/// A whole life: boot, a death, a good reload, a bad one, a stop.
fn life(format: &str) -> Server {
    let set = format!("log_format = \"{format}\"\nadmin_bind = \"127.0.0.1:0\"");
    let expected = ["was sent SIGKILL!", "Reload failed: "];
    let setup = expected.iter().fold(Setup::hello().set(&set), |setup, line| setup.expect(line));
    let mut server = setup.start();
    let ready = |pid: &u32| server.log.count(&format!("Worker ready (pid: {pid},")) > 0;
    let victim = server.workers().into_iter().find(ready).expect("two are");
    proc::signal(victim, Sig::SIGKILL);
    server.log.wait(0, "was sent SIGKILL!", 1, PATIENCE);
    server.log.wait(0, "Worker ready", 3, PATIENCE);
    server.signal(Sig::SIGUSR1);
    server.log.wait(0, "Handling signal: usr1", 1, PATIENCE);
    assert!(server.reload().contains("generation 2 is serving"));
    server.log.wait(0, "Worker exiting", 2, PATIENCE);
    server.write_text("workerz = 3\n");
    let line = server.reload();
    assert!(line.contains("Reload failed: ") && line.contains("workerz: unknown key"), "{line}");
    server.signal(Sig::SIGTERM);
    assert_eq!(server.wait_for_exit(PATIENCE), 0);
    server.wait_for_silence(PATIENCE);
    server
}

#[test]
fn every_line_of_a_life_is_an_object_that_says_what_the_text_says() {
    let (text, json) = (life("text"), life("json"));
    let objects = objects(&json);
    // Which debug lines there are depends on who is quicker.
    let wanted = objects.iter().filter(|line| line["severity"] != "DEBUG");
    let said: BTreeSet<String> = wanted.map(|line| common(line["message"].as_str().expect("text"))).collect();
    let lines: Vec<String> = text.log.since(0).into_iter().filter(|line| !line.contains("] [DEBUG] ")).collect();
    let words = |line: &String| common(line.splitn(4, "] ").nth(3).unwrap_or_else(|| panic!("{line}")));
    assert_eq!(said, lines.iter().map(words).collect());
    // The same severities, too.
    let severity = |words: &str| {
        let of = |line: &&Value| line["message"].as_str().is_some_and(|message| message.contains(words));
        objects.iter().find(of).unwrap_or_else(|| panic!("{words}"))
    };
    let killed = severity("was sent SIGKILL!");
    assert_eq!((&killed["severity"], &killed["worker"]["signal"]), (&"ERROR".into(), &"SIGKILL".into()));
    let failed = severity("Reload failed: ");
    assert_eq!((&failed["severity"], &failed["generation"]), (&"ERROR".into(), &2.into()));
    let generations: BTreeSet<_> = objects.iter().filter_map(|line| line["generation"].as_u64()).collect();
    assert_eq!(generations, [1, 2].into());
}

#[test]
fn a_reload_switches_every_process() {
    let mut server = Setup::hello().set("admin_bind = \"127.0.0.1:0\"").start();
    server.wait_for_line("Booting admin process");
    for (format, number) in [("json", 1), ("text", 2)] {
        let mark = server.log.mark();
        let before = server.workers();
        server.reconfigure(&format!("log_format = \"{format}\""), "");
        assert!(server.reload().contains("Reloaded: "));
        eventually("all are replaced", PATIENCE, || server.workers().is_disjoint(&before).then_some(()));
        server.log.wait(mark, "Booting admin process", 1, PATIENCE);
        let after = server.log.mark();
        server.signal(Sig::SIGUSR1);
        server.log.wait(after, "Handling signal: usr1", 1, PATIENCE);
        for words in
            ["Setting log_format: ", "Reloaded: ", "Booting worker", "Booting admin process", "Handling signal: usr1"]
        {
            let line = server.log.find(mark, words).expect("it was said");
            assert_eq!(line.starts_with('{'), format == "json", "{number}: {line}");
        }
    }
}

fn json_app(settings: &str) -> Setup {
    Setup::testapp().set(&format!("workers = 1\nlog_format = \"json\"\n{settings}"))
}

#[test]
fn what_the_application_says_has_the_trace_of_its_request() {
    for sampled in [true, false] {
        let receiver = Receiver::start(Health::Well);
        let setup = json_app(&format!("otlp_endpoint = \"{}\"", receiver.url())).expect("out of stock");
        let mut server = setup.env("GOOGLE_CLOUD_PROJECT", "shop-1").start();
        let head = format!("traceparent: 00-{TRACE}-00000000000000ab-0{}\r\n", u8::from(sampled));
        let answer = server.connect().request("GET", "/log", &head, "").expect("an answer");
        assert_eq!((answer.status, answer.body.as_str()), (200, "logged"));
        server.connect().get("/log").expect("an answer");
        server.log.wait(0, "by way of log", 2, PATIENCE);
        server.signal(Sig::SIGTERM);
        assert_eq!(server.wait_for_exit(PATIENCE), 0);
        server.wait_for_silence(PATIENCE);

        let received = receiver.received();
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let span = received.spans.iter().find(|(_, span)| hex(&span.trace_id) == TRACE);
        assert_eq!(span.is_some(), sampled);
        // Without a span of its own the request is in its caller's.
        let expected = span.map_or_else(|| "00000000000000ab".to_owned(), |(_, span)| hex(&span.span_id));
        let all = objects(&server);
        let mine = format!("projects/shop-1/traces/{TRACE}");
        let lines: Vec<&Value> = all.iter().filter(|line| line["logging.googleapis.com/trace"] == mine).collect();
        let words: Vec<_> = lines.iter().map(|line| line["message"].as_str().expect("text")).collect();
        assert_eq!(words, ["stock is low", "out of stock", "by way of log", "for someone who looks for a fault"]);
        for line in &lines {
            assert_eq!(line["logging.googleapis.com/spanId"], expected);
            assert_eq!(line["logging.googleapis.com/trace_sampled"], sampled);
        }
        assert_eq!(lines[0]["severity"], "WARNING");
        assert_eq!(lines[0]["fields"], serde_json::json!({"rows": 3, "forged": "a\n[1] forged"}));
        assert_eq!(lines[0]["spans"], serde_json::json!([{"name": "checkout", "fields": {"cart": 7}}]));
        assert_eq!((&lines[2]["target"], lines[2].get("spans")), (&"library".into(), None));
        // The other request was in a trace of its own.
        let traces: BTreeSet<_> = all.iter().filter_map(|line| line["logging.googleapis.com/trace"].as_str()).collect();
        assert_eq!(traces.len(), 2, "{traces:?}");
        assert_eq!(received.spans.len(), if sampled { 2 } else { 1 });
    }
}

#[test]
fn what_the_application_says_is_counted_and_readable_as_text() {
    let sink = Sink::start();
    let settings = format!("statsd_host = \"{}\"\nstatsd_interval = 0.05\nworkers = 1", sink.address);
    let server = Setup::testapp().set(&settings).expect("out of stock").start();
    for _ in 0..3 {
        server.get("/log").expect("an answer");
    }
    let counted = |name: &str| format!("gunicorn.log.{name}");
    let sums = sink.wait(PATIENCE, |sums| sums.counter(&counted("error")) >= 3);
    assert_eq!([counted("warning"), counted("error"), counted("exception")].map(|name| sums.counter(&name)), [3, 3, 0]);
    let line = server.wait_for_line("stock is low");
    let place = "[WARNING] checkout{cart=7}: rustcorn_e2e_testapp: stock is low ";
    assert!(line.ends_with(&format!("{place}forged=\"a\\n[1] forged\" rows=3")), "{line}");
    server.wait_for_line("[INFO] library: by way of log");
    server.wait_for_line("[DEBUG] rustcorn_e2e_testapp: the application is being loaded");
    assert_eq!(server.log.count("too much"), 0, "debug does not include TRACE");
}

#[test]
fn rust_log_selects_and_a_spoilt_one_is_complained_about_once() {
    let server = Setup::testapp().set("workers = 1").env("RUST_LOG", "off,library=info").start();
    server.get("/log").expect("an answer");
    server.wait_for_line("[INFO] library: by way of log");
    assert_eq!(server.log.count("rustcorn_e2e_testapp"), 0, "all else is off");
    drop(server);
    let server = Setup::testapp().env("RUST_LOG", "library=loud").expect("out of stock").start();
    server.wait_for_line("[WARNING] RUST_LOG=\"library=loud\" is not understood and ignored: ");
    server.settled(2);
    server.get("/log").expect("an answer");
    server.wait_for_line("stock is low");
    assert_eq!(server.log.count("is not understood"), 1, "one worker speaks for all");
}

#[test]
fn an_application_with_its_own_subscriber_says_each_thing_once() {
    let server = json_app("").app("own_subscriber = true").expect("out of stock").start();
    server.get("/log").expect("an answer");
    let line = wait_for(&server, "stock is low");
    assert_eq!(line["fields"]["rows"], 3);
    wait_for(&server, "for someone who looks for a fault");
    assert_eq!(server.log.count("stock is low"), 1);
    assert_eq!(server.log.count("by way of log"), 0, "its subscriber does not ask for records of log");
}

#[test]
fn a_panic_is_one_line_that_says_which_request() {
    let setup = json_app("").expect("panicked").env("RUST_BACKTRACE", "0");
    let server = setup.start();
    let head = format!("traceparent: 00-{TRACE}-00000000000000ab-01\r\nUser-Agent: a \"b\"\r\n");
    let answer = server.connect().request("GET", "/panic?sig=secret&q=%0A", &head, "");
    assert_eq!(answer.map(|answer| answer.status), Ok(500));
    let line = wait_for(&server, "asked to panic");
    let message = line["message"].as_str().expect("text");
    assert!(message.starts_with("Error handling request GET /panic: panicked: asked to panic, at "), "{message}");
    assert_eq!(line["severity"], "ERROR");
    let place = &line["logging.googleapis.com/sourceLocation"];
    assert!(place["file"].as_str().is_some_and(|file| file.ends_with("rustcorn-e2e-testapp.rs")), "{place}");
    // Without a collector there is no span, but still the caller's.
    let trace = ["trace", "spanId", "trace_sampled"].map(|key| &line[format!("logging.googleapis.com/{key}")]);
    assert_eq!(trace, [&TRACE.into(), &Value::from("00000000000000ab"), &true.into()]);
    let request = &line["httpRequest"];
    let expected = [
        ("requestMethod", "GET"),
        ("requestUrl", "http://e2e/panic?sig=REDACTED&q=%0A"),
        ("userAgent", "a \"b\""),
        ("remoteIp", "127.0.0.1"),
        ("protocol", "HTTP/1.1"),
    ];
    for (key, value) in expected {
        assert_eq!(request[key], value, "{key}");
    }
    assert_eq!(request["status"], 500);
    let latency = request["latency"].as_str().and_then(|latency| latency.strip_suffix('s')?.parse::<f64>().ok());
    assert!(latency.is_some_and(|latency| (0.0..60.0).contains(&latency)), "{request}");

    // On a thread of the application's own there is no request to name.
    assert_eq!(server.get("/panic-elsewhere").map(|answer| answer.body), Ok("it did".to_owned()));
    let line = wait_for(&server, "Thread 'elsewhere' panicked: asked to panic, at ");
    assert_eq!((&line["severity"], line.get("httpRequest")), (&"ERROR".into(), None));
    assert_eq!(objects(&server).iter().filter(|line| line["message"].to_string().contains("panic")).count(), 2);
}

#[test]
fn a_refused_head_is_a_line_with_its_span() {
    let receiver = Receiver::start(Health::Well);
    let server =
        json_app(&format!("otlp_endpoint = \"{}\"", receiver.url())).env("OTEL_BSP_SCHEDULE_DELAY", "1").start();
    let mut conn = Conn::open(server.address()).expect("the server accepts");
    conn.send_raw("GET / HTTP/1.1\r\nb@d: \u{1b}[2J\r\n\r\n").expect("it is sent");
    assert_eq!(conn.receive(false).map(|answer| answer.status), Ok(400));
    let line = wait_for(&server, "Invalid request from ip=127.0.0.1: ");
    assert_eq!(line["httpRequest"], serde_json::json!({"status": 400, "remoteIp": "127.0.0.1"}));
    let (trace, span) = (&line["logging.googleapis.com/trace"], &line["logging.googleapis.com/spanId"]);
    receiver.wait_until("the span arrives", |received| !received.spans.is_empty());
    let hex = |bytes: &[u8]| Value::from(bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>());
    let received = receiver.received();
    let (_, sent) = &received.spans[0];
    assert_eq!((trace, span), (&hex(&sent.trace_id), &hex(&sent.span_id)));
}
