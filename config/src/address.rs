//! Addresses: where to listen, and where metrics go. Only the form is checked here; a name is looked up when it is used.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;
use std::str::FromStr;

/// Port of a `bind` address that names none.
const LISTEN_PORT: u16 = 8000;
/// Port of a `statsd_host` that names none.
const STATSD_PORT: u16 = 8125;
/// Longest path of a unix socket: `sun_path` less its final NUL (unix(7)).
pub(crate) const LONGEST_PATH: usize = 107;

/// An address to listen on. Displayed as in log lines: `http://127.0.0.1:8000`, `http://[::1]:8000`, `unix:/run/app.sock`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Address {
    /// A TCP port on the interfaces that `host` resolves to.
    Tcp {
        /// A name, an IPv4 address, or an IPv6 address (no brackets, perhaps with `%scope`). Never empty, lower case.
        host: String,
        /// 0 lets the kernel choose.
        port: u16,
    },
    /// A unix stream socket.
    Unix(PathBuf),
    /// A listening socket that whoever started the server has opened as this descriptor.
    Descriptor(i32),
}

impl Address {
    pub(crate) const ALLOWED: &str =
        "HOST:PORT, HOST, :PORT, [IPV6]:PORT, tcp://HOST:PORT, unix:PATH or fd://N (several: a list, or commas)";
    /// The same where there can be only one.
    pub(crate) const FORMS: &str = "HOST:PORT, HOST, :PORT, [IPV6]:PORT, tcp://HOST:PORT, unix:PATH or fd://N";

    /// Reads the forms of gunicorn's `--bind`; the error is a sentence for a message.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        if let Some(number) = text.strip_prefix("fd://") {
            // 0 to 2 are standard input, output and error.
            let number = number.parse().ok().filter(|number| *number >= 3);
            let reason = "the number of a descriptor is 3 or more";
            return number.map(Self::Descriptor).ok_or_else(|| refused(text, reason, Self::ALLOWED));
        }
        if let Some(path) = unix_path(text)? {
            return Ok(Self::Unix(path));
        }
        match host_and_port(text.strip_prefix("tcp://").unwrap_or(text), LISTEN_PORT) {
            Ok((host, port)) if host.is_empty() => Ok(Self::Tcp { host: Ipv4Addr::UNSPECIFIED.to_string(), port }),
            Ok((host, port)) => Ok(Self::Tcp { host, port }),
            Err(reason) => Err(refused(text, reason, Self::ALLOWED)),
        }
    }

    /// Whether the kernel chooses the port, so that two of these are two addresses.
    pub(crate) fn is_any_port(&self) -> bool {
        matches!(self, Self::Tcp { port: 0, .. })
    }

    /// The address as one writes it in the `bind` setting.
    #[must_use]
    pub fn to_setting(&self) -> String {
        match self {
            Self::Tcp { host, port } => joined(host, *port),
            Self::Unix(path) => format!("unix:{}", path.display()),
            Self::Descriptor(number) => format!("fd://{number}"),
        }
    }
}

/// Reads what [`Address::to_setting`] writes.
impl FromStr for Address {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        Self::parse(text)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { .. } => write!(f, "http://{}", self.to_setting()),
            Self::Unix(_) | Self::Descriptor(_) => f.write_str(&self.to_setting()),
        }
    }
}

/// Where statsd metrics are sent, as datagrams. Displayed as one writes it in the setting.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum StatsdHost {
    /// UDP.
    Udp {
        /// A name or an address, as in [`Address::Tcp`].
        host: String,
        /// Never 0.
        port: u16,
    },
    /// A unix datagram socket.
    Unix(PathBuf),
}

impl StatsdHost {
    pub(crate) const ALLOWED: &str = "HOST:PORT, HOST (port 8125), unix:PATH, or nothing to send no metrics";

