//! TLS on both sides: rustls with aws-lc-rs, hybrid post-quantum key exchange first, certificates that reload when their
//! files change. It makes no certificates and asks no authority for any.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use message::{Code, Fault};
use rustls::crypto::CryptoProvider;
use rustls::server::{ClientHello, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::files;
use crate::tasks::Tasks;

/// How often the files are looked at. Polling works on every file system and through renames and symlinks.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// The largest file of certificates or keys: a bundle of all public authorities has a quarter of it.
const PEM_BYTES_MAX: u64 = 1 << 20;

/// TLS on the listening side.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Files {
    /// The certificate chain in PEM, leaf first. Reloaded when the file changes; while the new pair does not load
    /// or key and certificate do not belong together, the old one stays in use. No default: required for TLS.
    pub certificate: PathBuf,
    /// The private key in PEM (PKCS#8, PKCS#1 or SEC1). No default: required for TLS.
    pub key: PathBuf,
    /// The authorities in PEM whose client certificates are accepted. A client need not show one, but a wrong one is
    /// refused. Read at the start only. Default none: clients are not asked.
    pub client_ca: Option<PathBuf>,
}

/// What a handshake settled.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsInfo {
    /// Such as `TLSv1_3`.
    pub version: String,
    /// Such as `TLS13_AES_256_GCM_SHA384`.
    pub cipher: String,
    /// Such as `X25519MLKEM768`.
    pub key_exchange: String,
    /// The application protocol chosen by ALPN, such as `h2`.
    pub alpn: Option<String>,
    /// The server name that the client asked for.
    pub server_name: Option<String>,
    /// The peer's certificate chain in DER, leaf first; empty when it showed none.
    pub peer_certificates: Vec<CertificateDer<'static>>,
}

/// The listening side's TLS: a configuration whose certificate can be exchanged under it. Cloning shares it.
#[derive(Clone, Debug)]
pub struct Server {
    pub(crate) config: Arc<rustls::ServerConfig>,
    current: Arc<Current>,
}

#[derive(Debug)]
struct Current {
    files: Files,
    loaded: Fingerprint,
    pair: ArcSwap<CertifiedKey>,
}

impl ResolvesServerCert for Current {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.pair.load_full())
    }
}

/// The one provider of the program. Its first key exchange is X25519MLKEM768.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

fn bad(path: &Path, why: impl std::fmt::Display) -> Fault {
    Fault::new(Code::BadConfiguration, format!("{}: {why}", path.display()))
}

impl Server {
    /// Reads the files.
    ///
    /// # Errors
    /// `BadConfiguration` with the file's name when one cannot be read or the key is not the certificate's.
    pub fn load(files: Files) -> Result<Server, Fault> {
        let provider = provider();
        // Before the files are read: a change in between is then seen by the watch.
        let loaded = fingerprint(&files);
        let pair = load_pair(&files, &provider)?;
        let builder = rustls::ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(|error| Fault::new(Code::Internal, error.to_string()))?;
        let builder = match &files.client_ca {
            None => builder.with_no_client_auth(),
            Some(path) => {
                let roots = Arc::new(read_roots(path)?);
                let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider)
                    .allow_unauthenticated()
                    .build()
                    .map_err(|error| bad(path, error))?;
                builder.with_client_cert_verifier(verifier)
            }
        };
        let current = Arc::new(Current { files, loaded, pair: ArcSwap::from_pointee(pair) });
        let mut config = builder.with_cert_resolver(Arc::clone(&current) as Arc<dyn ResolvesServerCert>);
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec(), b"mqtt".to_vec()];
        Ok(Server { config: Arc::new(config), current })
    }

    /// Reads the files again and uses them from the next handshake on.
    ///
    /// # Errors
    /// As `load`; then the old pair stays in use.
    pub fn reload(&self) -> Result<(), Fault> {
        let pair = load_pair(&self.current.files, &provider())?;
        self.current.pair.store(Arc::new(pair));
        Ok(())
    }

    /// Looks at the files every two seconds, as background work, and reloads them when their bytes have changed.
    pub fn watch(&self, tasks: &Tasks) {
        self.watch_every(tasks, LOOK_EVERY);
    }

    pub(crate) fn watch_every(&self, tasks: &Tasks, every: Duration) {
        let server = self.clone();
        tasks.background("tls-watch", async move {
            let mut seen = server.current.loaded;
            loop {
                tokio::time::sleep(every).await;
                let files = server.current.files.clone();
                let Ok(now) = tokio::task::spawn_blocking(move || fingerprint(&files)).await else { continue };
                if now == seen {
                    continue;
                }
                seen = now;
                let certificate = server.current.files.certificate.display();
                match server.reload() {
                    Ok(()) => tracing::info!(%certificate, "certificate reloaded"),
                    Err(fault) => {
                        tracing::error!(%certificate, %fault, "certificate not reloaded, the old one stays in use");
                    }
                }
            }
        });
    }
}

