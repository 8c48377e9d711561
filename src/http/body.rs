//! A request body: read at the client's pace, within limits, worked on off the reactor.

use std::future::Future;
use std::time::{Duration, Instant};

use actix_web::dev::Payload;
use actix_web::error::PayloadError;
use actix_web::web::{self, Bytes};
use futures_util::StreamExt as _;
use tokio::runtime::Handle;
use tokio::time::timeout;

use super::multipart::{Multipart, Parts};
use super::server::Limits;
use crate::pipeline::{Refusal, RefusalCode};

/// Bytes collected before they are handed to a thread that may hash and write. Each hand-over wakes
/// two threads, which costs more than the hashing of 16 KiB; with the buffers under TLS, of the
/// decoder and of the spool one connection stays below half a mebibyte.
const BATCH_BYTES: usize = 160 * 1024;

/// How long a client may let us wait. It starts with some patience, and each kilobyte earns more:
/// a body that drips ends when the start is used up, one that stalls a little later.
struct Patience {
    left: Duration,
    most: Duration,
    rate_bytes_s: u32,
}

impl Patience {
    fn earn(&mut self, bytes: usize) {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        let earned = Duration::from_secs(u64::from(bytes)) / self.rate_bytes_s.max(1);
        self.left = (self.left + earned).min(self.most);
    }
}

/// The body of one request.
pub struct Body {
    payload: Payload,
    patience: Patience,
    max_bytes: u64,
    received_bytes: u64,
    ended: bool,
}

impl Body {
    #[must_use]
    pub fn new(payload: Payload, limits: &Limits) -> Self {
        let ended = matches!(payload, Payload::None);
        let patience = Patience {
            left: Duration::from_millis(limits.body_grace_ms),
            most: Duration::from_millis(limits.body_stall_ms),
            rate_bytes_s: limits.body_rate_bytes_s,
        };
        Self { payload, patience, max_bytes: limits.body_max_bytes, received_bytes: 0, ended }
    }

    /// True where nothing of it is left in the connection.
    #[must_use]
    pub fn is_read(&self) -> bool {
        self.ended
    }

    #[must_use]
    pub fn received_bytes(&self) -> u64 {
        self.received_bytes
    }

    /// What is left, to be held until the answer is out.
    #[must_use]
    pub fn into_rest(self) -> Payload {
        self.payload
    }

    /// The next bytes; `None` where the body ended as its framing says.
    ///
    /// # Errors
    /// [`RefusalCode::Timeout`], [`RefusalCode::TooLarge`], [`RefusalCode::Malformed`].
    pub async fn next(&mut self) -> Result<Option<Bytes>, Refusal> {
        let asked = Instant::now();
        let came = timeout(self.patience.left, self.payload.next()).await;
        self.patience.left = self.patience.left.saturating_sub(asked.elapsed());
        match came {
            Err(_) => Err(Refusal::new(
                RefusalCode::Timeout,
                "The body came too slowly or stopped. Check the network and send it again.",
            )),
            Ok(None) => {
                self.ended = true;
                Ok(None)
            }
            Ok(Some(Err(e))) => Err(broken(&e)),
            Ok(Some(Ok(bytes))) => {
                self.patience.earn(bytes.len());
                self.received_bytes += bytes.len() as u64;
                if self.received_bytes > self.max_bytes {
                    return Err(too_large(self.max_bytes));
                }
                Ok(Some(bytes))
            }
        }
    }

    /// A small body, whole.
    ///
    /// # Errors
    /// As for [`Body::next`]; [`RefusalCode::TooLarge`] beyond `max_bytes`.
    pub async fn read_all(&mut self, max_bytes: usize) -> Result<Vec<u8>, Refusal> {
        let mut all = Vec::new();
        while let Some(bytes) = self.next().await? {
            if all.len() + bytes.len() > max_bytes {
                return Err(too_large(max_bytes as u64));
            }
            all.extend_from_slice(&bytes);
        }
        Ok(all)
    }

    /// A multipart body to its end. `parts` works on threads that may block, and is dropped there
    /// too, whatever happens.
    ///
    /// # Errors
    /// As for [`Body::next`], and what `parts` refuses.
    pub async fn read_parts<P: Parts + 'static>(&mut self, boundary: &str, parts_max: usize, parts: P) -> Result<P, Refusal> {
        let mut reading = OffReactor::new((Multipart::new(boundary, parts_max), parts));
        while !self.ended {
            let mut batch = Vec::new();
            let mut batch_bytes = 0;
            while batch_bytes < BATCH_BYTES {
                let bytes = match self.next().await {
                    Ok(Some(bytes)) => bytes,
                    Ok(None) => break,
                    Err(refusal) => {
                        forget(reading.take()).await;
                        return Err(refusal);
                    }
                };
                batch_bytes += bytes.len();
                batch.push(bytes);
            }
            let Some((mut reader, mut parts)) = reading.take() else { return Err(stopped()) };
            let fed = block(move || {
                for bytes in &batch {
                    reader.feed(bytes, &mut parts)?;
                }
                Ok((reader, parts))
            });
            reading = OffReactor::new(fed.await?);
        }
        match reading.take() {
            Some((reader, parts)) if reader.is_complete() => Ok(parts),
            unfinished => {
                forget(unfinished).await;
                Err(Refusal::new(
                    RefusalCode::Malformed,
                    "The body ends before its last part does. Nothing was kept; send it again.",
                ))
            }
        }
    }
}

/// Drops what was begun where that may block, before the answer says that nothing was kept.
async fn forget<T: Send + 'static>(begun: Option<T>) {
    // Where there is no thread for it the runtime is going, and drops it itself.
    let _ = block(move || {
        drop(begun);
        Ok(())
    })
    .await;
}

/// Runs `work` on a thread that may block.
///
/// # Errors
/// What `work` refuses; [`RefusalCode::Unavailable`] where it never came back.
pub fn block<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Refusal> + Send + 'static,
) -> impl Future<Output = Result<T, Refusal>> {
    let running = web::block(work);
    async move { running.await.unwrap_or_else(|_| Err(stopped())) }
}

fn stopped() -> Refusal {
    Refusal::new(
        RefusalCode::Unavailable,
        "The gateway stopped working on this for a reason of its own; its log has it. Nothing was kept; send it again.",
    )
}

#[must_use]
pub fn too_large(limit_bytes: u64) -> Refusal {
    let detail = format!("The body is larger than {limit_bytes} bytes. Send fewer or smaller files at once.");
    Refusal { limit_bytes: Some(limit_bytes), ..Refusal::new(RefusalCode::TooLarge, detail) }
}

fn broken(error: &PayloadError) -> Refusal {
    let detail = match error {
        PayloadError::Incomplete(_) => "The connection ended in the middle of the body. Nothing was kept; send it again.",
        _ => "The framing of the body is broken (Content-Length or chunks). Nothing was kept.",
    };
    Refusal::new(RefusalCode::Malformed, detail)
}

/// A value whose end may take a disk: dropped on a thread that may block.
struct OffReactor<T: Send + 'static>(Option<T>);

impl<T: Send + 'static> OffReactor<T> {
    fn new(value: T) -> Self {
        Self(Some(value))
    }

    fn take(&mut self) -> Option<T> {
        self.0.take()
    }
}

impl<T: Send + 'static> Drop for OffReactor<T> {
    fn drop(&mut self) {
        // Without a runtime (the server is gone) it is dropped right here.
        if let (Some(value), Ok(runtime)) = (self.0.take(), Handle::try_current()) {
            drop(runtime.spawn_blocking(move || drop(value)));
        }
    }
}
