//! Session tickets that every worker of a server can read, whichever wrote them, and their successors after a reload.
//!
//! The master has one random secret for its life. Keys are derived from it: one for each [`EPOCH`], so that a key is used for a
//! limited time, and one for each set of rules for client certificates, so that no session outlives the rules it was made
//! under: a resumed session is not verified again.

use std::fmt;
use std::sync::Arc;

use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, MAX_TAG_LEN, NONCE_LEN, Nonce, UnboundKey};
use ring::digest::{SHA256, digest};
use ring::hkdf::{HKDF_SHA256, KeyType, Prk, Salt};
use ring::rand::{SecureRandom, SystemRandom};
use rustcorn_sys::clock::time_of_day;
use rustls::server::ProducesTickets;

/// Seconds for which one key writes tickets. For as long again it reads them.
const EPOCH: u64 = 6 * 60 * 60;
/// Of a key's name, by which a ticket says which key it wants.
const NAME_LEN: usize = 16;
/// Longer than a ticket gets, with a chain of client certificates in it.
const LONGEST: usize = 64 * 1024;

/// What all ticket keys of one server come from.
#[derive(Clone, PartialEq, Eq)]
pub struct TicketSecret([u8; 32]);

impl fmt::Debug for TicketSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TicketSecret")
    }
}

impl TicketSecret {
    /// A new one; `None` if the system has no random numbers.
    #[must_use]
    pub fn new() -> Option<Self> {
        let mut secret = [0; 32];
        SystemRandom::new().fill(&mut secret).ok()?;
        Some(Self(secret))
    }

    /// For a master or a worker that comes after.
    #[must_use]
    pub fn to_hex(&self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Reads what [`Self::to_hex`] wrote.
    #[must_use]
    pub fn from_hex(text: &str) -> Option<Self> {
        if text.len() != 2 * size_of::<Self>() {
            return None;
        }
        let digits: Vec<u8> = text.chars().map(|digit| digit.to_digit(16)?.try_into().ok()).collect::<Option<_>>()?;
        let bytes: Vec<u8> =
            digits.chunks(2).map(|pair| pair.iter().fold(0, |byte, digit| byte << 4 | digit)).collect();
        bytes.try_into().ok().map(Self)
    }

    /// Writes and reads tickets of sessions with clients that are verified in this way.
    pub(crate) fn ticketer(&self, ca: &str, cert_reqs: u8) -> Arc<dyn ProducesTickets> {
        let prk = Salt::new(HKDF_SHA256, b"rustcorn session tickets").extract(&self.0);
        let mut rules = digest(&SHA256, ca.as_bytes()).as_ref().to_vec();
        rules.push(cert_reqs);
        Arc::new(Tickets { prk, rules, epoch: || time_of_day().as_secs() / EPOCH })
    }
}

struct Tickets {
    prk: Prk,
    /// Of client certificates.
    rules: Vec<u8>,
    epoch: fn() -> u64,
}

impl fmt::Debug for Tickets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tickets")
    }
}

/// A key and its name.
struct Key {
    name: [u8; NAME_LEN],
    key: LessSafeKey,
}

/// How many bytes to derive.
struct Bytes;

impl KeyType for Bytes {
    fn len(&self) -> usize {
        NAME_LEN + 32
    }
}

impl Tickets {
    /// Two hashes for each ticket, which is nothing beside the handshake that it belongs to.
    fn key(&self, epoch: u64) -> Option<Key> {
        let mut bytes = [0; NAME_LEN + 32];
        let info = [&epoch.to_be_bytes()[..], &self.rules];
        self.prk.expand(&info, Bytes).and_then(|derived| derived.fill(&mut bytes)).ok()?;
        let (name, key) = bytes.split_at(NAME_LEN);
        let key = LessSafeKey::new(UnboundKey::new(&CHACHA20_POLY1305, key).ok()?);
        Some(Key { name: name.try_into().ok()?, key })
    }
}

