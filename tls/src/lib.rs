//! TLS of the server, without any socket: certificates are read and checked by the master, travel to the workers as text, and
//! become there what rustls serves with.
//!
//! | module | what it is |
//! |---|---|
//! | `read` | the files that the settings name, checked: what is wrong, with key and path |
//! | `handoff` | from master to worker |
//! | `server` | a configuration of rustls |
//! | `tickets` | sessions that any worker can resume, also after a reload |
//! | `validity` | from when to when a certificate is good |
//!
//! The master reads, so the workers need no right to read the key. Both use the same checks: what a master takes, a worker can
//! serve.

mod handoff;
mod read;
mod server;
#[cfg(test)]
mod tests;
mod tickets;
mod validity;

pub use server::server_config;
pub use tickets::TicketSecret;
pub use validity::Validity;

/// What workers need to speak TLS: the contents of files, checked.
#[derive(Clone, PartialEq, Eq)]
pub struct Material {
    /// PEM: the server's certificate, then those that lead to its CA.
    certificates: String,
    /// PEM. Never logged, and shown to nobody but workers.
    key: String,
    /// PEM: CAs of client certificates; empty for none.
    ca: String,
    tickets: TicketSecret,
}

impl std::fmt::Debug for Material {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Material").finish_non_exhaustive() // secrets
    }
}

impl Material {
    /// From when to when the server's certificate is good; `None` if it does not say so in a way that we understand.
    #[must_use]
    pub fn validity(&self) -> Option<Validity> {
        let chain = read::certificates(self.certificates.as_bytes()).ok()?;
        Validity::of(chain.first()?)
    }

    /// Whether clients are shown the same certificate.
    #[must_use]
    pub fn same_certificate(&self, other: &Self) -> bool {
        self.certificates == other.certificates
    }

    /// What makes sessions resumable, for the material that follows this one.
    #[must_use]
    pub const fn tickets(&self) -> &TicketSecret {
        &self.tickets
    }
}
