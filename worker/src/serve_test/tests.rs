//! What a test of an application can rely on.

use std::convert::Infallible;
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};

use http::StatusCode;
use http_body_util::Full;
use serde::Deserialize;
use tokio::sync::Notify;
use tower::service_fn;

use super::*;
use crate::testing::PATIENCE;

type Answer = Result<Response<Full<Bytes>>, Infallible>;

async fn hello(_: Request<RequestBody>) -> Answer {
    Ok(Response::new(Full::from("Hello")))
}

/// Runs a test, which takes no longer than a test may.
fn run(test: impl Future<Output = ()>) {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(PATIENCE, test).await.expect("in time") });
}

#[test]
fn requests_are_answered_counted_and_refused_as_in_a_worker() {
    run(async {
        let server = serve_test("max_body_size = 3\n", |_| async { Ok(service_fn(hello)) }).await.unwrap();
        assert_eq!(server.get("/").await.unwrap().body(), "Hello");
        let post = |body: &'static str| Request::post("/").body(Full::<Bytes>::from(body)).unwrap();
        assert_eq!(server.send(post("123")).await.unwrap().status(), StatusCode::OK);
        assert_eq!(server.send(post("1234")).await.unwrap().status(), StatusCode::PAYLOAD_TOO_LARGE);
        let counts = server.counts();
        assert_eq!((counts.status(200), counts.refused(), counts.connections()), (2, 1, 3));
        let end = server.stop().await;
        assert!(end.is_clean());
        assert_eq!((end.counts().requests(), end.counts().status(413), end.counts().status(999)), (3, 1, 0));
    });
}

#[test]
fn nothing_has_to_be_send_and_a_panic_is_a_500_that_is_counted() {
    run(async {
        let make = |_| async {
            let count = Rc::new(AtomicUsize::new(0));
            Ok(service_fn(move |_: Request<RequestBody>| {
                let count = Rc::clone(&count);
                async move {
                    let number = count.fetch_add(1, Relaxed);
                    assert!(number < 1, "asked once too often");
                    Ok::<_, Infallible>(Response::new(Full::<Bytes>::from(number.to_string())))
                }
            }))
        };
        let server = serve_test("", make).await.unwrap();
        assert_eq!(server.get("/").await.unwrap().body(), "0");
        assert_eq!(server.get("/").await.unwrap().status(), StatusCode::INTERNAL_SERVER_ERROR);
        assert_eq!(server.counts().exceptions(), 1);
    });
}

#[derive(Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
struct Config {
    level: Level,
    database: Database,
    #[serde(default)]
    tags: Vec<String>,
}

#[derive(Debug, Deserialize, PartialEq)]
#[serde(rename_all = "lowercase")]
enum Level {
    Low,
    High,
}

#[derive(Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
struct Database {
    url: String,
    pool: u8,
}

/// What is wrong with a configuration.
async fn complaint(text: &str) -> String {
    let make = |ctx: Context| async move {
        let config: Config = ctx.config()?;
        if config.database.pool == 0 {
            return Err(ctx.mistake("database", "a pool of 0 serves nobody; use 1 or more").into());
        }
        Ok(service_fn(hello))
    };
    let error = serve_test(text, make).await.expect_err("it is wrong");
    assert!(matches!(error, Error::Config { .. }), "{error:?}");
    error.to_string()
}

