//! The handler `static`: what HTTP promises about files, and no other file of the machine.

use std::fs;
use std::os::unix::fs::symlink;

use crate::harness::client::Response;
use crate::harness::{Conn, PATIENCE, Server, Setup, Sig, eventually};

/// Larger than what is read at once, and every line of it different.
fn large() -> String {
    (0..40_000).map(|number| format!("{number:08}\n")).collect()
}

fn setup() -> Setup {
    let setup = Setup::hello().app("handler = \"static\"\nroot = \"public\"");
    let root = setup.dir.path().join("public");
    fs::create_dir_all(root.join("docs")).expect("ours");
    fs::create_dir_all(root.join(".well-known")).expect("ours");
    fs::create_dir_all(root.join("empty.css.br")).expect("ours");
    let large = large();
    let files = [
        ("index.html", "<h1>Home</h1>\n"),
        ("docs/index.html", "<h1>Docs</h1>\n"),
        ("docs/index.html.gz", "docs as gzip"),
        ("large.txt", &large),
        ("app.js", "let x = 1;\n"),
        ("app.js.br", "as brotli"),
        ("app.js.gz", "as gzip"),
        ("with blank.txt", "blank\n"),
        ("empty.css", ""),
        (".env", "SECRET=1\n"),
        (".well-known/security.txt", "Contact: mailto:security@example.com\n"),
    ];
    for (name, text) in files {
        fs::write(root.join(name), text).expect("ours");
    }
    fs::write(setup.dir.path().join("secret.txt"), "secret\n").expect("ours");
    symlink("../secret.txt", root.join("out.txt")).expect("ours");
    symlink("/etc/hostname", root.join("absolute.txt")).expect("ours");
    symlink("docs/index.html", root.join("link.html")).expect("ours");
    nix::unistd::mkfifo(&root.join("pipe"), nix::sys::stat::Mode::S_IRWXU).expect("ours");
    setup
}

fn ask(conn: &mut Conn, method: &str, path: &str, head: &str) -> Response {
    conn.request(method, path, head, "").unwrap_or_else(|error| panic!("{method} {path}: {error}"))
}

#[test]
fn files_have_their_types_and_their_validators() {
    let server = setup().app("cache_control = \"max-age=60\"").start();
    let mut conn = server.connect();
    for (path, kind, body) in [
        ("/", "text/html", "<h1>Home</h1>\n"),
        ("/index.html", "text/html", "<h1>Home</h1>\n"),
        ("/docs/", "text/html", "<h1>Docs</h1>\n"),
        ("/link.html", "text/html", "<h1>Docs</h1>\n"),
        ("/app.js", "text/javascript", "let x = 1;\n"),
        ("/with%20blank.txt?query", "text/plain", "blank\n"),
        ("/empty.css", "text/css", ""),
        ("/.well-known/security.txt", "text/plain", "Contact: mailto:security@example.com\n"),
    ] {
        let response = ask(&mut conn, "GET", path, "");
        assert_eq!((response.status, response.body.as_str()), (200, body), "{path}");
        assert_eq!(response.header("content-type"), Some(kind), "{path}");
        assert_eq!(response.header("cache-control"), Some("max-age=60"), "{path}");

        let tag = response.header("etag").expect("a validator").to_owned();
        let date = response.header("last-modified").expect("another one").to_owned();
        for condition in [format!("If-None-Match: {tag}\r\n"), format!("If-Modified-Since: {date}\r\n")] {
            let response = ask(&mut conn, "GET", path, &condition);
            assert_eq!((response.status, response.header("etag")), (304, Some(tag.as_str())), "{path} {condition}");
            assert_eq!(response.header("cache-control"), Some("max-age=60"));
        }
        assert_eq!(ask(&mut conn, "GET", path, "If-None-Match: \"other\"\r\n").status, 200);
        let head = ask(&mut conn, "HEAD", path, "");
        assert_eq!(
            (head.status, head.header("content-length")),
            (200, Some(body.len().to_string().as_str())),
            "{path}"
        );
    }
    let redirect = ask(&mut conn, "GET", "/docs?x=1", "");
    assert_eq!((redirect.status, redirect.header("location")), (307, Some("/docs/?x=1")));
    let redirect = ask(&mut conn, "GET", "http://elsewhere.example/docs", "");
    assert_eq!((redirect.status, redirect.header("location")), (400, None), "there is no way to another host");
}

