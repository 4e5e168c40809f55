//! What to send: classes of users, and their tasks. Read from TOML, or made of one URL.

mod read;
mod source;
mod template;
mod value;

use std::ops::Range;
use std::path::Path;
use std::time::Duration;

pub(crate) use read::header;
pub use template::{Template, Variable, VariableSource};
pub(crate) use value::parse_expect;
pub use value::{Host, parse_duration};

use crate::problem::{Problem, Problems};
use crate::scenario::source::Source;

/// A load test, typed and checked.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// Title of the reports.
    pub name: String,
    /// Kinds of users, at least one; names are unique.
    pub classes: Vec<Class>,
    /// Tasks of all classes, those of a class next to each other. Everything measured is by position in this list.
    pub tasks: Vec<Task>,
    /// Values that differ from user to user.
    pub variables: Vec<Variable>,
    /// How much load, for how long.
    pub load: Load,
    /// How requests are sent.
    pub client: Client,
    /// Conditions that decide the exit code, as they were written.
    pub thresholds: Vec<String>,
}

/// A kind of users.
#[derive(Clone, Debug)]
pub struct Class {
    /// As in the reports, and as Locust calls it.
    pub name: String,
    /// Share of the users, against the other classes.
    pub weight: u32,
    /// Where its requests go.
    pub host: Option<Host>,
    /// What a user does between two tasks.
    pub wait: Wait,
    /// How a user chooses the next task.
    pub order: Order,
    /// Its part of [`Scenario::tasks`].
    pub tasks: Range<usize>,
}

/// What a user does between two tasks.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Wait {
    /// Think for a time; zero: go on at once.
    Constant(Duration),
    /// Think for a time from this range, each equally likely.
    Uniform(Duration, Duration),
    /// Start a task this long after the start of the one before; at once if that took longer.
    Pacing(Duration),
}

/// How a user chooses the next task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// At random, by weight.
    Random,
    /// One after the other, as written.
    Sequence,
}

/// One kind of request.
#[derive(Clone, Debug)]
pub struct Task {
    /// As in the reports; requests with different paths may share it.
    pub name: String,
    /// Position of its class in [`Scenario::classes`].
    pub class: usize,
    /// How often, against the other tasks of the class.
    pub weight: u32,
    /// Done once by each user before all else, in the order of the file.
    pub at_start: bool,
    /// HTTP method.
    pub method: http::Method,
    /// Path and query.
    pub path: Template,
    /// Header fields beside `Host` and `Content-Length`, which the engine writes unless they are here.
    pub headers: Vec<(http::HeaderName, Template)>,
    /// What is sent after the head.
    pub body: Option<Template>,
    /// Statuses that are no failure.
    pub expect: Expect,
    /// Longest time from start to the last byte.
    pub timeout: Duration,
    /// What later requests of the same user need from the answer.
    pub save: Vec<Save>,
}

/// Statuses that are no failure, as ranges with both ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expect(pub Vec<(u16, u16)>);

impl Expect {
    /// Whether an answer with this status is as expected.
    #[must_use]
    pub fn allows(&self, status: u16) -> bool {
        self.0.iter().any(|&(least, most)| (least..=most).contains(&status))
    }
}

/// Puts a part of an answer into a variable of the user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Save {
    /// Position in [`Scenario::variables`].
    pub variable: usize,
    /// Which part.
    pub from: SaveFrom,
}

/// Part of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SaveFrom {
    /// Value of a header field.
    Header(http::HeaderName),
    /// JSON pointer (RFC 6901) into the body.
    Json(String),
}

/// How much load, for how long.
#[derive(Clone, Debug, PartialEq)]
pub struct Load {
    /// Closed loop: users at the end of the ramp.
    pub users: u32,
    /// Open loop if set: requests per second at the end of the ramp.
    pub rate: Option<f64>,
    /// Open loop: how arrivals are spread.
    pub arrivals: Arrivals,
    /// Time in which users or rate rise from zero.
    pub ramp_up: Duration,
    /// Pieces in which the number of users, or the rate, goes in a straight line to its target. Empty: `ramp_up`, then level.
    pub stages: Vec<Stage>,
    /// When to end, ramp included; none if only `requests` ends it.
    pub duration: Option<Duration>,
    /// End after this many requests.
    pub requests: Option<u64>,
    /// Open loop: most requests in flight. Those above wait, and their waiting counts.
    pub max_in_flight: u32,
    /// How long requests in flight at the end may take to finish; then they are unfinished.
    pub grace: Duration,
}

/// One piece of a changing load.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Stage {
    /// How long it takes.
    pub duration: Duration,
    /// Users, or requests per second, at its end.
    pub target: f64,
}

/// How arrivals of an open loop are spread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrivals {
    /// The same distance between any two.
    Constant,
    /// Independent of each other, as those of many people are.
    Poisson,
}

/// How requests are sent.
#[derive(Clone, Debug, PartialEq)]
pub struct Client {
    /// Version of HTTP.
    pub http: Version,
    /// Whether connections stay open.
    pub keepalive: bool,
    /// Whether users keep the cookies they are given.
    pub cookies: bool,
    /// Longest time to open a connection, TLS included.
    pub connect_timeout: Duration,
    /// Share of requests whose `traceparent` says sampled (W3C Trace Context); none: the header is not sent.
    pub traceparent: Option<f64>,
    /// Accept any certificate.
    pub insecure: bool,
    /// PEM file of certificates to trust instead of the system's.
    pub cacert: Option<std::path::PathBuf>,
}