    /// Reads the forms of gunicorn's `--statsd-host`; the error is a sentence for a message.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        if let Some(path) = unix_path(text)? {
            return Ok(Self::Unix(path));
        }
        let reason = match host_and_port(text, STATSD_PORT) {
            Ok((host, _)) if host.is_empty() => "",
            Ok((_, 0)) => "nothing can be sent to port 0",
            Ok((host, port)) => return Ok(Self::Udp { host, port }),
            Err(reason) => reason,
        };
        Err(refused(text, reason, Self::ALLOWED))
    }
}

impl fmt::Display for StatsdHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Udp { host, port } => f.write_str(&joined(host, *port)),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

fn joined(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

fn refused(text: &str, reason: &str, allowed: &str) -> String {
    let reason = if reason.is_empty() { String::new() } else { format!(" ({reason})") };
    format!("{text:?} is not allowed{reason}; use {allowed}")
}

/// The path of `unix:PATH` or `unix://PATH`; none if the text is no unix address.
fn unix_path(text: &str) -> Result<Option<PathBuf>, String> {
    let Some(path) = text.strip_prefix("unix:") else { return Ok(None) };
    let path = path.strip_prefix("//").unwrap_or(path);
    let reason = match path {
        "" => "the path is missing",
        path if path.contains(char::is_control) => "the path holds a control character",
        path if path.len() > LONGEST_PATH => "a unix socket's path has at most 107 bytes",
        path => return Ok(Some(PathBuf::from(path))),
    };
    Err(refused(text, reason, "unix:PATH"))
}

/// Splits `HOST`, `HOST:PORT`, `:PORT`, `[V6]` or `[V6]:PORT`; the host is empty, a name, or an address without brackets.
pub(crate) fn host_and_port(text: &str, default_port: u16) -> Result<(String, u16), &'static str> {
    if let Some(rest) = text.strip_prefix('[') {
        let (host, rest) = rest.split_once(']').ok_or("the closing ] is missing")?;
        let port = match rest {
            "" => default_port,
            rest => port(rest.strip_prefix(':').ok_or("after ] comes :PORT")?)?,
        };
        let (address, scope) = host.split_once('%').unwrap_or((host, "0"));
        let address: Ipv6Addr = address.parse().map_err(|_| "no IPv6 address in the brackets")?;
        if scope.is_empty() || !scope.bytes().all(is_name_byte) {
            return Err("no network interface after %");
        }
        // The scope is an interface's name, in which case counts.
        let scope = host.find('%').map_or("", |at| &host[at..]);
        return Ok((format!("{address}{scope}"), port));
    }
    if text.parse::<Ipv6Addr>().is_ok() {
        return Err("an IPv6 address goes in brackets");
    }
    match text.split_once(':') {
        None if text.is_empty() => Err("empty"),
        None if port(text).is_ok() => Err("a port alone is written with a colon in front"),
        None => Ok((name(text)?, default_port)),
        Some(("", number)) => Ok((String::new(), port(number)?)),
        Some((host, number)) => Ok((name(host)?, port(number)?)),
    }
}

fn port(text: &str) -> Result<u16, &'static str> {
    // u16's own parser would take "+80".
    let number = if text.bytes().all(|byte| byte.is_ascii_digit()) { text.parse().ok() } else { None };
    number.ok_or("the port is a number from 0 to 65535")
}

fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_')
}

/// An IPv4 address or something that may be a host name, in lower case.
fn name(text: &str) -> Result<String, &'static str> {
    let name = text.to_ascii_lowercase();
    let last_label = name.trim_end_matches('.').rsplit('.').next().unwrap_or_default();
    // No top-level domain is a number, and the resolver reads "10.1" as 10.0.0.1: nobody means that.
    if last_label.bytes().all(|byte| byte.is_ascii_digit()) && name.parse::<Ipv4Addr>().is_err() {
        return Err("no IPv4 address and no host name");
    }
    if name.len() > 253 || name.starts_with(['-', '.']) || !name.bytes().all(is_name_byte) {
        return Err("no host name");
    }
    Ok(name)
}
