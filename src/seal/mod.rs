//! Confidentiality and integrity of everything at rest.
//!
//! Owns: digests, random numbers, secrets, sealing and opening; the only room that names ring.
//! Never: files, sockets, the meaning of what is sealed.

pub mod aead;
pub mod digest;
pub mod random;
pub mod secret;
pub mod signature;