/// Version of HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// HTTP/1.1, one request at a time on a connection.
    Http1,
    /// HTTP/2: with TLS as ALPN says, else with prior knowledge. One connection for each user.
    Http2,
}

impl Scenario {
    /// Reads a TOML file, relative names in it (`body_file`, `cacert`) being relative to the file.
    pub fn from_file(path: &Path) -> Result<Self, Problems> {
        let source = Source::read(path)?;
        read::scenario(&source, path.parent().unwrap_or_else(|| Path::new("")))
    }

    /// Reads TOML text; `name` stands for the file in messages. Relative names in it are relative to the current directory.
    pub fn from_text(name: &str, text: &str) -> Result<Self, Problems> {
        read::scenario(&Source { name: name.to_owned(), text: text.to_owned() }, Path::new(""))
    }

    /// `GET url`, over and over, by one class `default`.
    pub fn from_url(url: &str) -> Result<Self, Problem> {
        let (host, path) = value::parse_url(url).map_err(Problem::general)?;
        let task = Task {
            name: path.clone(),
            class: 0,
            weight: 1,
            at_start: false,
            method: http::Method::GET,
            path: Template::text(&path),
            headers: Vec::new(),
            body: None,
            expect: Expect::default(),
            timeout: DEFAULT_TIMEOUT,
            save: Vec::new(),
        };
        let class = Class {
            name: "default".to_owned(),
            weight: 1,
            host: Some(host),
            wait: Wait::Constant(Duration::ZERO),
            order: Order::Random,
            tasks: 0..1,
        };
        Ok(Self {
            name: url.to_owned(),
            classes: vec![class],
            tasks: vec![task],
            variables: Vec::new(),
            load: Load::default(),
            client: Client::default(),
            thresholds: Vec::new(),
        })
    }

    /// Position of the class with this name.
    #[must_use]
    pub fn class(&self, name: &str) -> Option<usize> {
        self.classes.iter().position(|class| class.name == name)
    }

    /// Whether any class talks TLS.
    #[must_use]
    pub fn uses_tls(&self) -> bool {
        self.classes.iter().filter_map(|class| class.host.as_ref()).any(|host| host.tls)
    }

    /// How many of `users` belong to each class: by weight, and with each user more only one class gets one more.
    #[must_use]
    pub fn split(&self, users: u32) -> Vec<u32> {
        let total: u64 = self.classes.iter().map(|class| u64::from(class.weight)).sum();
        let mut split = vec![0_u32; self.classes.len()];
        // Whole rounds of the weights first; within a round, the class that is furthest behind its share comes next.
        for (share, class) in split.iter_mut().zip(&self.classes) {
            *share = (u64::from(users) / total) as u32 * class.weight;
        }
        let mut round = vec![0_u64; self.classes.len()];
        for given in 0..u64::from(users) % total {
            let behind = |at: usize| {
                let due = (given + 1) * u64::from(self.classes[at].weight);
                i128::from(due) - i128::from(round[at] * total)
            };
            let next = (0..self.classes.len()).rev().max_by_key(|&at| behind(at)).expect("a scenario has a class");
            round[next] += 1;
            split[next] += 1;
        }
        split
    }
}

impl Load {
    /// How long it lasts, if that is known before.
    #[must_use]
    pub fn length(&self) -> Option<Duration> {
        if self.stages.is_empty() { self.duration } else { Some(self.stages.iter().map(|stage| stage.duration).sum()) }
    }

    /// Closed loop: how many users there should be at this time.
    #[must_use]
    pub fn users_at(&self, time: Duration) -> u32 {
        if self.stages.is_empty() {
            if time >= self.ramp_up {
                return self.users;
            }
            let share = time.as_secs_f64() / self.ramp_up.as_secs_f64();
            return ((f64::from(self.users) * share).floor() as u32).max(1);
        }
        let (mut start, mut from) = (Duration::ZERO, 0.0);
        for stage in &self.stages {
            if time < start + stage.duration {
                let share = (time - start).as_secs_f64() / stage.duration.as_secs_f64();
                return (from + (stage.target - from) * share).floor() as u32;
            }
            (start, from) = (start + stage.duration, stage.target);
        }
        from as u32
    }
}

/// Longest time of a request, if the scenario does not say.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);

impl Default for Expect {
    fn default() -> Self {
        Self(vec![(100, 399)])
    }
}

impl Default for Load {
    fn default() -> Self {
        Self {
            users: 10,
            rate: None,
            arrivals: Arrivals::Constant,
            ramp_up: Duration::ZERO,
            stages: Vec::new(),
            duration: None,
            requests: None,
            max_in_flight: 1000,
            grace: Duration::from_secs(5),
        }
    }
}

impl Default for Client {
    fn default() -> Self {
        Self {
            http: Version::Http1,
            keepalive: true,
            cookies: true,
            connect_timeout: Duration::from_secs(5),
            traceparent: None,
            insecure: false,
            cacert: None,
        }
    }
}

#[cfg(test)]
mod tests;
