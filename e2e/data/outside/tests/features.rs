//! The service in its own tests.

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use outside::service;
use rustcorn::{Error, TestServer, serve_test};

const CONFIG: &str = "max_body_size = 10\n[app]\ngreeting = 'Hello'\n";

async fn server() -> TestServer {
    serve_test(CONFIG, service).await.expect("it loads")
}

#[tokio::test]
async fn it_serves_and_counts_and_ends_in_order() {
    let server = server().await;
    assert_eq!(server.get("/").await.unwrap().body(), "Hello");
    assert_eq!(server.get("/user/7").await.unwrap().body(), "/user/7");
    assert_eq!(server.get("/who").await.unwrap().body(), "127.0.0.1 http true");
    let place = server.get("/where").await.unwrap();
    assert_eq!(place.body(), &format!("0 1 {} 1 false {}", rustcorn_workers(place.body()), server.address()));
    assert_eq!(server.get("/nothing").await.unwrap().status(), 404);
    assert_eq!(server.counts().requests(), 5);
    let end = server.stop().await;
    assert!(end.is_clean(), "the background tasks were done");
    assert_eq!((end.counts().status(200), end.counts().status(404)), (4, 1));
}

/// As many as the machine has CPUs.
fn rustcorn_workers(place: &[u8]) -> String {
    String::from_utf8_lossy(place).split(' ').nth(2).unwrap_or_default().to_owned()
}

#[tokio::test]
async fn a_panic_is_a_500_and_a_body_that_is_too_large_a_413() {
    let server = server().await;
    assert_eq!(server.get("/panic").await.unwrap().status(), 500);
    let post = |body: &'static str| server.send(Request::post("/echo").body(Full::<Bytes>::from(body)).unwrap());
    assert_eq!(post("0123456789").await.unwrap().body(), "0123456789");
    assert_eq!(post("0123456789x").await.unwrap().status(), 413);
}

#[tokio::test]
async fn a_request_hears_of_the_drain() {
    let server = server().await;
    let (answer, ()) = tokio::join!(server.get("/until-drain"), async {
        while server.counts().connections() == 0 {
            tokio::task::yield_now().await;
        }
        server.drain();
    });
    assert_eq!(answer.unwrap().body(), "it drains");
    assert!(server.stop().await.is_clean());
}

#[tokio::test]
async fn mistakes_are_told_all_at_once_with_their_places() {
    let text = "[app]\ngreating = 'Hi'\nmode = 'wild'\n\n[app.database]\nconnections = -1\n";
    let Err(Error::Config { mistakes, .. }) = serve_test(text, service).await else { panic!("it is full of mistakes") };
    let told: Vec<String> = mistakes.iter().map(ToString::to_string).collect();
    assert_eq!(told.len(), 4, "{told:#?}");
    for (mistake, line) in told.iter().zip([1, 2, 3, 6]) {
        assert!(mistake.starts_with(&format!("app.toml:{line}: app.")), "{told:#?}");
    }
    let error = serve_test("workers = 9\n[app]\ngreeting = 'Hi'\n", service).await.expect_err("four connections");
    assert_eq!(error.to_string(), "app.toml: app.database: each worker needs a connection");
}
