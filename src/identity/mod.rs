//! Who is asking, and what may they do.
//!
//! Owns: tokens, the keys that sign them, the [`Permit`].
//! Never: patients; HTTP.

pub mod dev;
pub mod json;
pub mod keys;
pub mod permit;
pub mod token;
pub mod verifier;

pub use dev::DevIssuer;
pub use permit::{Permit, Scope};
pub use verifier::{Denied, IdentityError, IssuerOptions, JwksSource, Verifier};