#[test]
fn a_large_file_comes_whole_and_in_ranges() {
    let server = setup().start();
    let (mut conn, large) = (server.connect(), large());
    let whole = ask(&mut conn, "GET", "/large.txt", "");
    assert!(whole.body == large, "{} bytes", whole.body.len());
    assert_eq!(whole.header("accept-ranges"), Some("bytes"));
    let length = large.len();
    for (range, from, to) in [
        ("bytes=0-0".to_owned(), 0, 1),
        ("bytes=100000-299999".to_owned(), 100_000, 300_000),
        (format!("bytes={}-", length - 9), length - 9, length),
        ("bytes=-70000".to_owned(), length - 70_000, length),
    ] {
        let part = ask(&mut conn, "GET", "/large.txt", &format!("Range: {range}\r\n"));
        assert_eq!(part.status, 206, "{range}");
        assert_eq!(part.header("content-range"), Some(format!("bytes {from}-{}/{length}", to - 1).as_str()));
        assert!(part.body == large[from..to], "{range}: {} bytes", part.body.len());
    }
    let beyond = ask(&mut conn, "GET", "/large.txt", &format!("Range: bytes={length}-\r\n"));
    assert_eq!((beyond.status, beyond.header("content-range")), (416, Some(format!("bytes */{length}").as_str())));
    let several = ask(&mut conn, "GET", "/large.txt", "Range: bytes=0-1,4-5\r\n");
    assert_eq!((several.status, several.body.len()), (200, length));
}

#[test]
fn a_compressed_neighbour_is_sent_to_those_who_understand_it() {
    let server = setup().start();
    let mut conn = server.connect();
    for (accepted, encoding, body) in [
        ("gzip, br", Some("br"), "as brotli"),
        ("gzip", Some("gzip"), "as gzip"),
        ("gzip;q=1, br;q=0.5", Some("gzip"), "as gzip"),
        ("zstd", None, "let x = 1;\n"),
        ("identity", None, "let x = 1;\n"),
    ] {
        let response = ask(&mut conn, "GET", "/app.js", &format!("Accept-Encoding: {accepted}\r\n"));
        assert_eq!((response.header("content-encoding"), response.body.as_str()), (encoding, body), "{accepted}");
        assert_eq!(response.header("content-type"), Some("text/javascript"));
        assert_eq!(response.header("vary"), Some("accept-encoding"));
    }
    let head = ask(&mut conn, "HEAD", "/app.js", "Accept-Encoding: br\r\n");
    assert_eq!((head.header("content-encoding"), head.header("content-length")), (Some("br"), Some("9")));
    for method in ["GET", "HEAD"] {
        let index = ask(&mut conn, method, "/docs/", "Accept-Encoding: br, gzip, zstd\r\n");
        assert_eq!((index.header("content-encoding"), index.header("content-length")), (Some("gzip"), Some("12")));
        assert_eq!(index.header("content-type"), Some("text/html"));
        let plain = ask(&mut conn, method, "/empty.css", "Accept-Encoding: br\r\n");
        assert_eq!((plain.status, plain.header("content-encoding")), (200, None), "a directory is no neighbour");
    }
    let whole = ask(&mut conn, "GET", "/large.txt", "Accept-Encoding: br, gzip\r\n");
    assert!(whole.body == large(), "{} bytes", whole.body.len());
    let server = setup().app("precompressed = false").start();
    let response = ask(&mut server.connect(), "GET", "/app.js", "Accept-Encoding: br\r\n");
    assert_eq!((response.header("content-encoding"), response.body.as_str()), (None, "let x = 1;\n"));
}

#[test]
fn nothing_but_the_files_of_the_root_is_shown() {
    let server = setup().start();
    let mut conn = server.connect();
    let long = format!("/{}", "a".repeat(4000));
    for path in [
        "/nothing",
        "/docs/nothing/",
        "/index.html/",
        "/index.html/more",
        "/../secret.txt",
        "/docs/../../secret.txt",
        "/%2e%2e/secret.txt",
        "/docs/..%2f..%2fsecret.txt",
        "/%2fetc/hostname",
        "//etc/hostname",
        "//docs",
        "/out.txt",
        "/absolute.txt",
        "/.env",
        "/%2Eenv",
        "/docs/.hidden",
        "/pipe",
        "/with%00zero",
        "/bad%ffutf8",
        &long,
    ] {
        let response = ask(&mut conn, "GET", path, "");
        assert_eq!((response.status, response.body.as_str()), (404, ""), "{path}");
        assert_eq!(response.header("cache-control"), None, "{path}");
    }
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "PATCH"] {
        let response = ask(&mut conn, method, "/index.html", "");
        assert_eq!((response.status, response.header("allow")), (405, Some("GET,HEAD")), "{method}");
    }
    let server = setup().app("dotfiles = true").start();
    assert_eq!(server.get("/.env").expect("answered").body, "SECRET=1\n");
}

