//! TLS 1.3 with certificates on both sides, and the files with them.

use std::{fs, io, path::PathBuf, sync::Arc};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use tokio_rustls::{
    TlsAcceptor, TlsConnector,
    rustls::{
        ClientConfig, RootCertStore, ServerConfig,
        client::Resumption,
        crypto::{CryptoProvider, aws_lc_rs},
        pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject as _},
        server::{NoServerSessionStorage, WebPkiClientVerifier},
        version::TLS13,
    },
};

use crate::peer::Peer;

/// The folder in which one run keeps its keys and certificates.
#[derive(Clone)]
pub(crate) struct Files(pub(crate) PathBuf);

impl Files {
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Makes an authority and a certificate for either side, `server.pem` and `client.pem` with their keys.
    pub(crate) fn create(&self) -> io::Result<()> {
        let mut params = CertificateParams::new(Vec::new()).map_err(io::Error::other)?;
        params.distinguished_name.push(DnType::CommonName, "authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().map_err(io::Error::other)?;
        let root = params.self_signed(&key).map_err(io::Error::other)?;
        fs::write(self.path("ca.pem"), root.pem())?;
        let issuer = Issuer::new(params, key);
        for side in ["server", "client"] {
            let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
            let mut params = CertificateParams::new(names).map_err(io::Error::other)?;
            // A name of its own, or OpenSSL takes it for self-signed.
            params.distinguished_name.push(DnType::CommonName, side);
            let key = KeyPair::generate().map_err(io::Error::other)?;
            let cert = params.signed_by(&key, &issuer).map_err(io::Error::other)?;
            fs::write(self.path(&format!("{side}.pem")), cert.pem())?;
            fs::write(self.path(&format!("{side}.key")), key.serialize_pem())?;
        }
        super::noise::Keys::create(self)
    }

    fn roots(&self) -> io::Result<Arc<RootCertStore>> {
        let mut roots = RootCertStore::empty();
        let root = CertificateDer::from_pem_file(self.path("ca.pem")).map_err(io::Error::other)?;
        roots.add(root).map_err(io::Error::other)?;
        Ok(Arc::new(roots))
    }

    fn own(
        &self,
        side: &str,
    ) -> io::Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)> {
        let cert = CertificateDer::from_pem_file(self.path(&format!("{side}.pem")));
        let key = PrivateKeyDer::from_pem_file(self.path(&format!("{side}.key")));
        Ok((vec![cert.map_err(io::Error::other)?], key.map_err(io::Error::other)?))
    }
}

/// AWS-LC, the fastest of rustls, with one cipher suite.
fn provider(peer: Peer) -> Arc<CryptoProvider> {
    let suite = match peer {
        Peer::TlsChacha => aws_lc_rs::cipher_suite::TLS13_CHACHA20_POLY1305_SHA256,
        _ => aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256,
    };
    // X25519 alone, as Noise has it: the hybrid with ML-KEM costs more and protects more.
    let kx_groups = vec![aws_lc_rs::kx_group::X25519];
    let cipher_suites = vec![suite];
    Arc::new(CryptoProvider { cipher_suites, kx_groups, ..aws_lc_rs::default_provider() })
}

pub(super) fn acceptor(files: &Files, peer: Peer) -> io::Result<TlsAcceptor> {
    let provider = provider(peer);
    let clients = WebPkiClientVerifier::builder_with_provider(files.roots()?, provider.clone());
    let (cert, key) = files.own("server")?;
    let config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13])
        .map_err(io::Error::other)?
        .with_client_cert_verifier(clients.build().map_err(io::Error::other)?)
        .with_single_cert(cert, key);
    let mut config = config.map_err(io::Error::other)?;
    // No tickets: every connection proves anew who it is, and none keeps memory for the next one.
    config.send_tls13_tickets = 0;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// How clients connect; those of brokers, too.
pub(crate) fn connector(files: &Files, peer: Peer) -> io::Result<TlsConnector> {
    let (cert, key) = files.own("client")?;
    let config = ClientConfig::builder_with_provider(provider(peer))
        .with_protocol_versions(&[&TLS13])
        .map_err(io::Error::other)?
        .with_root_certificates(files.roots()?)
        .with_client_auth_cert(cert, key);
    let mut config = config.map_err(io::Error::other)?;
    config.resumption = Resumption::disabled();
    Ok(TlsConnector::from(Arc::new(config)))
}

/// Whom the server's certificate names.
pub(crate) fn name() -> io::Result<ServerName<'static>> {
    ServerName::try_from("localhost").map_err(io::Error::other)
}
