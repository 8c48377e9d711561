//! The department form: pages for a browser, without a script.
//!
//! Owns: sessions, the form, its words, its one stylesheet.
//! Never: patients (they pass from a body into a claim and are forgotten); decides what is accepted.

pub mod fields;
pub mod page;
pub mod pages;
pub mod session;
pub mod upload;

pub use pages::{DemoPerson, DemoSignIn, Department, Options, Web};
