//! Values as they are written: durations, hosts, statuses.

use std::fmt;
use std::time::Duration;

use http::Uri;
use http::uri::PathAndQuery;

use crate::scenario::Expect;

/// Where requests go: scheme, host, port, and a path to put in front of each task's.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Host {
    /// Whether the scheme is https.
    pub tls: bool,
    /// Name or address, without brackets.
    pub name: String,
    /// TCP port.
    pub port: u16,
    /// What stands in the `Host` header.
    pub authority: String,
    /// Goes in front of each path; no slash at the end.
    pub prefix: String,
}

impl Host {
    /// Reads `http://host:port/prefix`.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (mut host, path) = parse_url(text)?;
        if path.contains('?') {
            return Err(format!("{text:?} has a query, which belongs to the path of a task"));
        }
        host.prefix = path.trim_end_matches('/').to_owned();
        Ok(host)
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}{}", if self.tls { "https" } else { "http" }, self.authority, self.prefix)
    }
}

/// A URL as host, and path with query.
pub(crate) fn parse_url(text: &str) -> Result<(Host, String), String> {
    let example = "write it like http://localhost:8000/";
    let uri: Uri = text.parse().map_err(|error| format!("{text:?} is not a URL: {error}; {example}"))?;
    let tls = match uri.scheme_str() {
        Some("http") => false,
        Some("https") => true,
        Some(scheme) => return Err(format!("{text:?} has the scheme {scheme:?}; use http or https")),
        None => return Err(format!("{text:?} has no scheme; {example}")),
    };
    let authority = uri.authority().filter(|authority| !authority.host().is_empty());
    let authority = authority.ok_or_else(|| format!("{text:?} names no host; {example}"))?;
    if authority.as_str().contains('@') {
        return Err(format!("{text:?} has a user in it; send an Authorization header instead"));
    }
    // `Uri` passes over a port that is no number below 65536.
    let written = authority.as_str().strip_prefix(authority.host()).and_then(|rest| rest.strip_prefix(':'));
    let port = match written.map(str::parse::<u16>) {
        None => {
            if tls {
                443
            } else {
                80
            }
        }
        Some(Ok(port)) if port > 0 => port,
        Some(_) => return Err(format!("{text:?} has no valid port; {example}")),
    };
    let name = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
    let path = uri.path_and_query().map_or("/", PathAndQuery::as_str);
    let host = Host { tls, name, port, authority: authority.as_str().to_owned(), prefix: String::new() };
    Ok((host, path.to_owned()))
}

/// Reads `500ms`, `10s`, `2m`, `1.5h`, or a number of seconds.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let units = [("us", 1e-6), ("µs", 1e-6), ("ms", 1e-3), ("s", 1.0), ("m", 60.0), ("h", 3600.0), ("", 1.0)];
    let wrong = || format!("{text:?} is not a duration; write a number with a unit (ms, s, m or h), like \"10s\"");
    let trimmed = text.trim();
    let (number, factor) = units
        .iter()
        .find_map(|(unit, factor)| Some((trimmed.strip_suffix(unit)?.trim_end(), factor)))
        .ok_or_else(wrong)?;
    if !number.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') {
        return Err(wrong());
    }
    let seconds: f64 = number.parse().map_err(|_| wrong())?;
    Duration::try_from_secs_f64(seconds * factor)
        .ok()
        .filter(|duration| *duration <= LONGEST)
        .ok_or_else(|| format!("{text:?} is longer than a year"))
}

/// Far beyond any test, and near enough that sums of it cannot overflow.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 3600);

/// Reads `200`, `2xx` and `200-204`, one or more with commas between them.
pub(crate) fn parse_expect(text: &str) -> Result<Expect, String> {
    let status = |text: &str| text.trim().parse::<u16>().ok().filter(|status| (100..=999).contains(status));
    let range = |text: &str| {
        let text = text.trim();
        if let Some(class) = text.strip_suffix("xx") {
            let class = class.parse::<u16>().ok().filter(|class| (1..=9).contains(class))?;
            return Some((class * 100, class * 100 + 99));
        }
        match text.split_once('-') {
            Some((least, most)) => Some((status(least)?, status(most)?)).filter(|(least, most)| least <= most),
            None => status(text).map(|status| (status, status)),
        }
    };
    let ranges: Option<Vec<_>> = text.split(',').map(range).collect();
    ranges
        .map(Expect)
        .ok_or_else(|| format!("{text:?} is no list of statuses; write them like \"200\", \"2xx\" or \"200-204, 404\""))
}
