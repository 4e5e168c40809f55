//! Profiles: sets of defaults for a place to run in, a layer above the built-in ones.

/// A set of defaults.
#[derive(Debug)]
pub(crate) struct Profile {
    pub(crate) name: &'static str,
    /// Setting and value, as one would write it in a variable.
    pub(crate) values: &'static [(&'static str, &'static str)],
}

/// Google's load balancers keep idle connections for 600 s, and close them; who closes first cuts a request that is on its way.
/// A pod that is to go is told at the same time as the balancer, which needs some seconds to hear.
pub(crate) const PROFILES: &[Profile] =
    &[Profile { name: "gke", values: &[("keepalive", "620"), ("drain_delay", "15"), ("log_format", "json")] }];

impl Profile {
    pub(crate) fn named(name: &str) -> Option<&'static Self> {
        PROFILES.iter().find(|profile| profile.name == name)
    }
}
