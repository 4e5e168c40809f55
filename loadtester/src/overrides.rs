//! Flags of `run` that override a scenario.

use std::time::Duration;

use clap::{Arg, ArgAction, ArgMatches};

use crate::problem::Problem;
use crate::scenario::{Arrivals, Host, Scenario, Template, Version, Wait, header, parse_duration, parse_expect};

/// Flag, short form, name of its value, help.
const VALUES: &[(&str, Option<char>, &str, &str)] = &[
    ("host", None, "URL", "Send everything to this scheme, host and port"),
    ("users", Some('u'), "N", "Closed loop: users, each with a connection of its own [default: 10]"),
    ("rate", Some('r'), "N", "Open loop: requests per second, started by schedule whatever the server does"),
    ("arrivals", None, "KIND", "Open loop: constant (evenly spaced) or poisson (at random) [default: constant]"),
    ("ramp-up", None, "TIME", "Time in which users, or the rate, rise from zero"),
    ("duration", Some('d'), "TIME", "How long, ramp-up included [default: 10s, unless --requests is given]"),
    ("requests", Some('n'), "N", "End after this many requests"),
    (
        "max-in-flight",
        None,
        "N",
        "Open loop: most requests in flight; those above wait, and that counts [default: 1000]",
    ),
    ("grace", None, "TIME", "How long requests in flight at the end may take [default: 5s]"),
    ("think", None, "TIME", "Closed loop: pause of a user between two tasks [default: 0]"),
    ("timeout", None, "TIME", "Longest time of a request [default: 30s]"),
    ("connect-timeout", None, "TIME", "Longest time to open a connection [default: 5s]"),
    ("http", None, "VERSION", "1.1 or 2; without TLS, 2 is by prior knowledge [default: 1.1]"),
    ("cacert", None, "FILE", "Trust the certificates of this PEM file instead of the system's"),
    ("traceparent", None, "RATIO", "Send a traceparent with each request, this share of them (0 to 1) sampled"),
    ("expect", None, "STATUSES", "Statuses that are no failure, like 2xx or 200,404 [default: 100-399]"),
    ("method", Some('X'), "METHOD", "With a URL: the method [default: GET, with a body POST]"),
    ("body", None, "TEXT", "With a URL: the body"),
    ("body-file", None, "FILE", "With a URL: the body"),
];

/// All of them.
pub(crate) fn arguments() -> Vec<Arg> {
    let mut arguments: Vec<Arg> = VALUES
        .iter()
        .map(|(name, short, value, help)| {
            let argument = Arg::new(*name).long(*name).value_name(*value).help(*help);
            if let Some(short) = short { argument.short(*short) } else { argument }
        })
        .collect();
    let list = |name: &'static str, value: &'static str, help: &'static str| {
        Arg::new(name).long(name).value_name(value).action(ArgAction::Append).help(help)
    };
    let flag = |name: &'static str, help: &'static str| Arg::new(name).long(name).action(ArgAction::SetTrue).help(help);
    arguments.push(list("header", "NAME: VALUE", "Send this header with each request; can be repeated").short('H'));
    arguments.push(list("threshold", "CONDITION", "Exit with 3 unless it holds, like 'p99 < 20ms'; can be repeated"));
    arguments.push(flag("no-keepalive", "Open a connection for each request"));
    arguments.push(flag("no-cookies", "Forget cookies"));
    arguments.push(flag("insecure", "Accept any certificate"));
    arguments
}

/// Puts the flags into the scenario.
pub(crate) fn apply(scenario: &mut Scenario, matches: &ArgMatches, is_url: bool) -> Result<(), Problem> {
    let flags = Flags(matches);
    load(scenario, &flags)?;
    let client = &mut scenario.client;
    if let Some(timeout) = flags.positive("connect-timeout")? {
        client.connect_timeout = timeout;
    }
    if let Some(version) = flags.get("http", |text| match text {
        "1.1" | "1" => Ok(Version::Http1),
        "2" => Ok(Version::Http2),
        _ => Err(format!("{text:?} is unknown; use 1.1 or 2")),
    })? {
        client.http = version;
    }
    client.traceparent = flags.number("traceparent", 0.0, 1.0)?.or(client.traceparent);
    client.cacert = flags.text("cacert").map(Into::into).or_else(|| client.cacert.take());
    client.keepalive &= !matches.get_flag("no-keepalive");
    client.cookies &= !matches.get_flag("no-cookies");
    client.insecure |= matches.get_flag("insecure");
    scenario.thresholds.extend(matches.get_many::<String>("threshold").into_iter().flatten().cloned());
    if let Some(host) = flags.get("host", Host::parse)? {
        scenario.classes.iter_mut().for_each(|class| class.host = Some(host.clone()));
    }
    if let Some(think) = flags.duration("think")? {
        scenario.classes.iter_mut().for_each(|class| class.wait = Wait::Constant(think));
    }
    requests(scenario, &flags, is_url)
}

