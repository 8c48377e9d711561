//! The HTTPS door.
//!
//! Owns: routes, their JSON, problem documents, the multipart reader, what a slow or hostile client
//! may cost.
//! Never: decides about patients, files or captures; keeps a byte of a body.

pub mod body;
pub mod captures;
pub mod codes;
pub mod door;
pub mod events;
pub mod json;
pub mod multipart;
pub mod observe;
pub mod problem;
pub mod query;
pub mod routes;
pub mod server;
pub mod wire;

pub use observe::{AccessLine, Observer};
pub use server::{Limits, Options, Pages, Server, Services};
