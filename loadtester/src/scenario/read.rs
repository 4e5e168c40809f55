//! TOML to [`Scenario`], with every mistake in it.

use std::path::Path;
use std::time::Duration;

use toml::de::DeValue;

use crate::problem::Problems;
use crate::scenario::source::{Found, Source, Table, duration, text, text_or_number};
use crate::scenario::template::{Place, Template, Variable, VariableSource, built_in, is_name};
use crate::scenario::value::{Host, parse_expect};
use crate::scenario::{
    Arrivals, Class, Client, DEFAULT_TIMEOUT, Expect, Load, Order, Save, SaveFrom, Scenario, Stage, Task, Version, Wait,
};

/// What tasks inherit.
struct Defaults {
    headers: Vec<(http::HeaderName, Template)>,
    timeout: Duration,
    expect: Expect,
}

pub(crate) fn scenario(source: &Source, folder: &Path) -> Result<Scenario, Problems> {
    let root = source.parse()?;
    let found = Found::new(source);
    let scenario = {
        let table = Table::new(&found, String::new(), root.get_ref(), 0..0);
        read(&table, folder)
    };
    found.finish()?;
    Ok(scenario)
}

fn read(table: &Table<'_>, folder: &Path) -> Scenario {
    let name = table.text("name").map_or_else(|| table.found().source.name.clone(), str::to_owned);
    let host = host(table);
    let wait = wait(table);
    let load = load(table);
    let client = client(table, folder);
    let classes = table.tables("class");
    let mut variables = variables(table, &classes);
    let defaults = Defaults {
        headers: headers(table, &variables),
        timeout: timeout(table).unwrap_or(DEFAULT_TIMEOUT),
        expect: expect(table).unwrap_or_default(),
    };
    let mut scenario = Scenario {
        name,
        classes: Vec::new(),
        tasks: Vec::new(),
        variables: Vec::new(),
        load,
        client,
        thresholds: thresholds(table),
    };
    // A scenario with one kind of users need not name it.
    let own = table.tables("task");
    if !own.is_empty() {
        let class =
            Class { name: "default".to_owned(), weight: 1, host: host.clone(), wait, order: order(table), tasks: 0..0 };
        add_class(&mut scenario, class, &own, &defaults, &mut variables, folder);
    } else if table.has("order") {
        table.missing("order", "belongs to a class, and to the file only if that has tasks of its own ([[task]])");
    }
    for inner in &classes {
        let name = inner.text("name").unwrap_or_default().to_owned();
        if name.is_empty() {
            inner.missing("name", "a class needs a name");
        } else if scenario.class(&name).is_some() {
            inner.missing("name", &format!("there is a class {name:?} already; names are unique"));
        }
        let class = Class {
            name,
            weight: inner.integer("weight", 1, 1_000_000).unwrap_or(1) as u32,
            host: self::host(inner).or_else(|| host.clone()),
            wait: if inner.has("wait") { self::wait(inner) } else { wait },
            order: order(inner),
            tasks: 0..0,
        };
        let tasks = inner.tables("task");
        if tasks.is_empty() {
            inner.missing("task", "a class needs at least one task");
        }
        add_class(&mut scenario, class, &tasks, &defaults, &mut variables, folder);
    }
    if scenario.tasks.is_empty() && classes.is_empty() {
        table.missing("task", "a scenario needs at least one task: [[task]] with path = \"/\"");
    }
    scenario.variables = variables;
    scenario
}

