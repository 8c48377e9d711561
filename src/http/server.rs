//! The server: its threads, its limits, and how it stops.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::rc::Rc;
use std::sync::{Arc, mpsc};
use std::task::{Context, Poll};
use std::thread::JoinHandle;
use std::time::Duration;

use actix_http::{HttpService, Request};
use actix_server::{GracefulShutdownSignal, ServerHandle};
use actix_service::{
    IntoServiceFactory as _, Service, ServiceFactory, ServiceFactoryExt as _, fn_factory, fn_service, map_config,
};
use actix_web::dev::AppConfig;
use actix_web::rt::System;
use actix_web::{App, HttpRequest, HttpResponse, web};
use futures_util::future::{LocalBoxFuture, ready};
use tokio::io::BufReader;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use super::body::Body;
use super::codes::Department;
use super::door::Door;
use super::observe::Observer;
use super::wire::Wire;
use crate::clock::Clock;
use crate::identity::Verifier;
use crate::pipeline::{Acceptor, Desk, Refusal};

/// Threads per reactor that may wait for a disk. Hashing fills a core with one of them; the others
/// wait for flushes, which they share. With one for each upload a crowd of phones costs a half more.
const BLOCKING_THREADS: usize = 4;
/// Received and not yet decrypted: two TLS records.
const RECEIVE_BYTES: usize = 32 * 1024;

/// What one client, or all together, may cost.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Whole body of one request. The default: a hundred files of the largest size, and their claim.
    pub body_max_bytes: u64,
    /// Parts of one upload: a claim and a hundred files.
    pub parts_max: usize,
    /// Uploads at a time; further ones are asked to come back. Each may hold a photo in memory.
    pub uploads_max: usize,
    /// Streams of events at a time: each holds a connection and reads a row twice a second.
    pub streams_max: usize,
    /// Reactor threads. They only move bytes: two keep a gigabit busy.
    pub workers: usize,
    /// Connections per worker; a further one waits. An idle one costs about 30 kB.
    pub connections_max: usize,
    /// A TLS handshake takes a few round trips.
    pub handshake_ms: u64,
    /// A request head.
    pub head_ms: u64,
    /// Between two requests.
    pub keep_alive_ms: u64,
    /// What a body may keep us waiting before it has earned anything …
    pub body_grace_ms: u64,
    /// … at most at once (a body that stalls is cut within 30 s) …
    pub body_stall_ms: u64,
    /// … and the rate that earns a second for a second.
    pub body_rate_bytes_s: u32,
    /// A client that does not read its answer.
    pub write_stall_ms: u64,
    /// How long a body is thrown away behind its answer, so that the answer can be read.
    pub discard_ms: u64,
    /// What is in flight when the server stops gets so long to end (30 s in all).
    pub stop_ms: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body_max_bytes: 100 * (4 << 30) + (1 << 20),
            parts_max: 101,
            uploads_max: 64,
            streams_max: 64,
            workers: 2,
            connections_max: 512,
            handshake_ms: 5_000,
            head_ms: 30_000,
            keep_alive_ms: 75_000,
            body_grace_ms: 10_000,
            body_stall_ms: 25_000,
            body_rate_bytes_s: 1_000,
            write_stall_ms: 30_000,
            discard_ms: 30_000,
            stop_ms: 25_000,
        }
    }
}

/// How the door is opened.
pub struct Options {
    /// Certificate, versions, suites. The protocol is ours: ALPN offers HTTP/1.1 alone, because the
    /// HTTP/2 that this server could speak has open advisories.
    pub tls: Arc<rustls::ServerConfig>,
    pub limits: Limits,
}

/// Whom the door brings a request to.
pub struct Services {
    pub acceptor: Arc<dyn Acceptor>,
    pub desk: Arc<dyn Desk>,
    pub verifier: Arc<Verifier>,
    pub clock: Clock,
    pub observer: Arc<dyn Observer>,
    pub departments: Vec<Department>,
    /// The pages, where there are any.
    pub pages: Option<Arc<dyn Pages>>,
}

/// The pages for people, behind the same door.
pub trait Pages: Send + Sync {
    /// The methods of a path, as `Allow` lists them; `None` where it is no page.
    fn methods(&self, path: &str) -> Option<&'static str>;

    /// Answers a request for a page by one of its methods.
    fn answer<'a>(&'a self, request: &'a HttpRequest, body: &'a mut Body) -> LocalBoxFuture<'a, Result<HttpResponse, Refusal>>;

    /// A refusal as a page: where one cannot be answered by the page itself.
    fn explain(&self, refusal: &Refusal, request_id: &str) -> HttpResponse;
}

/// A running server.
pub struct Server {
    local_addr: SocketAddr,
    handle: ServerHandle,
    thread: JoinHandle<io::Result<()>>,
}