#[test]
fn a_fallback_answers_where_there_is_no_file() {
    let server = setup().app("fallback = \"index.html\"\ncache_control = \"no-cache\"").start();
    let mut conn = server.connect();
    for path in ["/users/7", "/docs/deep/", "/.env"] {
        let response = ask(&mut conn, "GET", path, "");
        assert_eq!((response.status, response.header("content-type")), (200, Some("text/html")), "{path}");
        assert_eq!((response.body.as_str(), response.header("cache-control")), ("<h1>Home</h1>\n", Some("no-cache")));
    }
    assert_eq!(ask(&mut conn, "GET", "/docs/", "").body, "<h1>Docs</h1>\n");
    let head = ask(&mut conn, "HEAD", "/users/7", "");
    assert_eq!((head.status, head.header("content-length")), (200, Some("14")));
    assert_eq!(ask(&mut conn, "POST", "/users/7", "").status, 405);
}

#[test]
fn without_its_directory_a_worker_does_not_load() {
    let setup = Setup::hello().app("handler = \"static\"\nroot = \"nowhere\"");
    let mut server = setup
        .expect("App failed to load")
        .expect("cannot open nowhere")
        .expect("Shutting down")
        .expect("exited with code 4")
        .launch();
    assert_eq!(server.wait_for_exit(PATIENCE), 4);
    let why = "app.toml:7: app.root: cannot open nowhere: No such file or directory; the path is seen from the working directory";
    assert!(server.log.find(0, why).is_some(), "{:#?}", server.log.since(0));

    let setup = self::setup().expect("Reload failed").expect("cannot open").expect("exited with code 4");
    let mut server = setup.start();
    let workers = server.settled(2);
    server.reconfigure("", "fallback = \"404.html\"");
    let line = server.reload();
    assert!(line.contains("the new worker failed to boot: app.toml:8: app.fallback: cannot open 404.html"), "{line}");
    assert_eq!(server.settled(2), workers);
    assert_eq!(server.get("/").map(|response| response.status), Ok(200));
}

#[test]
fn mistakes_in_the_keys_are_told_before_anything_starts() {
    for (keys, why) in [
        ("root = \"public\"\nrot = 1", "app.toml:8: app.rot: unknown key; known: root, cache_control"),
        ("precompressed = true", "app.root: missing; add it"),
        ("root = \"public\"\nfallback = \"../x\"", "app.toml:8: app.fallback: \"../x\" is not allowed"),
        ("root = \"public\"\ncache_control = \"a\\nb\"", "app.toml:8: app.cache_control: "),
        ("root = 7", "app.toml:7: app.root: "),
    ] {
        let setup = Setup::hello().app(&format!("handler = \"static\"\n{keys}"));
        setup.write();
        let output = setup.run_with(&["--check-config", "app.toml"]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(1) && said.contains(why), "{keys}: {said}");
    }
}

#[test]
fn a_new_release_under_the_same_name_is_served_by_a_reload() {
    let setup = setup().app("root = \"current\"");
    let dir = setup.dir.path().to_owned();
    fs::create_dir(dir.join("v2")).and_then(|()| fs::write(dir.join("v2/index.html"), "v2")).expect("ours");
    symlink("public", dir.join("current")).expect("ours");
    let server = setup.start();
    symlink("v2", dir.join("next")).and_then(|()| fs::rename(dir.join("next"), dir.join("current"))).expect("ours");
    let page = |server: &Server| server.get("/").expect("answered").body;
    assert_eq!(page(&server), "<h1>Home</h1>\n", "what was opened when the worker was loaded");
    server.signal(Sig::SIGHUP);
    eventually("the new release", PATIENCE, || (page(&server) == "v2").then_some(()));
}