impl ProducesTickets for Tickets {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        u32::try_from(EPOCH).unwrap_or(0) // what the worst ticket has, written at the end of its epoch
    }

    /// `name of the key | nonce | ciphertext | tag`
    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        let Key { name, key } = self.key((self.epoch)())?;
        // By chance: workers share the key and could not share a counter, which would tell how many sessions there are, too.
        let mut nonce = [0; NONCE_LEN];
        SystemRandom::new().fill(&mut nonce).ok()?;
        let mut sealed = plain.to_vec();
        let tag =
            key.seal_in_place_separate_tag(Nonce::assume_unique_for_key(nonce), Aad::from(name), &mut sealed).ok()?;
        Some([&name[..], &nonce, &sealed, tag.as_ref()].concat())
    }

    fn decrypt(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        if ticket.len() > LONGEST || ticket.len() < NAME_LEN + NONCE_LEN + MAX_TAG_LEN {
            return None;
        }
        let (name, rest) = ticket.split_at(NAME_LEN);
        let (nonce, sealed) = rest.split_at(NONCE_LEN);
        let now = (self.epoch)();
        // The names are no secret: every ticket shows one.
        let Key { name, key } =
            [now, now.checked_sub(1)?].iter().find_map(|epoch| self.key(*epoch).filter(|key| key.name == name))?;
        let mut opened = sealed.to_vec();
        let length =
            key.open_in_place(Nonce::try_assume_unique_for_key(nonce).ok()?, Aad::from(name), &mut opened).ok()?.len();
        opened.truncate(length);
        Some(opened)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    fn at(secret: &TicketSecret, ca: &str, epoch: fn() -> u64) -> Tickets {
        let prk = Salt::new(HKDF_SHA256, b"rustcorn session tickets").extract(&secret.0);
        Tickets { prk, rules: ca.as_bytes().to_vec(), epoch }
    }

    #[test]
    fn another_worker_reads_it_in_this_epoch_and_the_next() {
        let secret = TicketSecret::new().unwrap();
        let handed_over = TicketSecret::from_hex(&secret.to_hex()).unwrap();
        let ticket = at(&secret, "", || 100).encrypt(b"session").unwrap();
        for epoch in [|| 100, || 101] {
            assert_eq!(at(&handed_over, "", epoch).decrypt(&ticket).as_deref(), Some(&b"session"[..]));
        }
        for epoch in [|| 99, || 102] {
            assert_eq!(at(&handed_over, "", epoch).decrypt(&ticket), None);
        }
    }

    #[test]
    fn other_rules_another_secret_and_a_flipped_bit_make_it_worthless() {
        let secret = TicketSecret::new().unwrap();
        let ticket = at(&secret, "a", || 1).encrypt(b"session").unwrap();
        assert_eq!(at(&secret, "b", || 1).decrypt(&ticket), None);
        assert_eq!(at(&TicketSecret::new().unwrap(), "a", || 1).decrypt(&ticket), None);
        for at_byte in 0..ticket.len() {
            let mut spoilt = ticket.clone();
            spoilt[at_byte] ^= 1;
            assert_eq!(at(&secret, "a", || 1).decrypt(&spoilt), None, "byte {at_byte}");
        }
        for length in 0..ticket.len() {
            assert_eq!(at(&secret, "a", || 1).decrypt(&ticket[..length]), None);
        }
        assert_eq!(at(&secret, "a", || 1).decrypt(&vec![0; 1 << 20]), None);
    }

    #[test]
    fn two_tickets_of_one_session_have_nothing_in_common() {
        let secret = TicketSecret::new().unwrap();
        let [one, two] = [0; 2].map(|_| at(&secret, "", || 1).encrypt(b"session").unwrap());
        assert_ne!(one[NAME_LEN..], two[NAME_LEN..]);
    }

    #[test]
    fn a_spoilt_secret_is_none() {
        assert!(TicketSecret::from_hex("").is_none() && TicketSecret::from_hex(&"f".repeat(63)).is_none());
        assert!(TicketSecret::from_hex(&"g".repeat(64)).is_none() && TicketSecret::from_hex(&"0".repeat(66)).is_none());
    }
}