fn add_class(
    scenario: &mut Scenario,
    mut class: Class,
    tables: &[Table<'_>],
    defaults: &Defaults,
    variables: &mut [Variable],
    folder: &Path,
) {
    let start = scenario.tasks.len();
    for table in tables {
        let task = task(table, scenario.classes.len(), defaults, variables, folder);
        // Without a name there was a mistake that is told already.
        let same = |other: &Task| !task.name.is_empty() && other.name == task.name && other.method == task.method;
        if scenario.tasks[start..].iter().any(same) {
            let text =
                format!("the class has a task {} {:?} already; give one of them another name", task.method, task.name);
            table.missing("name", &text);
        }
        scenario.tasks.push(task);
    }
    class.tasks = start..scenario.tasks.len();
    if !tables.is_empty() && scenario.tasks[start..].iter().all(|task| task.at_start) {
        tables[0].missing("at_start", "all tasks of the class are done at the start only; one has to go on");
    }
    scenario.classes.push(class);
}

fn task(table: &Table<'_>, class: usize, defaults: &Defaults, variables: &[Variable], folder: &Path) -> Task {
    let method = table.read("method", |value| {
        let name = text(value)?;
        let valid = http::Method::from_bytes(name.as_bytes()).ok().filter(|method| method != http::Method::CONNECT);
        valid.ok_or_else(|| format!("{name:?} is no method that can be sent; use GET, POST, …"))
    });
    let path = table.read("path", |value| {
        let path = text(value)?;
        if !path.starts_with('/') || path.bytes().any(|byte| byte.is_ascii_control() || byte == b' ' || byte == b'#') {
            return Err(format!("{path:?} is no path; it begins with / and has no spaces, control characters or #"));
        }
        Ok((path, Template::parse(path, variables, Place::Path)?))
    });
    if !table.has("path") {
        table.missing("path", "a task needs a path, like \"/\"");
    }
    let (written, path) =
        path.map_or_else(|| (String::new(), Template::text("/")), |(text, path)| (text.to_owned(), path));
    let mut headers = defaults.headers.clone();
    for (name, value) in self::headers(table, variables) {
        headers.retain(|(other, _)| *other != name);
        headers.push((name, value));
    }
    let inline = table.read("body", |value| Template::parse(text(value)?, variables, Place::Body));
    let file = table.read("body_file", |value| {
        let path = folder.join(text(value)?);
        std::fs::read(&path).map(Template::bytes).map_err(|error| format!("cannot read {}: {error}", path.display()))
    });
    if inline.is_some() && file.is_some() {
        table.missing("body_file", "there is a body too; keep one of them");
    }
    Task {
        name: table.text("name").map_or(written, str::to_owned),
        class,
        weight: table.integer("weight", 1, 1_000_000).unwrap_or(1) as u32,
        at_start: table.flag("at_start").unwrap_or(false),
        method: method.unwrap_or(http::Method::GET),
        path,
        headers,
        body: inline.or(file),
        expect: expect(table).unwrap_or_else(|| defaults.expect.clone()),
        timeout: timeout(table).unwrap_or(defaults.timeout),
        save: save(table, variables),
    }
}

fn host(table: &Table<'_>) -> Option<Host> {
    table.read("host", |value| Host::parse(text(value)?))
}

/// `"1s"`, `{ uniform = ["1s", "3s"] }` or `{ pacing = "2s" }`.
fn wait(table: &Table<'_>) -> Wait {
    let shapes = "write \"1s\", { uniform = [\"1s\", \"3s\"] } or { pacing = \"2s\" }";
    let read = table.read("wait", |value| {
        let DeValue::Table(inner) = value else { return duration(value).map(Wait::Constant) };
        let mut entries = inner.iter().map(|(name, value)| (name.get_ref().as_ref(), value.get_ref()));
        match (entries.next(), entries.next()) {
            (Some(("pacing", value)), None) => duration(value).map(Wait::Pacing),
            (Some(("uniform", DeValue::Array(ends))), None) if ends.len() == 2 => {
                let (least, most) = (duration(ends[0].get_ref())?, duration(ends[1].get_ref())?);
                if least <= most {
                    Ok(Wait::Uniform(least, most))
                } else {
                    Err(format!("the least comes first; {shapes}"))
                }
            }
            _ => Err(format!("not understood; {shapes}")),
        }
    });
    read.unwrap_or(Wait::Constant(Duration::ZERO))
}

fn order(table: &Table<'_>) -> Order {
    let read = table.read("order", |value| match text(value)? {
        "random" => Ok(Order::Random),
        "sequence" => Ok(Order::Sequence),
        other => Err(format!("{other:?} is unknown; use \"random\" or \"sequence\"")),
    });
    read.unwrap_or(Order::Random)
}

fn timeout(table: &Table<'_>) -> Option<Duration> {
    table.read("timeout", |value| {
        let timeout = duration(value)?;
        if timeout.is_zero() { Err("no request is that fast; use a time above zero".to_owned()) } else { Ok(timeout) }
    })
}

fn expect(table: &Table<'_>) -> Option<Expect> {
    table.read("expect", |value| match value {
        DeValue::Array(items) => {
            let texts: Result<Vec<String>, String> = items.iter().map(|item| text_or_number(item.get_ref())).collect();
            parse_expect(&texts?.join(","))
        }
        other => parse_expect(&text_or_number(other)?),
    })
}

fn headers(table: &Table<'_>, variables: &[Variable]) -> Vec<(http::HeaderName, Template)> {
    let mut headers = Vec::new();
    for (name, value, at) in table.entries("headers") {
        match header_value(name, value, variables) {
            Ok(header) => headers.push(header),
            Err(text) => table.problem(at, &format!("headers.{name}"), &text),
        }
    }
    headers
}

fn header_value(
    name: &str,
    value: &DeValue<'_>,
    variables: &[Variable],
) -> Result<(http::HeaderName, Template), String> {
    header(name, &text_or_number(value)?, variables)
}

/// A header field, if it is the user's to set.
pub(crate) fn header(name: &str, value: &str, variables: &[Variable]) -> Result<(http::HeaderName, Template), String> {
    http::HeaderValue::from_str(value).map_err(|_| "the value has characters that a header cannot have".to_owned())?;
    Ok((header_name(name)?, Template::parse(value, variables, Place::Header)?))
}

/// A name that is the user's to set.
fn header_name(name: &str) -> Result<http::HeaderName, String> {
    let name = http::HeaderName::from_bytes(name.as_bytes()).map_err(|_| format!("{name:?} is no name of a header"))?;
    let taken = [http::header::CONTENT_LENGTH, http::header::TRANSFER_ENCODING, http::header::CONNECTION];
    if taken.contains(&name) {
        return Err(format!("{name} is written by the load generator; see body and keepalive"));
    }
    Ok(name)
}

/// The built-in ones, those of `[variables]`, and a variable for each name that a task saves.
fn variables(table: &Table<'_>, classes: &[Table<'_>]) -> Vec<Variable> {
    let mut variables = built_in();
    for (name, value, at) in table.entries("variables") {
        let values: Result<Vec<String>, String> = match value {
            DeValue::Array(items) => items.iter().map(|item| text_or_number(item.get_ref())).collect(),
            single => text_or_number(single).map(|text| vec![text]),
        };
        let key = format!("variables.{name}");
        match values {
            Ok(_) if !is_name(name) => table.problem(at, &key, "a name has letters, digits, - and _ only"),
            Ok(_) if variables.iter().any(|variable| variable.name == name) => {
                table.problem(at, &key, "this name is built in; use another one");
            }
            Ok(values) if values.is_empty() => table.problem(at, &key, "an empty list; name at least one value"),
            Ok(values) => variables.push(Variable { name: name.to_owned(), source: VariableSource::Values(values) }),
            Err(text) => table.problem(at, &key, &text),
        }
    }
    // They may be used by tasks above the one that saves them. Looked up without complaint: `save` complains.
    let saving = table
        .names_of("task", "save")
        .into_iter()
        .chain(classes.iter().flat_map(|class| class.names_of("task", "save")));
    for name in saving {
        if !variables.iter().any(|variable| variable.name == name) {
            variables.push(Variable { name: name.to_owned(), source: VariableSource::Saved });
        }
    }
    variables
}

