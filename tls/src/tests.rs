//! Material from files to rustls: what is taken, and what is said about what is not.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use rcgen::{CertificateParams, CertifiedIssuer, KeyPair};
use rustcorn_config::{Invocation, Loaded, Settings};
use rustls::crypto::ring::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{
    ClientConfig, ClientConnection, ConnectionCommon, HandshakeKind, RootCertStore, ServerConfig, ServerConnection,
    SideData,
};

use crate::{Material, server_config};

/// A folder of its own with `app.toml` and what a test puts there, gone when dropped.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("rustcorn-tls-{}-{}", std::process::id(), NEXT.fetch_add(1, Relaxed));
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.0.join(name), text).unwrap();
    }

    /// Paths in `lines` are relative to the folder, where they begin with `@`.
    fn configure(&self, lines: &str) -> Loaded {
        let lines = lines.replace('@', &format!("{}/", self.0.display()));
        self.write("app.toml", &format!("{lines}\n[app]\nhandler = \"hello\"\n"));
        let args = [Path::new("rustcorn").into(), self.0.join("app.toml").into_os_string()];
        Invocation::from_args(args, []).unwrap().load().unwrap()
    }

    fn load(&self, lines: &str) -> Result<Option<Material>, String> {
        let loaded = self.configure(lines);
        Material::load(&loaded, None)
            .map_err(|problems| problems.to_string().replace(&format!("{}/", self.0.display()), ""))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0); // what is left behind harms nobody
    }
}

type Ca = CertifiedIssuer<'static, KeyPair>;

