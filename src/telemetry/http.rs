//! The HTTP server: `/metrics` for Prometheus, `/healthz` and `/readyz` for whoever looks after the process.
//!
//! | path | answers |
//! |---|---|
//! | `/metrics` | 200 and all metrics as text |
//! | `/healthz` | 200 while the loop goes round; 503 once it has stood still for a minute |
//! | `/readyz` | 200 once partitions are assigned and restored; 503 before, and while there are none |

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::http::{StatusCode, header};
use axum::routing::get;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::metrics::Metrics;
use super::{Health, STALLED};

/// What `/metrics` answers in.
const EXPOSITION: &str = "text/plain; version=0.0.4";

/// Time between two upkeeps of the histograms.
const UPKEEP: Duration = Duration::from_secs(5);

/// Longest time that a shutdown waits for requests under way.
const GRACE: Duration = Duration::from_secs(1);

/// Why the server can't start.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// The address can't be taken.
    #[error("cannot listen at {address}: {source}; set another address at `listen` in [http], port 0 for any free one")]
    Listen {
        /// The address asked for.
        address: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
}

/// A server at work on the runtime that started it.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Server {
    /// Listens at `listen` and answers from then on.
    pub async fn start(listen: SocketAddr, metrics: Metrics, health: Health) -> Result<Self, HttpError> {
        let failed = |source| HttpError::Listen { address: listen, source };
        let listener = TcpListener::bind(listen).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let (stop, stopped) = oneshot::channel::<()>();
        let task = tokio::spawn(async move {
            let server = axum::serve(listener, router(metrics.clone(), health)).with_graceful_shutdown(async {
                // Dropping the server stops it, too.
                let _ = stopped.await;
            });
            let mut server = std::pin::pin!(server.into_future());
            let mut upkeep = tokio::time::interval(UPKEEP);
            loop {
                tokio::select! {
                    // axum serves until it is told to stop; connections that fail are its own business.
                    _ = &mut server => return,
                    _ = upkeep.tick() => metrics.upkeep(),
                }
            }
        });
        Ok(Self { address, stop, task })
    }

    /// Where it listens: the port is a real one even if 0 was asked for.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Takes no more requests, and waits a moment for those under way.
    pub async fn stop(mut self) {
        // The receiver is gone only if the task has ended already.
        let _ = self.stop.send(());
        if tokio::time::timeout(GRACE, &mut self.task).await.is_err() {
            self.task.abort();
        }
    }
}

fn router(metrics: Metrics, health: Health) -> Router {
    let alive = health.clone();
    Router::new()
        .route("/metrics", get(async move || ([(header::CONTENT_TYPE, EXPOSITION)], metrics.render())))
        .route("/healthz", get(async move || healthz(&alive)))
        .route("/readyz", get(async move || readyz(&health)))
}

fn healthz(health: &Health) -> (StatusCode, String) {
    if health.is_alive() {
        return (StatusCode::OK, "alive\n".into());
    }
    let (idle, limit) = (health.idle().as_secs(), STALLED.as_secs());
    (StatusCode::SERVICE_UNAVAILABLE, format!("the loop has stood still for {idle} s (limit: {limit} s)\n"))
}

fn readyz(health: &Health) -> (StatusCode, &'static str) {
    match health.is_ready() {
        true => (StatusCode::OK, "ready\n"),
        false => (StatusCode::SERVICE_UNAVAILABLE, "no partition is assigned and restored yet\n"),
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpStream;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;
    use crate::telemetry::events::TransactionAborted;

    const FREE: SocketAddr = SocketAddr::V4(std::net::SocketAddrV4::new(std::net::Ipv4Addr::LOCALHOST, 0));

    /// Health by a clock that the test sets, in seconds.
    fn health() -> (Health, Arc<AtomicU64>) {
        let clock = Arc::new(AtomicU64::new(1000));
        let hand = clock.clone();
        (Health::new(move || Duration::from_secs(hand.load(Ordering::SeqCst))), clock)
    }

    /// The answer's status, head and body.
    fn request(address: SocketAddr, method: &str, path: &str) -> (u16, String, String) {
        let mut stream = TcpStream::connect(address).expect("the server listens");
        write!(stream, "{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").expect("it reads");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("it answers");
        let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
        (head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status"), head.to_lowercase(), body.to_owned())
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn health_and_readiness_follow_the_loop() {
        let (health, clock) = health();
        let server = Server::start(FREE, Metrics::of(|| ()), health.clone()).await.expect("a free port");
        let get = |path| request(server.address(), "GET", path);
        assert_ne!(server.address().port(), 0);

        assert_eq!((get("/healthz").0, get("/readyz").0), (200, 503));
        health.set_ready(true);
        assert_eq!(get("/readyz").0, 200);

        clock.store(1059, Ordering::SeqCst);
        assert_eq!(get("/healthz").0, 200);
        clock.store(1060, Ordering::SeqCst);
        let (status, _, body) = get("/healthz");
        assert_eq!((status, body.as_str()), (503, "the loop has stood still for 60 s (limit: 60 s)\n"));
        health.progress();
        assert_eq!(get("/healthz").0, 200);

        health.set_ready(false);
        assert_eq!(get("/readyz").0, 503);
        server.stop().await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn metrics_are_served_as_they_stand() {
        let metrics = Metrics::of(|| TransactionAborted { reason: "a test" }.emit());
        let server = Server::start(FREE, metrics.clone(), health().0).await.expect("a free port");
        let (status, head, body) = request(server.address(), "GET", "/metrics");
        assert_eq!(status, 200);
        assert!(head.contains("\r\ncontent-type: text/plain; version=0.0.4"), "{head}");
        assert!(body.contains("\nsurprisal_transaction_aborts_total 1\n"), "{body}");
        for metric in crate::telemetry::metrics::ALL {
            assert!(body.contains(&format!("# TYPE {} {}\n", metric.name, metric.kind.name())), "{}", metric.name);
        }
        assert_eq!(request(server.address(), "GET", "/elsewhere").0, 404);
        assert_eq!(request(server.address(), "POST", "/metrics").0, 405);
        server.stop().await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn a_silent_client_does_not_hold_up_the_shutdown() {
        let server = Server::start(FREE, Metrics::of(|| ()), health().0).await.expect("a free port");
        let address = server.address();
        let mut silent = TcpStream::connect(address).expect("the server listens");
        write!(silent, "GET /metrics HTTP/1.1\r\nHo").expect("it reads");
        // A second, whole request tells that the first connection has been accepted before.
        assert_eq!(request(address, "GET", "/healthz").0, 200);
        tokio::time::timeout(10 * GRACE, server.stop()).await.expect("it stops by itself");
        let error = TcpStream::connect(address).expect_err("nobody listens any more");
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn an_address_in_use_is_named() {
        let taken = std::net::TcpListener::bind(FREE).and_then(|listener| Ok((listener.local_addr()?, listener)));
        let (address, _listener) = taken.expect("a free port");
        let error = Server::start(address, Metrics::of(|| ()), Health::default()).await.expect_err("it is taken");
        assert!(error.to_string().starts_with(&format!("cannot listen at {address}: ")), "{error}");
    }
}
