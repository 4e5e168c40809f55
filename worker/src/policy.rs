//! What the settings say about requests and those who send them.

use std::net::{IpAddr, SocketAddr};

use rustcorn_config::{ProxyProtocol, Settings, Trusted};

use crate::guard::Rules;

/// The policy of one worker.
#[derive(Debug)]
pub(crate) struct Policy {
    pub(crate) rules: Rules,
    /// Believed about scheme and client.
    pub(crate) forwarders: Trusted,
    pub(crate) proxy_protocol: ProxyProtocol,
    proxies: Trusted,
}

impl Policy {
    pub(crate) fn new(settings: &Settings) -> Self {
        Self {
            rules: Rules::new(settings),
            forwarders: settings.forwarded_allow_ips.clone(),
            proxy_protocol: settings.proxy_protocol,
            proxies: settings.proxy_allow_ips.clone(),
        }
    }

    /// Whether what this peer says of scheme and client is believed. `None` is a unix socket.
    pub(crate) fn believes(&self, peer: Option<SocketAddr>) -> bool {
        peer.is_none_or(|peer| self.forwarders.contains(peer.ip()))
    }

    /// Whether this peer may send a PROXY header.
    pub(crate) fn lets_proxy(&self, peer: Option<SocketAddr>) -> bool {
        peer.is_none_or(|peer| self.proxies.contains(peer.ip()))
    }

    /// The client that `forwarded_for` speaks of: the last address that is not of a proxy that is believed. What is left of
    /// something that is no address is not believed either.
    pub(crate) fn forwarded_client<'a>(
        &self,
        forwarded_for: impl DoubleEndedIterator<Item = &'a str>,
    ) -> Option<IpAddr> {
        let mut client = None;
        for entry in forwarded_for.rev().flat_map(|line| line.rsplit(',')) {
            let Some(address) = address(entry.trim()) else { break };
            client = Some(address);
            if !self.forwarders.contains(address) {
                break;
            }
        }
        client
    }
}

/// An address, with or without a port, as proxies write it.
fn address(text: &str) -> Option<IpAddr> {
    let address = text.parse::<IpAddr>().ok();
    let address = address.or_else(|| text.parse::<SocketAddr>().ok().map(|address| address.ip()));
    address
        .or_else(|| text.strip_prefix('[')?.strip_suffix(']')?.parse().ok())
        .map(|address: IpAddr| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_client_is_the_last_address_that_is_no_known_proxy() {
        let mut settings = Settings::defaults();
        let client = |settings: &Settings, lines: &[&str]| {
            Policy::new(settings).forwarded_client(lines.iter().copied()).map(|address| address.to_string())
        };
        for (lines, expected) in [
            (&["203.0.113.7"][..], Some("203.0.113.7")),
            (&["1.1.1.1, 203.0.113.7, 127.0.0.1"], Some("203.0.113.7")),
            (&["1.1.1.1", "203.0.113.7,127.0.0.1"], Some("203.0.113.7")),
            (&["203.0.113.7:4711, 127.0.0.1"], Some("203.0.113.7")),
            (&["[2001:db8::1]:80, ::1"], Some("2001:db8::1")),
            (&["[2001:db8::1]"], Some("2001:db8::1")),
            (&["::ffff:203.0.113.7"], Some("203.0.113.7")),
            (&["127.0.0.1"], Some("127.0.0.1")),
            (&["1.1.1.1, unknown, 127.0.0.1"], Some("127.0.0.1")),
            (&["unknown"], None),
            (&[""], None),
        ] {
            assert_eq!(client(&settings, lines).as_deref(), expected, "{lines:?}");
        }
        settings.forwarded_allow_ips = Trusted::everybody();
        assert_eq!(client(&settings, &["1.1.1.1, 2.2.2.2"]).as_deref(), Some("1.1.1.1"));
    }

    #[test]
    fn who_is_believed() {
        let policy = Policy::new(&Settings::defaults());
        let peer = |address: &str| Some(address.parse().unwrap());
        assert!(policy.believes(peer("127.0.0.1:1")) && policy.believes(peer("[::ffff:127.0.0.1]:1")));
        assert!(policy.believes(None), "unix sockets");
        assert!(!policy.believes(peer("127.0.0.2:1")));
        assert!(policy.lets_proxy(None) && !policy.lets_proxy(peer("10.0.0.1:1")));
    }
}
