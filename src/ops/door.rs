//! The ops door: `/healthz`, `/readyz`, `/metrics` over plain HTTP on a loopback address.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use actix_web::dev::ServerHandle;
use actix_web::http::StatusCode;
use actix_web::{App, HttpResponse, HttpServer, guard, web};

use super::metrics::Metrics;
use super::readiness::Readiness;

/// A probe sends its head at once.
const REQUEST_HEAD: Duration = Duration::from_secs(5);
const KEEP_ALIVE: Duration = Duration::from_secs(75);
/// A few agents and a person; never a crowd.
const CONNECTIONS_MAX: usize = 64;

/// What the door shows.
#[derive(Clone)]
pub struct Shown {
    pub readiness: Arc<Readiness>,
    pub metrics: Arc<Metrics>,
    /// Called before readiness or metrics are told: what is counted or tried on demand.
    pub refresh: Arc<dyn Fn(&Metrics) + Send + Sync>,
}

/// An open door. [`Door::stop`] closes it.
pub struct Door {
    pub address: SocketAddr,
    handle: ServerHandle,
    thread: JoinHandle<()>,
}

impl fmt::Debug for Door {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Door").field("address", &self.address).finish_non_exhaustive()
    }
}

impl Door {
    /// Opens the door, on a thread of its own: it answers also while every other thread is busy.
    ///
    /// # Errors
    /// Where the address cannot be listened on.
    pub fn open(listen: SocketAddr, shown: Shown) -> io::Result<Self> {
        let (told, opened) = mpsc::channel();
        let thread = std::thread::Builder::new().name("ops".to_owned()).spawn(move || serve(listen, &shown, &told))?;
        match opened.recv() {
            Ok(Ok((address, handle))) => Ok(Self { address, handle, thread }),
            Ok(Err(error)) => Err(error),
            Err(mpsc::RecvError) => Err(io::Error::other("the ops door ended before it was open")),
        }
    }

    /// Closes at once: nothing that is asked here is worth waiting for.
    pub fn stop(self) {
        let (done, waited) = mpsc::channel::<()>();
        let handle = self.handle;
        // The handle's future may be awaited on any thread; a small runtime does it here.
        let _ = std::thread::spawn(move || {
            actix_web::rt::System::new().block_on(handle.stop(false));
            drop(done);
        });
        let _ = waited.recv();
        let _ = self.thread.join();
    }
}

type Told = mpsc::Sender<io::Result<(SocketAddr, ServerHandle)>>;

fn serve(listen: SocketAddr, shown: &Shown, told: &Told) {
    let shown = shown.clone();
    let server = move || {
        let shown = web::Data::new(shown.clone());
        App::new()
            .app_data(shown)
            .route("/healthz", read().to(|| std::future::ready(answer(StatusCode::OK, "ok\n".to_owned()))))
            .route("/readyz", read().to(readyz))
            .route("/metrics", read().to(metrics))
    };
    let server = HttpServer::new(server)
        .workers(1)
        .max_connections(CONNECTIONS_MAX)
        .client_request_timeout(REQUEST_HEAD)
        .keep_alive(KEEP_ALIVE)
        .disable_signals()
        .bind(listen);
    let opened = server.and_then(|server| {
        let address = server.addrs().first().copied().ok_or_else(|| io::Error::other("no address was bound"))?;
        Ok((address, server))
    });
    let (address, server) = match opened {
        Ok(opened) => opened,
        Err(error) => {
            let _ = told.send(Err(error));
            return;
        }
    };
    let ended = actix_web::rt::System::new().block_on(async move {
        let running = server.run();
        let _ = told.send(Ok((address, running.handle())));
        running.await
    });
    if let Err(error) = ended {
        super::log::error("ops-door-ended", &[("why", &error)]);
    }
}

fn read() -> actix_web::Route {
    web::route().guard(guard::Any(guard::Get()).or(guard::Head()))
}

async fn readyz(shown: web::Data<Shown>) -> HttpResponse {
    look(&shown).await;
    let (ready, text) = shown.readiness.report();
    answer(if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }, text)
}

/// Asks the disk, on a thread that may wait for it: health is told meanwhile.
async fn look(shown: &Shown) {
    let shown = shown.clone();
    // Where the look itself broke, what was known before is told.
    let _ = web::block(move || (shown.refresh)(&shown.metrics)).await;
}

async fn metrics(shown: web::Data<Shown>) -> HttpResponse {
    look(&shown).await;
    let text = shown.metrics.render();
    HttpResponse::Ok().content_type("text/plain; version=0.0.4; charset=utf-8").body(text)
}

fn answer(status: StatusCode, text: String) -> HttpResponse {
    HttpResponse::build(status).content_type("text/plain; charset=utf-8").insert_header(("Cache-Control", "no-store")).body(text)
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{Ipv4Addr, TcpStream};

    use super::*;
    use crate::ops::readiness::Condition;

    fn ask(address: SocketAddr, line: &str) -> String {
        let mut stream = TcpStream::connect(address).unwrap();
        write!(stream, "{line} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        text
    }

    #[test]
    fn the_ops_door_tells_health_readiness_and_numbers() {
        let shown = Shown {
            readiness: Arc::new(Readiness::default()),
            metrics: Arc::new(Metrics::new(&[])),
            refresh: Arc::new(|metrics| metrics.set_spool_free(4711)),
        };
        let door = Door::open(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), shown.clone()).expect("open");
        let address = door.address;
        assert!(ask(address, "GET /healthz").starts_with("HTTP/1.1 200"));
        assert!(ask(address, "GET /readyz").starts_with("HTTP/1.1 503"));
        for condition in Condition::ALL {
            shown.readiness.holds(condition);
        }
        assert!(ask(address, "GET /readyz").starts_with("HTTP/1.1 200"));
        let numbers = ask(address, "GET /metrics");
        assert!(numbers.contains("\nshutterbridge_spool_free_bytes 4711\n"), "{numbers}");
        assert!(ask(address, "GET /else").starts_with("HTTP/1.1 404"));
        door.stop();
        assert!(TcpStream::connect(address).is_err(), "closed");
    }

    #[test]
    fn a_taken_port_is_an_error_not_a_panic() {
        let taken = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let shown =
            Shown { readiness: Arc::new(Readiness::default()), metrics: Arc::new(Metrics::new(&[])), refresh: Arc::new(|_| ()) };
        assert!(Door::open(taken.local_addr().unwrap(), shown).is_err());
    }
}