#[test]
fn mistakes_in_the_applications_own_keys_name_their_place() {
    run(async {
        let good = "[app]\nlevel = \"high\"\ntags = [\"a\"]\n[app.database]\nurl = \"x\"\npool = 3\n";
        let make = |ctx: Context| async move {
            let config: Config = ctx.config()?;
            assert_eq!((config.level, config.database.pool, config.tags.len()), (Level::High, 3, 1));
            Ok(service_fn(hello))
        };
        serve_test(good, make).await.unwrap();
        for (from, to, expected) in [
            ("\"high\"", "\"hihg\"", "app.toml:2: app.level: unknown variant `hihg`, expected `low` or `high`"),
            ("[\"a\"]", "[1]", "app.toml:3: app.tags: invalid type: integer `1`, expected a string"),
            ("[\"a\"]", "\"a\"", "app.toml:3: app.tags: invalid type: string \"a\", expected a sequence"),
            ("url", "ulr", "app.toml:5: app.database.ulr: unknown key; known: url, pool; did you mean \"url\"?"),
            ("url = \"x\"\n", "", "app.toml:4: app.database.url: missing; add it"),
            ("= 3", "= 300", "app.toml:6: app.database.pool: invalid value: integer `300`, expected u8"),
            ("= 3", "= 0", "app.toml:4: app.database: a pool of 0 serves nobody; use 1 or more"),
            ("level = \"high\"\n", "", "app.toml:1: app.level: missing; add it"),
            ("[app]", "keep_alive = 3\n[app]", "app.toml:1: keep_alive: unknown key; did you mean \"keepalive\"?"),
        ] {
            assert_eq!(complaint(&good.replace(from, to)).await, expected);
        }
        let two = complaint(&good.replace("high", "hihg").replace("= 3", "= \"many\"")).await;
        assert_eq!(two.lines().count(), 2, "all at once: {two}");
    });
}

#[test]
fn an_application_that_fails_says_why_and_its_panic_is_no_ones_else() {
    run(async {
        let refuses = |_| async { if true { Err("no database".into()) } else { Ok(service_fn(hello)) } };
        let error = serve_test("", refuses).await.unwrap_err();
        assert!(matches!(&error, Error::Application(why) if why.to_string() == "no database"), "{error:?}");
        let panics = |_| async { if true { panic!("no luck") } else { Ok(service_fn(hello)) } };
        let error = serve_test("", panics).await.unwrap_err();
        assert!(error.to_string().contains("no luck"), "{error}");
    });
}

#[test]
fn a_drain_waits_for_background_tasks_in_this_order() {
    run(async {
        let story = Arc::new(Mutex::new(Vec::new()));
        let (go, told) = (Arc::new(Notify::new()), Arc::clone(&story));
        let gate = Arc::clone(&go);
        let make = |ctx: Context| async move {
            let say = move |what: &'static str| told.lock().unwrap().push(what);
            let (sender, mut queue) = tokio::sync::mpsc::unbounded_channel();
            let (tell, beginning, over) = (say.clone(), ctx.draining(), ctx.drained());
            ctx.spawn("periodic", async move {
                beginning.await;
                tell("draining");
                over.await;
                tell("drained");
            });
            let tell = say.clone();
            ctx.spawn("writer", async move {
                while let Some(what) = queue.recv().await {
                    tell(what);
                }
                tokio::time::timeout(Duration::from_millis(50), std::future::pending::<()>()).await.unwrap_err();
                tell("written");
            });
            Ok(service_fn(move |_: Request<RequestBody>| {
                let (sender, gate, ctx) = (sender.clone(), Arc::clone(&gate), ctx.clone());
                async move {
                    assert!(!ctx.is_draining());
                    ctx.draining().await;
                    assert!(ctx.is_draining());
                    gate.notified().await;
                    sender.send("requested").unwrap();
                    hello(Request::new(())).await
                }
            }))
        };
        async fn hello(_: Request<()>) -> Answer {
            Ok(Response::new(Full::from("Hello")))
        }
        let server = serve_test("", make).await.unwrap();
        let mut asked = Box::pin(async {
            let answer = server.get("/").await.unwrap();
            assert_eq!(answer.body(), "Hello");
        });
        let mut drained = Box::pin(async {
            while server.board.vitals(0).in_flight == 0 {
                tokio::task::yield_now().await;
            }
            server.drain();
            go.notify_one();
        });
        let mut sent = false;
        poll_fn(|cx| {
            sent = sent || drained.as_mut().poll(cx).is_ready();
            asked.as_mut().poll(cx)
        })
        .await;
        drop((asked, drained));
        let end = server.stop().await;
        assert!(end.is_clean());
        let mut story = std::mem::take(&mut *story.lock().unwrap());
        assert_eq!(story.first(), Some(&"draining"));
        assert_eq!(story.last(), Some(&"written"));
        story.sort_unstable();
        assert_eq!(story, ["drained", "draining", "requested", "written"]);
    });
}

