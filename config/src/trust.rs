//! Addresses that are trusted: single ones, networks, or everybody.

use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;

use crate::input::Input;
use crate::rule::{Rule, quoted};

/// Who may say something about other people's requests. A peer on a unix socket is trusted without being named.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Trusted {
    everybody: bool,
    networks: Vec<IpNet>,
}

impl Trusted {
    /// Whether the list holds this address. An IPv4 address that a socket for both families shows as `::ffff:10.0.0.1` is taken
    /// for what it is.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.everybody || self.networks.iter().any(|network| network.contains(&address))
    }

    /// The list `*`.
    #[must_use]
    pub const fn everybody() -> Self {
        Self { everybody: true, networks: Vec::new() }
    }

    fn add(&mut self, text: &str) -> Result<(), String> {
        if text == "*" {
            self.everybody = true;
            return Ok(());
        }
        let network = match text.parse::<IpAddr>() {
            Ok(address) => IpNet::from(address.to_canonical()),
            Err(_) => text.parse::<IpNet>().map_err(|_| format!("{text:?} is not allowed; use {ALLOWED}"))?,
        };
        let whole = network.trunc();
        if network != whole {
            return Err(format!("{text:?} is not allowed; bits of the host are set in it; did you mean \"{whole}\"?"));
        }
        self.networks.push(network);
        Ok(())
    }
}

impl fmt::Display for Trusted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let single = |network: &IpNet| {
            if network.prefix_len() == network.max_prefix_len() {
                network.addr().to_string()
            } else {
                network.to_string()
            }
        };
        let everybody = self.everybody.then(|| "*".to_owned());
        let all: Vec<String> = everybody.into_iter().chain(self.networks.iter().map(single)).collect();
        f.write_str(&all.join(","))
    }
}

const ALLOWED: &str =
    "addresses and networks such as \"127.0.0.1,10.0.0.0/8,::1\", \"*\" for everybody, or nothing for nobody";

/// A list of addresses and networks, or text with commas.
pub(crate) struct Networks;

impl Rule<Trusted> for Networks {
    fn allowed(&self) -> String {
        ALLOWED.to_owned()
    }

    fn parse(&self, input: &Input) -> Result<Trusted, String> {
        let mut trusted = Trusted::default();
        for item in input.items().ok_or_else(|| input.refused(ALLOWED))? {
            trusted.add(item)?;
        }
        Ok(trusted)
    }

    fn show(&self, value: &Trusted) -> String {
        quoted(&value.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trusted(text: &str) -> Result<Trusted, String> {
        Networks.parse(&Input::Untyped(text.to_owned()))
    }

    #[test]
    fn addresses_networks_everybody_and_nobody() {
        let some = trusted("127.0.0.1, ::1,10.0.0.0/8").unwrap();
        for (address, is_in) in [
            ("127.0.0.1", true),
            ("127.0.0.2", false),
            ("::1", true),
            ("::2", false),
            ("10.255.0.1", true),
            ("11.0.0.1", false),
            ("::ffff:10.0.0.1", true),
        ] {
            assert_eq!(some.contains(address.parse().unwrap()), is_in, "{address}");
        }
        assert!(trusted("*").unwrap().contains("8.8.8.8".parse().unwrap()));
        assert!(!trusted("").unwrap().contains("127.0.0.1".parse().unwrap()));
    }

    #[test]
    fn what_is_shown_reads_back() {
        for text in ["", "*", "127.0.0.1,::1", "10.0.0.0/8,fd00::/8,*"] {
            let value = trusted(text).unwrap();
            assert_eq!(trusted(Networks.show(&value).trim_matches('"')), Ok(value));
        }
        let list = Input::List(vec![Input::Text("10.0.0.0/8".into()), Input::Text("::1".into())]);
        assert_eq!(Networks.parse(&list), trusted("10.0.0.0/8,::1"));
    }

    #[test]
    fn bits_of_the_host_are_a_mistake() {
        assert_eq!(
            trusted("10.0.0.1/8").unwrap_err(),
            "\"10.0.0.1/8\" is not allowed; bits of the host are set in it; did you mean \"10.0.0.0/8\"?"
        );
        for text in ["localhost", "10.0.0.0/33", "10.0.0", "1.2.3.4:80", "*,x"] {
            assert!(trusted(text).is_err(), "{text}");
        }
        assert!(Networks.parse(&Input::Number("1".into())).is_err());
    }
}
