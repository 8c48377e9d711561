//! Typed tables on an engine.
//!
//! Owns: the port [`Store`], its adapters, [`Table`], what a durable commit is; the only room that
//! names sled.
//! Never: knows what a row means. Keys stand in clear on the disk: callers pass ids and hashes.

pub mod group;
