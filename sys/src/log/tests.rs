use super::*;

fn object(line: &[u8]) -> Map<String, Value> {
    assert!(line.len() <= PIPE_BUF, "{}", line.len());
    let (end, line) = line.split_last().expect("not empty");
    assert!(*end == b'\n' && !line.contains(&b'\n'), "one line");
    serde_json::from_slice(line).unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(line)))
}

fn now() -> jiff::Zoned {
    "2026-11-22T06:55:00.25+01:00[+01:00]".parse().unwrap()
}

fn record<'a>(message: &'a dyn Words, origin: Option<&'a Origin>, fields: &'a [Field]) -> Record<'a> {
    Record { level: Level::Warning, message, origin, fields }
}

fn map(fields: &[(&str, Value)]) -> Map<String, Value> {
    fields.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect()
}

fn origin() -> Origin {
    Origin {
        target: "shop::db".into(),
        spans: vec![("checkout", map(&[("cart", 7.into())])), ("pay", Map::new())],
        fields: map(&[("rows", 3.into()), ("sql", "select 1".into()), ("word", "plain".into())]),
    }
}

#[test]
fn text_is_as_gunicorn_has_it() {
    let line = text::line(&record(&"Booting worker", None, &[("slot".into(), 1.into())]), &now());
    assert_eq!(line, format!("[2026-11-22 06:55:00 +0100] [{}] [WARNING] Booting worker\n", std::process::id()));
}

#[test]
fn what_an_application_says_is_in_the_text_too() {
    let line = text::line(&record(&"slow", Some(&origin()), &[]), &now());
    assert!(
        line.ends_with("[WARNING] checkout{cart=7}:pay: shop::db: slow rows=3 sql=\"select 1\" word=plain\n"),
        "{line}"
    );
    let bare = Origin { fields: map(&[("rows", 3.into())]), ..Origin::default() };
    assert!(text::line(&record(&"", Some(&bare), &[]), &now()).ends_with("[WARNING] rows=3\n"));
}