/// `save = { token = "header:x-token", id = "json:/user/id" }`.
fn save(table: &Table<'_>, variables: &[Variable]) -> Vec<Save> {
    let mut saves = Vec::new();
    for (name, value, at) in table.entries("save") {
        let key = format!("save.{name}");
        let from = text(value).and_then(|text| match text.split_once(':') {
            Some(("header", field)) => http::HeaderName::from_bytes(field.trim().as_bytes())
                .map(SaveFrom::Header)
                .map_err(|_| format!("{field:?} is no name of a header")),
            Some(("json", pointer)) if pointer.is_empty() || pointer.starts_with('/') => {
                Ok(SaveFrom::Json(pointer.to_owned()))
            }
            _ => Err(format!("{text:?} is not understood; write \"header:NAME\" or \"json:/path/to/value\"")),
        });
        let position = variables.iter().position(|variable| variable.name == name);
        match (from, position) {
            (_, Some(at_variable)) if variables[at_variable].source != VariableSource::Saved => {
                table.problem(at, &key, "this variable has its value already; use another name");
            }
            (Ok(from), Some(variable)) if is_name(name) => saves.push(Save { variable, from }),
            (Ok(_), _) => table.problem(at, &key, "a name has letters, digits, - and _ only"),
            (Err(text), _) => table.problem(at, &key, &text),
        }
    }
    saves
}

