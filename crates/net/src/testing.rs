//! What the tests of several files share: a server on a free port of this machine, plain clients, certificates.
//! No test here sleeps to be right: they wait for a condition with a deadline.

use std::future::Future;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use message::Clock;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::http::{self, Call, Routes, handler};
use crate::listen::{Door, Listener, Sniff, Sniffer};
use crate::registry::{ConnInfo, Connections, Metrics};
use crate::tasks::Tasks;
use crate::tls;

pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) tasks: Tasks,
    pub(crate) connections: Connections,
}

impl Server {
    pub(crate) fn metrics(&self) -> &Metrics {
        self.connections.metrics()
    }

    pub(crate) async fn plain(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }
}

pub(crate) async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(10), future).await.expect("within 10 s")
}

/// Waits until `holds`.
pub(crate) async fn until(holds: impl Fn() -> bool) {
    soon(async {
        while !holds() {
            tokio::task::yield_now().await;
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    })
    .await;
}

pub(crate) fn http_sniffer(routes: Routes, tasks: &Tasks) -> Sniffer {
    let (routes, settings, tasks) = (Arc::new(routes), Arc::new(http::Settings::default()), tasks.clone());
    Sniffer {
        name: "http",
        sniff: http::sniff,
        serve: Arc::new(move |conn| {
            Box::pin(http::serve(conn, Arc::clone(&routes), Arc::clone(&settings), tasks.clone()))
        }),
    }
}

/// A protocol that starts with `@` and sends back what it gets.
pub(crate) fn echo_sniffer() -> Sniffer {
    Sniffer {
        name: "echo",
        sniff: |bytes| match bytes.first() {
            None => Sniff::More,
            Some(b'@') => Sniff::Yes,
            Some(_) => Sniff::No,
        },
        serve: Arc::new(|mut conn| {
            Box::pin(async move {
                let mut buffer = vec![0; 4096];
                while let Ok(read) = conn.read(&mut buffer).await {
                    if read == 0 || conn.write_all(&buffer[..read]).await.is_err() {
                        return;
                    }
                }
            })
        }),
    }
}

pub(crate) fn door(sniffers: Vec<Sniffer>, tasks: &Tasks) -> Door {
    Door {
        sniffers,
        tls: None,
        first_bytes: Duration::from_secs(5),
        connections: Connections::new(100, Clock::system(), Arc::default()),
        tasks: tasks.clone(),
    }
}

pub(crate) fn open(door: Door) -> Server {
    let listener = Listener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let server = Server {
        address: listener.local(),
        tasks: door.tasks.clone(),
        connections: door.connections.clone(),
    };
    listener.serve(door);
    server
}

pub(crate) fn serve(routes: Routes) -> Server {
    let tasks = Tasks::new();
    open(door(vec![echo_sniffer(), http_sniffer(routes, &tasks)], &tasks))
}

pub(crate) fn text(words: &'static str) -> http::Handler {
    handler(move |_: Call| async move { http::respond(http::StatusCode::OK, "text/plain", words) })
}

/// Sends `request` and reads until the peer closes.
pub(crate) async fn raw(server: &Server, request: &[u8]) -> String {
    let mut stream = server.plain().await;
    stream.write_all(request).await.unwrap();
    let mut answer = Vec::new();
    soon(stream.read_to_end(&mut answer)).await.unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

pub(crate) fn no_conn() -> Arc<ConnInfo> {
    let nobody = "127.0.0.1:1".parse().unwrap();
    Arc::new(ConnInfo::outgoing(nobody, nobody, Clock::system().now()))
}

/// A certificate for `localhost` and 127.0.0.1, its key, and the files that hold them.
pub(crate) struct Pair {
    pub(crate) files: tls::Files,
    pub(crate) directory: tempfile::TempDir,
}

impl Pair {
    pub(crate) fn new() -> Pair {
        let directory = tempfile::tempdir().unwrap();
        let files = tls::Files {
            certificate: directory.path().join("chain.pem"),
            key: directory.path().join("key.pem"),
            client_ca: None,
        };
        let pair = Pair { files, directory };
        pair.renew();
        pair
    }

    /// Replaces both files and returns the certificate.
    pub(crate) fn renew(&self) -> Vec<u8> {
        let made =
            rcgen::generate_simple_self_signed(["localhost".to_owned(), "127.0.0.1".to_owned()]).unwrap();
        std::fs::write(&self.files.key, made.signing_key.serialize_pem()).unwrap();
        std::fs::write(&self.files.certificate, made.cert.pem()).unwrap();
        made.cert.der().to_vec()
    }

    /// A copy of the certificate that stays when the pair is renewed.
    pub(crate) fn ca(&self, name: &str) -> PathBuf {
        let path = self.directory.path().join(name);
        std::fs::copy(&self.files.certificate, &path).unwrap();
        path
    }
}
