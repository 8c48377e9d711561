//! What a port speaks, asked in each language in turn: for the administrator who has taken the
//! wrong one. Sends nothing of anybody.

use std::sync::Arc;

use dicom_ul::pdu::{AssociationRQ, Pdu, PresentationContextProposed, write_pdu};
use rustls::{ClientConfig, RootCertStore};

use super::association::{APPLICATION_CONTEXT, user_variables};
use super::link::{Fault, Link, Patience, Tongue, host_of};
use super::tls::TlsFault;
use crate::dicom::{Syntax, iod};

/// For each language, milliseconds: an archive that serves one caller after the other needs a
/// moment to be done with the question before.
const WAIT_MS: u64 = 4_000;
/// Enough of an answer to know it.
const BEGIN_BYTES: usize = 8;

/// `None` where nobody answers, or in no language that is known here.
pub(super) fn tongue_at(address: &str) -> Option<Tongue> {
    if speaks_tls(address) {
        return Some(Tongue::Tls);
    }
    let host = host_of(address);
    let question = format!("OPTIONS * HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    if ask(address, question.as_bytes()) == Some(Tongue::Http) {
        return Some(Tongue::Http);
    }
    ask(address, &association_request()?).filter(|t| *t == Tongue::Dicom)
}

/// Nobody is believed: a certificate that is refused was shown all the same.
fn speaks_tls(address: &str) -> bool {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let Ok(builder) = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions() else { return false };
    let config = Arc::new(builder.with_root_certificates(RootCertStore::empty()).with_no_client_auth());
    let patience = Patience::from_now(WAIT_MS);
    let shaken = Link::connect(address, patience).and_then(|mut link| link.secure(&config, host_of(address), patience));
    match shaken {
        Ok(()) | Err(Fault::Speaks(Tongue::Tls)) => true,
        Err(Fault::Tls(fault)) => !matches!(fault, TlsFault::NotTls | TlsFault::Other),
        Err(_) => false,
    }
}

fn ask(address: &str, question: &[u8]) -> Option<Tongue> {
    let patience = Patience::from_now(WAIT_MS);
    let mut link = Link::connect(address, patience).ok()?;
    link.write(question, patience).ok()?;
    let (mut begin, mut filled) = ([0; BEGIN_BYTES], 0);
    while let Some(room) = begin.get_mut(filled..).filter(|room| !room.is_empty()) {
        match link.read(room, patience) {
            Ok(0) | Err(_) => break,
            Ok(count) => filled += count,
        }
    }
    link.shut_down();
    Tongue::of(begin.get(..filled)?)
}

/// For Verification, between two that are nobody.
fn association_request() -> Option<Vec<u8>> {
    let request = Pdu::AssociationRQ(AssociationRQ {
        protocol_version: 1,
        calling_ae_title: "SHUTTERBRIDGE".to_owned(),
        called_ae_title: "ANY-SCP".to_owned(),
        application_context_name: APPLICATION_CONTEXT.to_owned(),
        presentation_contexts: vec![PresentationContextProposed {
            id: 1,
            abstract_syntax: iod::VERIFICATION.to_owned(),
            transfer_syntaxes: vec![Syntax::ImplicitLe.uid().to_owned()],
        }],
        user_variables: user_variables(),
    });
    let mut bytes = Vec::new();
    write_pdu(&mut bytes, &request).ok()?;
    Some(bytes)
}