impl Server {
    /// Serves on `listener` until [`Server::stop`], from threads of its own.
    ///
    /// # Errors
    /// The listener or the threads could not be set up.
    pub fn start(listener: TcpListener, options: Options, services: Arc<Services>) -> io::Result<Self> {
        let local_addr = listener.local_addr()?;
        let Options { tls, limits } = options;
        let mut tls = Arc::unwrap_or_clone(tls);
        tls.alpn_protocols = vec![b"http/1.1".to_vec()];
        let tls = TlsAcceptor::from(Arc::new(tls));
        let (tell, told) = mpsc::channel();
        let thread = std::thread::Builder::new().name("https".to_owned()).spawn(move || {
            System::new().block_on(async move {
                let server = build(listener, tls, limits, services)?;
                // The other side waits for this; where it is gone nobody can stop us.
                tell.send(server.handle()).map_err(|_| io::ErrorKind::BrokenPipe)?;
                server.await
            })
        })?;
        match told.recv() {
            Ok(handle) => Ok(Self { local_addr, handle, thread }),
            Err(_) => Err(match thread.join() {
                Ok(Err(e)) => e,
                _ => io::Error::other("the HTTPS threads ended at once"),
            }),
        }
    }

    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// Accepts nothing new, lets what is in flight end, and returns when all threads have.
    ///
    /// # Errors
    /// What the server ended with.
    pub fn stop(self) -> io::Result<()> {
        // The command is sent by the call itself; the future only waits for the echo.
        drop(self.handle.stop(true));
        self.thread.join().unwrap_or_else(|_| Err(io::Error::other("the HTTPS thread panicked")))
    }
}

fn build(listener: TcpListener, tls: TlsAcceptor, limits: Limits, services: Arc<Services>) -> io::Result<actix_server::Server> {
    let builder = actix_server::Server::build();
    let stopping = builder.graceful_shutdown_signal();
    let door = Arc::new(Door::new(services, limits, stopping.clone()));
    let builder = builder
        .workers(limits.workers.max(1))
        .max_concurrent_connections(limits.connections_max)
        .worker_max_blocking_threads(BLOCKING_THREADS)
        .shutdown_timeout(limits.stop_ms.div_ceil(1000))
        .disable_signals()
        .listen("https", listener, move || connections(&door, tls.clone(), limits, stopping.clone()))?;
    Ok(builder.run())
}

/// What each worker does with a connection: TLS, then HTTP/1.1, then an ending in order.
fn connections(
    door: &Arc<Door>,
    tls: TlsAcceptor,
    limits: Limits,
    stopping: GracefulShutdownSignal,
) -> impl ServiceFactory<TcpStream, Config = (), Response = (), Error = (), InitError = ()> + use<> {
    let (by_head, by_body) = (Arc::clone(door), Arc::clone(door));
    let app = App::new().default_service(web::to(move |request: HttpRequest, payload: web::Payload| {
        Arc::clone(&by_body).answer(request, payload)
    }));
    let app = app.into_factory().map_err(|e: actix_web::Error| e.error_response());
    let http = HttpService::build()
        .keep_alive(Duration::from_millis(limits.keep_alive_ms))
        .client_request_timeout(Duration::from_millis(limits.head_ms))
        // Zero: no discarding by actix, which half-closes last; see wire.rs.
        .client_disconnect_timeout(Duration::ZERO)
        .graceful_shutdown_signal(move || {
            let stopping = stopping.clone();
            async move { stopping.notified().await }
        })
        .on_connect_ext(|wire: &Wire, data| {
            data.insert(wire.pace());
        })
        .expect(fn_service(move |request: Request| ready(by_head.expect(request))))
        .h1(map_config(app, |()| AppConfig::default()));
    let http = Rc::new(http);
    fn_factory(move || {
        let (http, tls) = (Rc::clone(&http), tls.clone());
        async move { Ok::<_, ()>(Connections { http: Rc::new(http.new_service(()).await?), tls, limits }) }
    })
}

struct Connections<H> {
    http: Rc<H>,
    tls: TlsAcceptor,
    limits: Limits,
}

impl<H> Service<TcpStream> for Connections<H>
where
    H: Service<(Wire, Option<SocketAddr>), Response = ()> + 'static,
{
    type Response = ();
    type Error = ();
    type Future = LocalBoxFuture<'static, Result<(), ()>>;

    fn poll_ready(&self, cx: &mut Context<'_>) -> Poll<Result<(), ()>> {
        self.http.poll_ready(cx).map_err(drop)
    }

    fn call(&self, tcp: TcpStream) -> Self::Future {
        let (http, tls, limits) = (Rc::clone(&self.http), self.tls.clone(), self.limits);
        Box::pin(async move {
            let peer = tcp.peer_addr().ok();
            // An answer is one small write; it must not wait for another.
            drop(tcp.set_nodelay(true));
            // The TLS library reads a record in two pieces; a photo would cost 400 system calls.
            let tcp = BufReader::with_capacity(RECEIVE_BYTES, tcp);
            let handshake = timeout(Duration::from_millis(limits.handshake_ms), tls.accept(tcp));
            let Ok(Ok(stream)) = handshake.await else { return Ok(()) };
            let (wire, ending) = Wire::new(stream, &limits);
            // What ends a conversation early (a reset, a timeout, no HTTP at all) is the client's
            // affair; every answer was told to the observer.
            drop(http.call((wire, peer)).await);
            ending.linger().await;
            Ok(())
        })
    }
}
