//! ER7 text and its meaning.
//!
//! Owns: frames, character sets, messages, what a message says happened, acknowledgements.
//! Never: I/O; decides whom a picture belongs to.

pub mod update;