fn ca() -> Ca {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// A certificate for `name` and its key, as PEM.
fn issued(ca: &Ca, name: &str) -> (String, String) {
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(vec![name.to_owned()]).unwrap().signed_by(&key, ca).unwrap();
    (certificate.pem(), key.serialize_pem())
}

const PAIR: &str = "certfile = \"@cert.pem\"\nkeyfile = \"@key.pem\"";

fn with_pair() -> (Folder, Ca) {
    let (folder, ca) = (Folder::new(), ca());
    let (certificate, key) = issued(&ca, "localhost");
    folder.write("cert.pem", &certificate);
    folder.write("key.pem", &key);
    (folder, ca)
}

#[test]
fn no_certificate_no_tls() {
    assert!(matches!(Folder::new().load("workers = 1"), Ok(None)));
}

#[test]
fn a_pair_in_two_files_or_one() {
    let (folder, _) = with_pair();
    assert!(matches!(folder.load(PAIR), Ok(Some(_))));
    let both: String =
        ["key.pem", "cert.pem"].map(|name| std::fs::read_to_string(folder.0.join(name)).unwrap()).concat();
    folder.write("both.pem", &both);
    assert!(matches!(folder.load("certfile = \"@both.pem\""), Ok(Some(_))));
}

#[test]
fn every_mistake_names_key_and_file() {
    let (folder, _) = with_pair();
    let refused = |lines: &str| folder.load(lines).unwrap_err();
    assert_eq!(
        refused("certfile = \"@gone.pem\"\nkeyfile = \"@gone.key\""),
        "app.toml:1: certfile: cannot read gone.pem: No such file or directory\n\
         app.toml:2: keyfile: cannot read gone.key: No such file or directory"
    );
    folder.write("empty.pem", "nothing\n");
    assert_eq!(
        refused("certfile = \"@empty.pem\"\nkeyfile = \"@key.pem\""),
        "app.toml:1: certfile: there is no certificate in empty.pem; write it as PEM, from -----BEGIN CERTIFICATE----- on"
    );
    assert_eq!(
        refused("certfile = \"@cert.pem\""),
        "app.toml:1: certfile: there is no private key in cert.pem; write it as PEM, from -----BEGIN PRIVATE KEY----- on"
    );
    folder.write("other.key", &KeyPair::generate().unwrap().serialize_pem());
    assert_eq!(
        refused("certfile = \"@cert.pem\"\nkeyfile = \"@other.key\""),
        "app.toml:2: keyfile: the key in other.key is not that of the certificate in cert.pem"
    );
    folder.write("locked.key", "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n");
    assert!(refused("certfile = \"@cert.pem\"\nkeyfile = \"@locked.key\"").contains("locked.key is encrypted"));
    folder.write("half.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n");
    assert!(
        refused("certfile = \"@half.pem\"\nkeyfile = \"@key.pem\"")
            .starts_with("app.toml:1: certfile: cannot understand half.pem: ")
    );
    folder.write("zero.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    assert!(
        refused("certfile = \"@zero.pem\"\nkeyfile = \"@key.pem\"")
            .contains("certfile: the first certificate in zero.pem is not valid")
    );
    assert!(
        refused(&format!("{PAIR}\nca_certs = \"@zero.pem\"\ncert_reqs = 1"))
            .starts_with("app.toml:3: ca_certs: certificate 1 in zero.pem cannot be used: ")
    );
    assert!(refused(&format!("{PAIR}\nciphers = \"ECDHE+AESGCM\"")).starts_with(
        "app.toml:3: ciphers: there is no cipher suite \"ECDHE+AESGCM\"; there are TLS_AES_256_GCM_SHA384, "
    ));
}

#[test]
fn the_way_to_a_worker_loses_nothing() {
    let (folder, ca) = with_pair();
    folder.write("ca.pem", &ca.pem());
    let loaded = folder.configure(&format!("{PAIR}\nca_certs = \"@ca.pem\"\ncert_reqs = 2"));
    let material = Material::load(&loaded, None).unwrap().unwrap();
    let text = loaded.settings.to_toml() + &material.to_toml();
    assert_eq!(Material::from_toml(&text).unwrap().as_ref(), Some(&material));
    assert_eq!(Settings::from_toml(&text).unwrap(), loaded.settings);
    assert_eq!(Material::from_toml(&loaded.settings.to_toml()), Ok(None));
    assert_eq!(Material::from_toml("[tls]\nkey = \"\"\n"), Err("tls.tickets is missing".to_owned()));
    let printed = format!("{material:?}");
    assert!(!printed.contains("PRIVATE"), "{printed}");
}

/// Brings what one side has to say to the other; whether that was anything.
fn pass<A: SideData, B: SideData>(
    from: &mut ConnectionCommon<A>,
    to: &mut ConnectionCommon<B>,
) -> Result<bool, rustls::Error> {
    let mut bytes = Vec::new();
    while from.wants_write() {
        from.write_tls(&mut bytes).unwrap();
    }
    let mut left = &bytes[..];
    while !left.is_empty() {
        to.read_tls(&mut left).unwrap();
        to.process_new_packets()?;
    }
    Ok(!bytes.is_empty())
}

/// A connection in memory, up to the tickets; how the handshake went, and the protocol chosen.
fn connect(
    client: &Arc<ClientConfig>,
    server: ServerConfig,
) -> Result<(HandshakeKind, Option<Vec<u8>>), rustls::Error> {
    let mut client = ClientConnection::new(Arc::clone(client), ServerName::try_from("localhost").unwrap()).unwrap();
    let mut server = ServerConnection::new(Arc::new(server)).unwrap();
    while pass(&mut client, &mut server)? | pass(&mut server, &mut client)? {}
    Ok((client.handshake_kind().unwrap(), server.alpn_protocol().map(<[u8]>::to_vec)))
}

/// A client that trusts `ca`, with a certificate of its own or without.
fn client(ca: &Ca, own: Option<(String, String)>) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(ca.der().clone()).unwrap();
    let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()));
    let builder = builder.with_safe_default_protocol_versions().unwrap().with_root_certificates(roots);
    Arc::new(match own {
        None => builder.with_no_client_auth(),
        Some((certificate, key)) => {
            let chain = vec![CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap()];
            builder.with_client_auth_cert(chain, PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap()).unwrap()
        }
    })
}

