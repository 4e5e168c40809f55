//! The service as a client sees it, without a server: `cargo test`.

use axum::body::Body;
use axum::http::{Request, StatusCode};
use http_body_util::BodyExt;
use tower::ServiceExt;
use {{crate}}::{Config, router};

async fn get(path: &str) -> (StatusCode, String) {
    let router = router(Config { greeting: "Hi".to_owned() });
    let response = router.oneshot(Request::get(path).body(Body::empty()).unwrap()).await.unwrap();
    let status = response.status();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

#[tokio::test]
async fn it_greets() {
    assert_eq!(get("/").await, (StatusCode::OK, "Hi\n".to_owned()));
    assert_eq!(get("/hello/you").await, (StatusCode::OK, r#"{"text":"Hi, you"}"#.to_owned()));
    assert_eq!(get("/nothing").await.0, StatusCode::NOT_FOUND);
}