fn load(scenario: &mut Scenario, flags: &Flags<'_>) -> Result<(), Problem> {
    let load = &mut scenario.load;
    let users = flags.whole("users", 1_000_000)?;
    let rate = flags.number("rate", 0.001, 1e8)?;
    if users.is_some() && rate.is_some() {
        return Err(Problem::general("--users is for a closed loop, --rate for an open one; use one of them"));
    }
    let (duration, ramp_up) = (flags.positive("duration")?, flags.duration("ramp-up")?);
    if users.is_some() || rate.is_some() || duration.is_some() || ramp_up.is_some() {
        // Whoever says how much does not want the pieces of the file.
        load.stages.clear();
    }
    if let Some(users) = users {
        (load.users, load.rate) = (users as u32, None);
    }
    load.rate = rate.or(load.rate);
    load.ramp_up = ramp_up.unwrap_or(load.ramp_up);
    load.duration = duration.or(load.duration);
    load.requests = flags.whole("requests", u64::MAX >> 1)?.or(load.requests);
    load.max_in_flight = flags.whole("max-in-flight", 1_000_000)?.map_or(load.max_in_flight, |most| most as u32);
    load.grace = flags.duration("grace")?.unwrap_or(load.grace);
    if let Some(arrivals) = flags.get("arrivals", |text| match text {
        "constant" => Ok(Arrivals::Constant),
        "poisson" => Ok(Arrivals::Poisson),
        _ => Err(format!("{text:?} is unknown; use constant or poisson")),
    })? {
        load.arrivals = arrivals;
    }
    if load.duration.is_none() && load.requests.is_none() && load.stages.is_empty() {
        load.duration = Some(Duration::from_secs(10));
    }
    Ok(())
}

/// What is said of requests.
fn requests(scenario: &mut Scenario, flags: &Flags<'_>, is_url: bool) -> Result<(), Problem> {
    let timeout = flags.positive("timeout")?;
    let expect = flags.get("expect", parse_expect)?;
    let mut headers = Vec::new();
    for text in flags.0.get_many::<String>("header").into_iter().flatten() {
        let parsed = text.split_once(':').ok_or_else(|| "write NAME: VALUE".to_owned());
        let parsed = parsed.and_then(|(name, value)| header(name.trim(), value.trim(), &scenario.variables));
        headers.push(parsed.map_err(|why| Problem::general(format!("--header {text:?}: {why}")))?);
    }
    for task in &mut scenario.tasks {
        task.timeout = timeout.unwrap_or(task.timeout);
        if let Some(expect) = &expect {
            task.expect = expect.clone();
        }
        for (name, value) in &headers {
            task.headers.retain(|(other, _)| other != name);
            task.headers.push((name.clone(), value.clone()));
        }
    }
    let body = match (flags.text("body"), flags.text("body-file")) {
        (Some(_), Some(_)) => return Err(Problem::general("--body and --body-file: use one of them")),
        (Some(text), None) => Some(text.as_bytes().to_vec()),
        (None, Some(path)) => Some(
            std::fs::read(path)
                .map_err(|error| Problem::general(format!("--body-file: cannot read {path}: {error}")))?,
        ),
        (None, None) => None,
    };
    let method = flags.get("method", |text| {
        let method = http::Method::from_bytes(text.as_bytes()).ok().filter(|method| method != http::Method::CONNECT);
        method.ok_or_else(|| format!("{text:?} is no method that can be sent"))
    })?;
    if !is_url && (body.is_some() || method.is_some()) {
        return Err(Problem::general(
            "--method, --body and --body-file go with a URL; a scenario says it for each task",
        ));
    }
    let default = if body.is_some() { http::Method::POST } else { http::Method::GET };
    if is_url {
        scenario.tasks[0].method = method.unwrap_or(default);
        scenario.tasks[0].body = body.map(Template::bytes);
    }
    Ok(())
}

/// Values of flags, checked.
struct Flags<'a>(&'a ArgMatches);

impl<'a> Flags<'a> {
    fn text(&self, name: &str) -> Option<&'a str> {
        self.0.get_one::<String>(name).map(String::as_str)
    }

    fn get<T>(&self, name: &str, read: impl FnOnce(&str) -> Result<T, String>) -> Result<Option<T>, Problem> {
        let read = self.text(name).map(read).transpose();
        read.map_err(|why| Problem::general(format!("--{name}: {why}")))
    }

    fn duration(&self, name: &str) -> Result<Option<Duration>, Problem> {
        self.get(name, parse_duration)
    }

    fn positive(&self, name: &str) -> Result<Option<Duration>, Problem> {
        self.get(name, |text| match parse_duration(text)? {
            Duration::ZERO => Err("use a time above zero".to_owned()),
            time => Ok(time),
        })
    }

    fn whole(&self, name: &str, most: u64) -> Result<Option<u64>, Problem> {
        self.get(name, |text| {
            let number = text.parse().ok().filter(|number| (1..=most).contains(number));
            number.ok_or_else(|| format!("{text:?} is not allowed; use a whole number from 1 to {most}"))
        })
    }

    fn number(&self, name: &str, least: f64, most: f64) -> Result<Option<f64>, Problem> {
        self.get(name, |text| {
            let number = text.parse().ok().filter(|number| (least..=most).contains(number));
            number.ok_or_else(|| format!("{text:?} is not allowed; use a number from {least} to {most}"))
        })
    }
}
