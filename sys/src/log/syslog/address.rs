//! How a syslog server is named, and the facilities it knows.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// Where a syslog server listens. Displayed in the one form that [`str::parse`] reads.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Address {
    /// A socket on this machine, such as `/dev/log`.
    Unix {
        /// Its file.
        path: PathBuf,
        /// What kind of socket it is.
        kind: Kind,
    },
    /// A UDP port.
    Udp {
        /// A name, or an address without brackets.
        host: String,
        /// Never 0.
        port: u16,
    },
    /// A TCP port.
    Tcp {
        /// As above.
        host: String,
        /// As above.
        port: u16,
    },
}

/// Kinds of unix sockets.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Whichever it turns out to be.
    Either,
    /// One message a line.
    Datagram,
    /// A stream of lines.
    Stream,
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scheme, host, port) = match self {
            Self::Unix { path, kind } => {
                let kind = match kind {
                    Kind::Either => "",
                    Kind::Datagram => "#dgram",
                    Kind::Stream => "#stream",
                };
                return write!(f, "unix://{}{kind}", path.display());
            }
            Self::Udp { host, port } => ("udp", host, port),
            Self::Tcp { host, port } => ("tcp", host, port),
        };
        if host.contains(':') { write!(f, "{scheme}://[{host}]:{port}") } else { write!(f, "{scheme}://{host}:{port}") }
    }
}

/// What is displayed; the setting's other forms are the configuration's to understand.
impl FromStr for Address {
    type Err = ();
    fn from_str(text: &str) -> Result<Self, ()> {
        let (scheme, rest) = text.split_once("://").ok_or(())?;
        if scheme == "unix" {
            let (path, kind) = match rest.rsplit_once('#') {
                Some((path, "dgram")) => (path, Kind::Datagram),
                Some((path, "stream")) => (path, Kind::Stream),
                _ => (rest, Kind::Either),
            };
            return Ok(Self::Unix { path: path.into(), kind });
        }
        let (host, port) = rest.rsplit_once(':').ok_or(())?;
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let port = port.parse().map_err(|_| ())?;
        match scheme {
            "udp" => Ok(Self::Udp { host, port }),
            "tcp" => Ok(Self::Tcp { host, port }),
            _ => Err(()),
        }
    }
}

/// What kind of program speaks (syslog(3)).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Facility(u8);

impl Facility {
    /// Those that gunicorn knows, with its names.
    const ALL: [(&'static str, u8); 21] = [
        ("auth", 4),
        ("authpriv", 10),
        ("cron", 9),
        ("daemon", 3),
        ("ftp", 11),
        ("kern", 0),
        ("lpr", 6),
        ("mail", 2),
        ("news", 7),
        ("security", 4),
        ("syslog", 5),
        ("user", 1),
        ("uucp", 8),
        ("local0", 16),
        ("local1", 17),
        ("local2", 18),
        ("local3", 19),
        ("local4", 20),
        ("local5", 21),
        ("local6", 22),
        ("local7", 23),
    ];

    /// All names.
    pub fn names() -> impl Iterator<Item = &'static str> {
        Self::ALL.into_iter().map(|(name, _)| name)
    }

    pub(super) const fn number(self) -> u8 {
        self.0
    }
}

impl fmt::Display for Facility {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(Self::ALL.iter().find(|(_, number)| *number == self.0).map_or("user", |(name, _)| name))
    }
}

impl FromStr for Facility {
    type Err = ();
    fn from_str(text: &str) -> Result<Self, ()> {
        let known = Self::ALL.iter().find(|(name, _)| name.eq_ignore_ascii_case(text));
        known.map(|(_, number)| Self(*number)).ok_or(())
    }
}