/// The bytes of certificate and key, hashed: a time stamp alone misses two writes in one tick. None: not readable.
type Fingerprint = (Option<u64>, Option<u64>);

fn fingerprint(files: &Files) -> Fingerprint {
    use std::hash::{Hash, Hasher};
    let of = |path: &Path| {
        let bytes = files::read(path, PEM_BYTES_MAX).ok()?;
        let mut hasher = std::hash::DefaultHasher::new();
        bytes.hash(&mut hasher);
        Some(hasher.finish())
    };
    (of(&files.certificate), of(&files.key))
}

fn load_pair(files: &Files, provider: &CryptoProvider) -> Result<CertifiedKey, Fault> {
    let chain = read_certificates(&files.certificate)?;
    let key = read_pem(&files.key)?;
    let key = PrivateKeyDer::from_pem_slice(&key).map_err(|error| bad(&files.key, error))?;
    let key = provider.key_provider.load_private_key(key).map_err(|error| bad(&files.key, error))?;
    let pair = CertifiedKey::new(chain, key);
    pair.keys_match().map_err(|error| {
        bad(&files.key, format!("not the key of {}: {error}", files.certificate.display()))
    })?;
    Ok(pair)
}

fn read_pem(path: &Path) -> Result<Vec<u8>, Fault> {
    files::read(path, PEM_BYTES_MAX).map_err(|error| bad(path, error))
}

fn read_certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, Fault> {
    let bytes = read_pem(path)?;
    let chain = CertificateDer::pem_slice_iter(&bytes).collect::<Result<Vec<_>, _>>();
    let chain = chain.map_err(|error| bad(path, error))?;
    if chain.is_empty() { Err(bad(path, "no certificate in it")) } else { Ok(chain) }
}

pub(crate) fn read_roots(path: &Path) -> Result<rustls::RootCertStore, Fault> {
    let mut roots = rustls::RootCertStore::empty();
    for certificate in read_certificates(path)? {
        roots.add(certificate).map_err(|error| bad(path, error))?;
    }
    Ok(roots)
}

/// What the calling side trusts: the machine's roots and, if given, the authorities in `extra`.
/// Reading the machine's roots takes some milliseconds, so this is done at the first TLS connection.
pub(crate) fn client_config(extra: Option<&Path>, alpn: &[&[u8]]) -> Result<rustls::ClientConfig, Fault> {
    let mut roots = match extra {
        Some(path) => read_roots(path)?,
        None => rustls::RootCertStore::empty(),
    };
    let native = rustls_native_certs::load_native_certs();
    for error in &native.errors {
        tracing::warn!(%error, "a root certificate of this machine cannot be read");
    }
    roots.add_parsable_certificates(native.certs);
    let mut config = rustls::ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(|error| Fault::new(Code::Internal, error.to_string()))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    Ok(config)
}

pub(crate) fn describe(common: &rustls::CommonState, server_name: Option<&str>) -> TlsInfo {
    TlsInfo {
        version: common.protocol_version().map(|version| format!("{version:?}")).unwrap_or_default(),
        cipher: common
            .negotiated_cipher_suite()
            .map(|suite| format!("{:?}", suite.suite()))
            .unwrap_or_default(),
        key_exchange: common
            .negotiated_key_exchange_group()
            .map(|group| format!("{:?}", group.name()))
            .unwrap_or_default(),
        alpn: common.alpn_protocol().map(|name| String::from_utf8_lossy(name).into_owned()),
        server_name: server_name.map(str::to_owned),
        peer_certificates: common
            .peer_certificates()
            .map(|chain| chain.iter().map(|certificate| certificate.clone().into_owned()).collect())
            .unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests;
