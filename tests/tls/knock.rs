//! Knocking at a port: a TLS handshake by hand, and whether the one who knocks is let in.
//!
//! In TLS 1.3 a client has shaken hands before the server has judged its certificate, so being let in is more than that: the
//! server speaks HTTP/2 first, and only to those who are in.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use crate::authority::Files;
use crate::program::PATIENCE;

/// What an HTTP/2 client says first.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00";

/// Somebody who knocks.
pub struct Visitor<'v> {
    pub trusts: &'v Path,
    pub shows: Option<&'v Files>,
    pub versions: &'static [&'static rustls::SupportedProtocolVersion],
    pub suites: Vec<rustls::SupportedCipherSuite>,
}

/// What a visitor has seen who was let in.
#[derive(Debug)]
pub struct Seen {
    pub certificate: Vec<u8>,
    pub suite: rustls::CipherSuite,
}

impl<'v> Visitor<'v> {
    /// One who trusts the authority in this file, and shows nothing.
    pub fn who_trusts(trusts: &'v Path) -> Visitor<'v> {
        let suites = rustls::crypto::ring::default_provider().cipher_suites;
        Visitor { trusts, shows: None, versions: rustls::ALL_VERSIONS, suites }
    }

    /// The same one with something to show.
    pub fn showing(self, files: &'v Files) -> Visitor<'v> {
        Visitor { shows: Some(files), ..self }
    }

    /// Knocks at a port of this host; what was seen, or why the door stayed shut.
    pub fn knock(&self, port: u16) -> Result<Seen, String> {
        self.knock_for(port, "127.0.0.1")
    }

    /// As [`Visitor::knock`], asking for a host of this name.
    pub fn knock_for(&self, port: u16, host: &str) -> Result<Seen, String> {
        let mut stream = self.shake(port, host)?;
        let mut first = [0; 9];
        stream.write_all(PREFACE).and_then(|()| stream.flush()).map_err(|error| error.to_string())?;
        stream.read_exact(&mut first).map_err(|error| error.to_string())?;
        assert_eq!(first[3], 4, "an HTTP/2 server begins with its settings: {first:?}");
        let certificate = stream.conn.peer_certificates().unwrap()[0].to_vec();
        Ok(Seen { certificate, suite: stream.conn.negotiated_cipher_suite().unwrap().suite() })
    }

    fn shake(&self, port: u16, host: &str) -> Result<StreamOwned<ClientConnection, TcpStream>, String> {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(certificates(self.trusts));
        let mut provider = rustls::crypto::ring::default_provider();
        provider.cipher_suites.clone_from(&self.suites);
        let builder = ClientConfig::builder_with_provider(Arc::new(provider))
            .with_protocol_versions(self.versions)
            .unwrap()
            .with_root_certificates(roots);
        let mut config = match self.shows {
            None => builder.with_no_client_auth(),
            Some(files) => {
                let key = PrivateKeyDer::from_pem_slice(&fs::read(&files.key).unwrap()).unwrap();
                builder.with_client_auth_cert(certificates(&files.cert), key).unwrap()
            }
        };
        config.alpn_protocols = vec![b"h2".to_vec()];
        let name = ServerName::try_from(host.to_owned()).unwrap();
        let connection = ClientConnection::new(Arc::new(config), name).unwrap();
        let tcp = TcpStream::connect(("127.0.0.1", port)).unwrap();
        tcp.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut stream = StreamOwned::new(connection, tcp);
        while stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock).map_err(|error| error.to_string())?;
        }
        Ok(stream)
    }
}

/// All certificates of a file.
pub fn certificates(file: &Path) -> Vec<CertificateDer<'static>> {
    let text = fs::read(file).unwrap();
    CertificateDer::pem_slice_iter(&text).collect::<Result<_, _>>().unwrap()
}
