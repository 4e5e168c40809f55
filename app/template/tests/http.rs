//! The service as a client sees it, in this process, on a port of its own: `cargo test`.

use rustcorn::{TestServer, serve_test};
use {{crate}}::service;

/// With the settings that the server has, and a greeting of the tests.
async fn server() -> TestServer {
    let settings = include_str!("../app.toml").replace("Hello World!", "Hi");
    serve_test(&settings, service).await.expect("it loads")
}

#[tokio::test]
async fn it_greets() {
    let server = server().await;
    assert_eq!(server.get("/").await.unwrap().body(), "Hi\n");
    assert_eq!(server.get("/hello/you").await.unwrap().body(), r#"{"text":"Hi, you"}"#);
    assert_eq!(server.get("/nothing").await.unwrap().status(), 404);
    let end = server.stop().await;
    assert!(end.is_clean());
    assert_eq!((end.counts().requests(), end.counts().status(200)), (3, 2));
}

#[tokio::test]
async fn a_mistake_in_its_settings_is_told_with_its_place() {
    let error = serve_test("[app]\ngreating = \"Hi\"", service).await.expect_err("there is no such key");
    assert!(error.to_string().starts_with("app.toml:2: app.greating: unknown key"), "{error}");
}