#[test]
fn json_has_the_names_that_collectors_look_for() {
    let process = [("role".into(), "worker".into()), ("slot".into(), 3.into())];
    let fields = [("logging.googleapis.com/trace".into(), "abc".into())];
    let line = json::line(&record(&"slow", Some(&origin()), &fields), &now(), &process);
    let text = String::from_utf8(line.clone()).unwrap();
    assert!(text.starts_with(r#"{"severity":"WARNING","time":"2026-11-22T05:55:00.250000Z","message":"slow","pid":"#));
    let expected = json!({
        "severity": "WARNING", "time": "2026-11-22T05:55:00.250000Z", "message": "slow", "pid": std::process::id(),
        "role": "worker", "slot": 3, "logging.googleapis.com/trace": "abc", "target": "shop::db",
        "fields": {"rows": 3, "sql": "select 1", "word": "plain"},
        "spans": [{"name": "checkout", "fields": {"cart": 7}}, {"name": "pay"}],
    });
    assert_eq!(Value::from(object(&line)), expected);
}

#[test]
fn each_level_has_googles_name() {
    for (level, name) in Level::ALL.into_iter().zip(["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"]) {
        let line = json::line(&Record { level, message: &"", origin: None, fields: &[] }, &now(), &[]);
        assert_eq!(object(&line)["severity"], name);
    }
}

/// What somebody might send to make a line of their own.
const FORGED: [&str; 6] = [
    "a\n[2026-11-22 06:55:00 +0000] [1] [CRITICAL] forged",
    "a\r\n{\"severity\":\"CRITICAL\",\"message\":\"forged\"}",
    "\",\"severity\":\"CRITICAL\",\"x\":\"",
    "\u{1b}[2Jcleared\u{7}\0\u{7f}\u{9b}31m",
    "\\",
    "}\u{2028}{",
];

#[test]
fn nothing_can_be_forged() {
    for forged in FORGED {
        let origin = Origin {
            target: forged.into(),
            spans: vec![("span", map(&[(forged, forged.into())]))],
            fields: map(&[(forged, forged.into())]),
        };
        let fields = [(forged.to_owned().into(), forged.into())];
        let record = record(&forged, Some(&origin), &fields);
        let line = json::line(&record, &now(), &[]);
        let read = object(&line);
        assert_eq!((&read["severity"], &read["message"]), (&"WARNING".into(), &forged.into()), "{forged:?}");
        assert_eq!((&read["target"], &read["fields"][forged]), (&forged.into(), &forged.into()));
        assert_eq!(String::from_utf8_lossy(&line).matches("\"severity\":").count(), 1);
        let line = text::line(&record, &now());
        let controls = line.chars().filter(|c| c.is_control()).count();
        assert!(controls == 1 && line.ends_with('\n'), "{line:?}");
    }
}

#[test]
fn lines_of_every_length_are_whole_and_fit() {
    // A byte, an escape of two and of six, a character of two bytes and one of four.
    for (unit, bytes) in [("a", 1), ("\"", 2), ("\u{1}", 6), ("é", 2), ("🦀", 4)] {
        // Around the end of the room beside all else, and of the room there is at all.
        let edges = [PIPE_BUF - 400, PIPE_BUF].map(|edge| edge / bytes);
        for length in edges.into_iter().flat_map(|edge| edge - 60..edge + 60).chain([0, 1, 9000]) {
            let message = unit.repeat(length);
            let line = json::line(&record(&message, Some(&origin()), &[]), &now(), &[]);
            let read = object(&line);
            let said = read["message"].as_str().unwrap();
            match said.strip_suffix('…') {
                None => assert_eq!((said, read.get("truncated")), (message.as_str(), None)),
                Some(said) => {
                    assert!(message.starts_with(said) && line.len() > PIPE_BUF - 12, "{}", line.len());
                    assert_eq!((&read["truncated"], &read["fields"]["rows"]), (&true.into(), &3.into()));
                }
            }
            let line = text::line(&record(&message, None, &[]), &now());
            assert!(line.len() <= PIPE_BUF && line.ends_with('\n'), "{}", line.len());
        }
    }
}

#[test]
fn long_fields_are_cut_before_they_are_left_out() {
    for length in (100..8000).step_by(37) {
        let (long, message) = ("\"x".repeat(length), "m".repeat(length));
        let fields = [("trace".into(), "abc".into()), ("url".into(), long.as_str().into())];
        let origin = Origin { fields: map(&[("a", long.as_str().into()), ("b", 1.into())]), ..origin() };
        let read = object(&json::line(&record(&message, Some(&origin), &fields), &now(), &[]));
        assert_eq!((&read["trace"], &read["fields"]["b"]), (&"abc".into(), &1.into()), "{length}");
        assert!(long.starts_with(read["url"].as_str().unwrap().trim_end_matches('…')));
        let said = read["message"].as_str().unwrap();
        assert!(said.len() >= message.len().min(MESSAGE_KEPT), "{length}: {}", said.len());
    }
    let many: Vec<Field> = (0..2000).map(|n| (format!("field{n}").into(), n.into())).collect();
    let read = object(&json::line(&record(&"short", None, &many), &now(), &[]));
    assert_eq!((&read["message"], &read["field0"], &read["truncated"]), (&"short".into(), &0.into(), &true.into()));
    assert!(read.len() > 200 && !read.contains_key("field1999"));
}

const MESSAGE_KEPT: usize = 1000;

#[test]
fn a_display_that_fails_costs_only_itself() {
    #[derive(Debug)]
    struct Refuses;
    impl fmt::Display for Refuses {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("half")?;
            Err(fmt::Error)
        }
    }
    let read = object(&json::line(&record(&Refuses, None, &[]), &now(), &[]));
    assert_eq!(read["message"], "half");
}

#[test]
fn names_are_read_back() {
    for format in [Format::Text, Format::Json] {
        assert_eq!(format.name().parse(), Ok(format));
    }
    for level in Level::ALL {
        assert_eq!(level.name().parse(), Ok(level));
    }
    assert!("yaml".parse::<Format>().is_err());
}
