//! Tests of TLS over real sockets: what is negotiated, the same detection inside, and certificates that change.
//! Authorities and names are rustls' part and not tested again.

use rustls_pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::*;
use crate::http::Routes;
use crate::testing::{self, Pair, soon, text, until};

async fn connect(address: std::net::SocketAddr, ca: &Path, alpn: &[&[u8]]) -> TlsStream<TcpStream> {
    let mut config = rustls::ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(read_roots(ca).unwrap())
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    let stream = TcpStream::connect(address).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    soon(TlsConnector::from(Arc::new(config)).connect(name, stream)).await.unwrap()
}

fn open(server: Server) -> testing::Server {
    let mut routes = Routes::new();
    routes.get("/hello", text("world"));
    let tasks = Tasks::new();
    let sniffers = vec![testing::echo_sniffer(), testing::http_sniffer(routes, &tasks)];
    let mut door = testing::door(sniffers, &tasks);
    door.tls = Some(server);
    testing::open(door)
}

#[tokio::test]
async fn negotiates_hybrid_keys_and_tells_protocols_inside() {
    let pair = Pair::new();
    let server = open(Server::load(pair.files.clone()).unwrap());
    let mut stream = connect(server.address, &pair.files.certificate, &[b"http/1.1"]).await;
    stream.write_all(b"GET /hello HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
    let mut got = [0; 15];
    soon(stream.read_exact(&mut got)).await.unwrap();
    assert_eq!(&got, b"HTTP/1.1 200 OK");
    let state = server.connections.list().remove(0);
    let tls = state.tls.unwrap();
    assert_eq!((tls.version.as_str(), tls.key_exchange.as_str()), ("TLSv1_3", "X25519MLKEM768"));
    assert_eq!((tls.alpn.as_deref(), tls.server_name.as_deref()), (Some("http/1.1"), Some("localhost")));
    let mut echo = connect(server.address, &pair.files.certificate, &[]).await;
    echo.write_all(b"@ping").await.unwrap();
    let mut back = [0; 5];
    soon(echo.read_exact(&mut back)).await.unwrap();
    assert_eq!(&back, b"@ping");
    // The same port in clear.
    let clear = testing::raw(&server, b"GET /hello HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await;
    assert!(clear.ends_with("world"));
}

#[tokio::test]
async fn garbage_after_0x16_is_counted() {
    let pair = Pair::new();
    let server = open(Server::load(pair.files.clone()).unwrap());
    testing::raw(&server, b"\x16\x03\x01\x00\x02garbage").await;
    until(|| server.metrics().tls_failed.load(std::sync::atomic::Ordering::Relaxed) == 1).await;
}

#[tokio::test]
async fn uses_a_changed_pair_and_keeps_the_old_one_when_the_new_is_bad() {
    let pair = Pair::new();
    let tls = Server::load(pair.files.clone()).unwrap();
    let first = tls.current.pair.load().cert[0].to_vec();
    let tasks = Tasks::new();
    let every = Duration::from_millis(5);
    tls.watch_every(&tasks, every);
    let old = pair.ca("old.pem");
    // A key that is not the certificate's, then no key at all: the old pair stays.
    let good_key = std::fs::read(&pair.files.key).unwrap();
    let other = Pair::new();
    std::fs::copy(&other.files.key, &pair.files.key).unwrap();
    assert!(tls.reload().unwrap_err().detail().contains("not the key of"));
    std::fs::write(&pair.files.key, "nonsense").unwrap();
    assert_eq!(tls.reload().unwrap_err().code(), Code::BadConfiguration);
    std::fs::write(&pair.files.key, good_key).unwrap();
    let server = open(tls.clone());
    drop(connect(server.address, &old, &[]).await);
    let renewed = pair.renew();
    assert_ne!(first, renewed);
    until(|| tls.current.pair.load().cert[0].to_vec() == renewed).await;
    // The client trusts the new certificate only.
    drop(connect(server.address, &pair.files.certificate, &[]).await);
}

#[tokio::test]
async fn a_client_certificate_is_shown_and_a_foreign_one_refused() {
    let (pair, client) = (Pair::new(), Pair::new());
    let files = Files { client_ca: Some(client.files.certificate.clone()), ..pair.files.clone() };
    let server = open(Server::load(files).unwrap());
    for (shown, welcome) in [(&client, true), (&Pair::new(), false)] {
        let chain = read_certificates(&shown.files.certificate).unwrap();
        let key = PrivateKeyDer::from_pem_file(&shown.files.key).unwrap();
        let config = rustls::ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(read_roots(&pair.files.certificate).unwrap())
            .with_client_auth_cert(chain.clone(), key)
            .unwrap();
        let stream = TcpStream::connect(server.address).await.unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        let mut stream = soon(TlsConnector::from(Arc::new(config)).connect(name, stream)).await.unwrap();
        let mut back = [0; 2];
        let echoed = match stream.write_all(b"@x").await {
            Ok(()) => soon(stream.read_exact(&mut back)).await.is_ok(),
            Err(_) => false,
        };
        assert_eq!(echoed, welcome);
        if welcome {
            assert_eq!(server.connections.list()[0].tls.as_ref().unwrap().peer_certificates, chain);
        }
    }
}

#[test]
fn names_the_file_that_is_bad() {
    let pair = Pair::new();
    let fault = Server::load(Files { key: pair.directory.path().join("none.pem"), ..pair.files.clone() })
        .unwrap_err();
    assert!(fault.detail().contains("none.pem"), "{fault}");
    std::fs::write(&pair.files.certificate, "").unwrap();
    let fault = Server::load(pair.files.clone()).unwrap_err();
    assert!(fault.detail().contains("chain.pem") && fault.detail().contains("no certificate"), "{fault}");
}
