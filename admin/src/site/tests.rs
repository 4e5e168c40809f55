//! Paths, forms, methods.

use http_body_util::BodyExt;
use rustcorn_scoreboard::{Phase, State};
use rustcorn_sys::log::{Format, Level};

use super::*;
use crate::testing::World;

fn site(world: &World) -> Site {
    let words =
        Words { min_ready: 1, loglevel: Level::Info, log_format: Format::Text, syslog: None, name: "he\"llo<".into() };
    Site::new(world.view(), words).expect("no fold is under way")
}

fn get_as(site: &Site, path: &str, accept: &str) -> (u16, String, String) {
    let mut headers = HeaderMap::new();
    headers.insert(ACCEPT, accept.parse().unwrap());
    let answer = site.answer(&Method::GET, path, &headers);
    let (head, body) = answer.into_parts();
    assert_eq!(head.headers[CACHE_CONTROL], "no-store");
    assert_eq!(head.headers[X_CONTENT_TYPE_OPTIONS], "nosniff");
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let bytes = runtime.block_on(body.collect()).expect("a body in memory").to_bytes();
    let kind = head.headers[CONTENT_TYPE].to_str().unwrap().to_owned();
    (head.status.as_u16(), kind, String::from_utf8(bytes.to_vec()).unwrap())
}

fn get(site: &Site, path: &str) -> (u16, String) {
    let (status, _, body) = get_as(site, path, "*/*");
    (status, body)
}

#[test]
fn health_says_why_not() {
    let world = World::new();
    let site = site(&world);
    world.target(1);
    assert_eq!(get(&site, "/livez"), (200, "alive\n".into()));
    assert_eq!(get(&site, "/readyz"), (503, "0 of 1 workers are ready; min_ready_workers is 1\n".into()));
    let worker = world.worker(0);
    worker.set_state(State::Ready);
    assert_eq!(get(&site, "/readyz"), (200, "1 of 1 workers are ready\n".into()));
    world.board.set_phase(Phase::Stopping);
    assert_eq!(get(&site, "/readyz"), (503, "draining: the server is stopping\n".into()));
    assert_eq!(get(&site, "/livez").0, 200);
}

#[test]
fn each_form_for_those_who_ask_for_it() {
    let world = World::new();
    let site = site(&world);
    let browser = "text/html,application/xhtml+xml,*/*;q=0.8";
    let kind = |path, accept| get_as(&site, path, accept).1;
    assert_eq!(kind("/status", browser), HTML);
    assert_eq!(kind("/status", "*/*"), "application/json");
    assert_eq!(kind("/status", "application/json"), "application/json");
    assert_eq!(kind("/", browser), HTML);
    assert_eq!(kind("/", "*/*"), TEXT);
    assert_eq!(kind("/metrics", "text/plain"), metrics::FORMAT);
    assert!(get(&site, "/").1.contains("/readyz"));
    let index = get_as(&site, "/", browser).2;
    assert!(index.contains("<a href=\"status\">") && !index.contains('{'), "{index}");
}

#[test]
fn the_page_needs_nothing_from_elsewhere() {
    let world = World::new();
    let site = site(&world);
    for (path, accept) in [("/status", "text/html"), ("/", "text/html"), ("/status.css", "*/*"), ("/status.js", "*/*")]
    {
        let (status, _, body) = get_as(&site, path, accept);
        assert_eq!(status, 200);
        let elsewhere = body.replace("http://www.w3.org/2000/svg", "");
        assert!(
            !elsewhere.contains("://") && !elsewhere.contains("@import") && !elsewhere.contains("innerHTML"),
            "{path}"
        );
    }
}

#[test]
fn looking_is_all_there_is() {
    let world = World::new();
    let site = site(&world);
    for method in [Method::POST, Method::PUT, Method::DELETE, Method::OPTIONS] {
        let answer = site.answer(&method, "/status", &HeaderMap::new());
        assert_eq!(answer.status(), StatusCode::METHOD_NOT_ALLOWED);
        assert_eq!(answer.headers()[ALLOW], "GET, HEAD");
    }
    assert_eq!(site.answer(&Method::HEAD, "/livez", &HeaderMap::new()).status(), StatusCode::OK);
    assert_eq!(get(&site, "/status/").0, 404);
    assert_eq!(get(&site, "/../etc/passwd").0, 404);
}

#[test]
fn the_document_holds_what_scripts_rely_on() {
    let world = World::new();
    let site = site(&world);
    let worker = world.worker(3);
    worker.set_state(State::Ready);
    worker.request_started();
    worker.request_finished(201, std::time::Duration::from_millis(3), 7);
    site.sample();
    let (_, text) = get(&site, "/status");
    let value: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(value["name"], "he\"llo<");
    assert_eq!((&value["phase"], &value["ready"]), (&"running".into(), &true.into()));
    assert_eq!(value["responses"]["201"], 1);
    assert_eq!(value["requests"]["response_bytes"], 7);
    assert_eq!(value["slots"][0]["slot"], 3);
    assert_eq!(value["slots"][0]["state"], "ready");
    assert_eq!(value["restarts"]["hang"], 0);
    assert_eq!(value["history"]["points"][0]["connections"], 0);
    assert!(value["duration"]["p99"].as_f64().is_some_and(|p99| (p99 - 0.003).abs() < 0.0001));
    assert_eq!(value["backlog"], serde_json::Value::Null);
}

#[test]
fn what_foreign_programs_serve_is_null_and_not_zero() {
    let world = World::new();
    let site = site(&world);
    world.foreign(0).set_state(State::Ready);
    let document = || serde_json::from_str::<serde_json::Value>(&get(&site, "/status").1).expect("JSON");
    let value = document();
    for (part, of) in [("requests", &value), ("connections", &value), ("busy", &value["workers"])] {
        assert_eq!(of.get(part), Some(&serde_json::Value::Null), "{part}");
    }
    for part in ["requests", "in_flight", "connections", "aborted", "heartbeat_age"] {
        assert_eq!(value["slots"][0].get(part), Some(&serde_json::Value::Null), "{part}");
    }
    assert_eq!((&value["workers"]["ready"], &value["slots"][0]["state"]), (&1.into(), &"ready".into()));

    world.worker(1).set_state(State::Ready);
    let value = document();
    assert_eq!((&value["requests"]["total"], &value["slots"][1]["requests"]), (&0.into(), &0.into()));
    assert_eq!(value["slots"][0]["requests"], serde_json::Value::Null);
}
