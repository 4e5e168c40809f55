//! A scenario made ready to be sent: hosts resolved to tasks, and requests to bytes as far as they are the same for everybody.

use std::fmt::Write as _;

use crate::engine::values::Values;
use crate::problem::Problem;
use crate::scenario::{Host, SaveFrom, Scenario, Task, Template, Version};

/// All requests, for certain hosts.
pub(crate) struct Plan {
    /// By position of the class.
    pub(crate) hosts: Vec<Host>,
    /// By position of the task.
    pub(crate) tasks: Vec<PlannedTask>,
}

pub(crate) struct PlannedTask {
    /// Request line and fields, without the empty line at the end.
    head: Template,
    body: Option<Template>,
    /// All of it, if nothing is to be filled in.
    whole: Option<Vec<u8>>,
    pub(crate) to_head: bool,
    pub(crate) keep_body: bool,
}

impl Plan {
    /// With `host` in place of those of the scenario, if there is one.
    pub(crate) fn new(scenario: &Scenario, host: Option<&Host>) -> Result<Self, Problem> {
        let mut hosts = Vec::new();
        for class in &scenario.classes {
            let host = host.or(class.host.as_ref()).ok_or_else(|| {
                Problem::general(format!(
                    "class {:?} has no host; set host = \"http://…\" in the scenario, or use --host",
                    class.name
                ))
            })?;
            hosts.push(host.clone());
        }
        let tasks = scenario.tasks.iter().map(|task| PlannedTask::new(task, &hosts[task.class], scenario)).collect();
        Ok(Self { hosts, tasks })
    }

    pub(crate) fn tls(&self) -> bool {
        self.hosts.iter().any(|host| host.tls)
    }
}

impl PlannedTask {
    fn new(task: &Task, host: &Host, scenario: &Scenario) -> Self {
        let mut head = Template::text(&format!("{} {}", task.method, host.prefix));
        head.append(&task.path);
        let mut lines = " HTTP/1.1".to_owned();
        if !task.headers.iter().any(|(name, _)| name == http::header::HOST) {
            let _ = write!(lines, "\r\nhost: {}", host.authority); // writing to a string cannot fail
        }
        if !scenario.client.keepalive {
            lines.push_str("\r\nconnection: close");
        }
        if let Some(length) = fixed_length(task) {
            let _ = write!(lines, "\r\ncontent-length: {length}"); // as above
        }
        head.append(&Template::text(&lines));
        for (name, value) in &task.headers {
            head.append(&Template::text(&format!("\r\n{name}: ")));
            head.append(value);
        }
        let body = task.body.as_ref();
        let whole = head.fixed().and_then(|head| {
            let body = body.map_or(Some(&[][..]), Template::fixed)?;
            Some([head, b"\r\n\r\n", body].concat())
        });
        Self {
            head,
            body: task.body.clone(),
            whole: whole.filter(|_| scenario.client.http == Version::Http1 && scenario.client.traceparent.is_none()),
            to_head: task.method == http::Method::HEAD,
            keep_body: task.save.iter().any(|save| matches!(save.from, SaveFrom::Json(_))),
        }
    }

    /// The bytes to send: those that everybody sends, or those of this user, which are put into `buffer`.
    pub(crate) fn bytes<'a>(&'a self, values: &Values, buffer: &'a mut Vec<u8>) -> &'a [u8] {
        if let (Some(whole), true) = (&self.whole, values.cookies.is_empty()) {
            return whole;
        }
        buffer.clear();
        self.head.render(buffer, |variable| values.get(variable));
        if !values.cookies.is_empty() {
            buffer.extend_from_slice(b"\r\ncookie: ");
            buffer.extend_from_slice(&values.cookie());
        }
        if let Some(trace) = values.trace {
            buffer.extend_from_slice(b"\r\ntraceparent: ");
            buffer.extend_from_slice(&trace.header());
        }
        match &self.body {
            Some(body) if body.fixed().is_none() => {
                let mut rendered = Vec::new();
                body.render(&mut rendered, |variable| values.get(variable));
                buffer.extend_from_slice(format!("\r\ncontent-length: {}\r\n\r\n", rendered.len()).as_bytes());
                buffer.extend_from_slice(&rendered);
            }
            body => {
                buffer.extend_from_slice(b"\r\n\r\n");
                buffer.extend_from_slice(body.as_ref().and_then(Template::fixed).unwrap_or_default());
            }
        }
        buffer
    }
}

/// `Content-Length`, if it is known now. Methods that are expected to have a body say so when it is empty (RFC 9110 8.6).
fn fixed_length(task: &Task) -> Option<usize> {
    match &task.body {
        Some(body) => body.fixed().map(<[u8]>::len),
        None => matches!(task.method.as_str(), "POST" | "PUT" | "PATCH").then_some(0),
    }
}