#[test]
fn a_task_that_panics_ends_alone_and_one_that_stays_is_cut() {
    run(async {
        let make = |ctx: Context| async move {
            ctx.spawn("clumsy", async { panic!("dropped everything") });
            ctx.spawn("stubborn", std::future::pending());
            Ok(service_fn(hello))
        };
        let server = serve_test("graceful_timeout = 0.2", make).await.unwrap();
        while server.counts().exceptions() == 0 {
            tokio::task::yield_now().await;
        }
        assert_eq!(server.get("/").await.unwrap().body(), "Hello");
        let end = server.stop().await;
        assert!(!end.is_clean(), "it was cut");
        assert_eq!(end.counts().exceptions(), 1);
    });
}

#[test]
fn tasks_can_be_begun_by_requests_and_from_other_threads() {
    run(async {
        let done = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&done);
        let make = |ctx: Context| async move {
            Ok(service_fn(move |_: Request<RequestBody>| {
                let (ctx, count) = (ctx.clone(), Arc::clone(&count));
                async move {
                    let number = Arc::clone(&count);
                    ctx.spawn("after the response", async move {
                        number.fetch_add(1, Relaxed);
                    });
                    let (elsewhere, number) = (ctx.clone(), Arc::clone(&count));
                    let thread = std::thread::spawn(move || {
                        elsewhere.spawn_threaded("from elsewhere", async move {
                            number.fetch_add(10, Relaxed);
                        });
                    });
                    thread.join().unwrap();
                    let wrong = std::thread::spawn(move || ctx.spawn("nowhere", async {})).join().unwrap_err();
                    let wrong = wrong.downcast_ref::<String>().unwrap().clone();
                    Ok::<_, Infallible>(Response::new(Full::<Bytes>::from(wrong)))
                }
            }))
        };
        let server = serve_test("", make).await.unwrap();
        let answer = server.get("/").await.unwrap();
        let text = String::from_utf8_lossy(answer.body()).into_owned();
        assert!(text.contains("start \"nowhere\" with spawn_threaded"), "{text}");
        assert!(server.stop().await.is_clean());
        assert_eq!(done.load(Relaxed), 11);
    });
}

#[test]
fn a_server_that_is_dropped_drains() {
    run(async {
        let done = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&done);
        let make = |ctx: Context| async move {
            let drained = ctx.drained();
            ctx.spawn("last words", async move {
                drained.await;
                count.fetch_add(1, Relaxed);
            });
            Ok(service_fn(hello))
        };
        drop(serve_test("", make).await.unwrap());
        assert_eq!(done.load(Relaxed), 1);
    });
}

/// A test whose application blocks its thread, from its beginning on until the test is over.
fn with_blocked(configuration: &str, test: impl AsyncFnOnce(TestServer)) {
    let (release, blocked) = std::sync::mpsc::channel::<()>();
    let (tell, begun) = tokio::sync::oneshot::channel();
    run(async {
        let make = move |ctx: Context| async move {
            ctx.spawn("blocker", async move {
                tell.send(()).unwrap();
                let _ = blocked.recv();
            });
            Ok(service_fn(hello))
        };
        let server = serve_test(configuration, make).await.unwrap();
        begun.await.unwrap();
        test(server).await;
    });
    drop(release);
}

#[test]
fn a_test_that_fails_since_the_application_blocks_its_thread_still_ends() {
    with_blocked("", async |server| {
        let fails = std::thread::spawn(move || {
            let _server = server;
            panic!("as the assertion of a test");
        });
        let said = fails.join().unwrap_err();
        assert_eq!(said.downcast_ref(), Some(&"as the assertion of a test"));
    });
}

#[test]
fn a_stop_is_over_in_time_though_the_application_blocks_its_thread() {
    with_blocked("graceful_timeout = 0.1", async |server| assert!(!server.stop().await.is_clean()));
}

/// Not even tokio's time, which a test may stop: then it jumps to the end of what is waited for.
#[test]
fn a_stop_needs_nothing_of_the_tests_runtime() {
    let runtime = Builder::new_current_thread().enable_io().build().unwrap();
    let end =
        runtime.block_on(async { serve_test("", |_| async { Ok(service_fn(hello)) }).await.unwrap().stop().await });
    assert!(end.is_clean());
}

#[test]
fn tasks_of_a_test_can_share_it() {
    const fn shared<T: Send + Sync>() {}
    shared::<TestServer>();
}