#[test]
fn a_session_is_resumed_by_another_worker_and_after_a_reload() {
    let (folder, ca) = with_pair();
    let loaded = folder.configure(PAIR);
    let material = Material::load(&loaded, None).unwrap().unwrap();
    let client = client(&ca, None);
    let worker = |material: &Material| {
        // As a worker gets it.
        let text = loaded.settings.to_toml() + &material.to_toml();
        server_config(&loaded.settings, &Material::from_toml(&text).unwrap().unwrap()).unwrap()
    };
    assert_eq!(connect(&client, worker(&material)).unwrap().0, HandshakeKind::Full);
    assert_eq!(connect(&client, worker(&material)).unwrap().0, HandshakeKind::Resumed);

    let (certificate, key) = issued(&ca, "localhost");
    folder.write("cert.pem", &certificate);
    folder.write("key.pem", &key);
    let renewed = Material::load(&loaded, Some(material.tickets())).unwrap().unwrap();
    assert!(!renewed.same_certificate(&material));
    assert_eq!(connect(&client, worker(&renewed)).unwrap().0, HandshakeKind::Resumed);
    let restarted = Material::load(&loaded, None).unwrap().unwrap();
    assert_eq!(connect(&client, worker(&restarted)).unwrap().0, HandshakeKind::Full);
}

#[test]
fn clients_are_verified_as_the_settings_say_and_not_by_an_old_session() {
    let (folder, own) = with_pair();
    let (theirs, strangers) = (ca(), ca());
    folder.write("ca.pem", &theirs.pem());
    folder.write("other.pem", &strangers.pem());
    let tickets = crate::TicketSecret::new().unwrap();
    let server = |file: &str, reqs: u8| {
        let rules = if reqs == 0 { String::new() } else { format!("\nca_certs = \"@{file}\"\ncert_reqs = {reqs}") };
        let loaded = folder.configure(&format!("{PAIR}{rules}"));
        let material = Material::load(&loaded, Some(&tickets)).unwrap().unwrap();
        server_config(&loaded.settings, &material).unwrap()
    };
    let nobody = client(&own, None);
    let known = client(&own, Some(issued(&theirs, "client")));
    assert!(connect(&nobody, server("ca.pem", 1)).is_ok());
    assert!(connect(&nobody, server("ca.pem", 2)).is_err());
    assert_eq!(connect(&known, server("ca.pem", 2)).unwrap().0, HandshakeKind::Full);
    assert_eq!(connect(&known, server("ca.pem", 2)).unwrap().0, HandshakeKind::Resumed);
    // Now others are trusted: the session does not help.
    assert!(connect(&known, server("other.pem", 2)).is_err());
    assert!(connect(&client(&own, Some(issued(&strangers, "client"))), server("ca.pem", 1)).is_err());
    assert_eq!(connect(&known, server("", 0)).unwrap().0, HandshakeKind::Full);
}

#[test]
fn alpn_follows_the_order_of_http_protocols() {
    let (folder, ca) = with_pair();
    let server = |protocols: &str| {
        let loaded = folder.configure(&format!("{PAIR}\nhttp_protocols = \"{protocols}\""));
        server_config(&loaded.settings, &Material::load(&loaded, None).unwrap().unwrap()).unwrap()
    };
    let offering = |protocols: &[&str]| {
        let mut client = Arc::unwrap_or_clone(client(&ca, None));
        client.alpn_protocols = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
        Arc::new(client)
    };
    let chosen = |client: &[&str], protocols: &str| connect(&offering(client), server(protocols)).map(|(_, alpn)| alpn);
    assert_eq!(chosen(&["http/1.1", "h2"], "h2,h1"), Ok(Some(b"h2".to_vec())));
    assert_eq!(chosen(&["h2", "http/1.1"], "h1,h2"), Ok(Some(b"http/1.1".to_vec())));
    assert_eq!(chosen(&["http/1.1"], "h2,h1"), Ok(Some(b"http/1.1".to_vec())));
    assert_eq!(chosen(&[], "h2,h1"), Ok(None));
    assert!(chosen(&["h2"], "h1").is_err());
}

#[test]
fn ciphers_are_those_that_are_named() {
    let (folder, ca) = with_pair();
    let loaded = folder.configure(&format!("{PAIR}\nciphers = \"TLS_CHACHA20_POLY1305_SHA256\""));
    let server = server_config(&loaded.settings, &Material::load(&loaded, None).unwrap().unwrap()).unwrap();
    assert_eq!(server.crypto_provider().cipher_suites.len(), 1);
    assert!(connect(&client(&ca, None), server).is_ok());
}