fn load(table: &Table<'_>) -> Load {
    let base = Load::default();
    let stages: Vec<Stage> =
        table.tables("stage").iter().filter_map(|stage| self::stage(stage, table.has("rate"))).collect();
    if !stages.is_empty() {
        for key in ["duration", "ramp_up"] {
            if table.has(key) {
                table.missing(key, "the stages say how long everything takes; remove one of them");
            }
        }
    }
    let arrivals = table.read("arrivals", |value| match text(value)? {
        "constant" => Ok(Arrivals::Constant),
        "poisson" => Ok(Arrivals::Poisson),
        other => Err(format!("{other:?} is unknown; use \"constant\" or \"poisson\"")),
    });
    Load {
        users: table.integer("users", 1, 1_000_000).map_or(base.users, |users| users as u32),
        rate: table.number("rate", 0.001, 1e8),
        arrivals: arrivals.unwrap_or(base.arrivals),
        ramp_up: table.duration("ramp_up").unwrap_or(base.ramp_up),
        stages,
        duration: table.duration("duration"),
        requests: table.integer("requests", 1, u64::MAX >> 1),
        max_in_flight: table.integer("max_in_flight", 1, 1_000_000).map_or(base.max_in_flight, |most| most as u32),
        grace: table.duration("grace").unwrap_or(base.grace),
    }
}

/// `{ duration, users }`, or `{ duration, rate }` in an open loop.
fn stage(table: &Table<'_>, open: bool) -> Option<Stage> {
    let duration = table.duration("duration");
    if duration.is_none_or(|duration| duration.is_zero()) {
        table.missing("duration", "a stage needs a duration above zero");
    }
    let (key, most) = if open { ("rate", 1e8) } else { ("users", 1e6) };
    let target = table.number(key, 0.0, most);
    if target.is_none() && !table.has(key) {
        table.missing(key, "a stage needs a target: users, or rate if the file sets a rate");
    }
    Some(Stage { duration: duration?, target: target? })
}

fn client(table: &Table<'_>, folder: &Path) -> Client {
    let base = Client::default();
    let http = table.read("http", |value| match &*text_or_number(value)? {
        "1.1" | "1" => Ok(Version::Http1),
        "2" | "2.0" => Ok(Version::Http2),
        other => Err(format!("{other:?} is unknown; use \"1.1\" or \"2\"")),
    });
    Client {
        http: http.unwrap_or(base.http),
        keepalive: table.flag("keepalive").unwrap_or(base.keepalive),
        cookies: table.flag("cookies").unwrap_or(base.cookies),
        connect_timeout: table
            .duration("connect_timeout")
            .filter(|timeout| !timeout.is_zero())
            .unwrap_or(base.connect_timeout),
        traceparent: table.number("traceparent", 0.0, 1.0),
        insecure: table.flag("insecure").unwrap_or(base.insecure),
        cacert: table.text("cacert").map(|path| folder.join(path)),
    }
}

fn thresholds(table: &Table<'_>) -> Vec<String> {
    let read = table.read("thresholds", |value| match value {
        DeValue::Array(items) => items.iter().map(|item| text(item.get_ref()).map(str::to_owned)).collect(),
        other => Err(format!("expected an array like [\"p99 < 20ms\"], found {}", other.type_str())),
    });
    read.unwrap_or_default()
}
