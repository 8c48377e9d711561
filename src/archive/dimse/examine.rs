//! What an archive is like, for the administrator: connects, negotiates everything that may be
//! sent, and asks C-ECHO.

use std::net::IpAddr;

use dicom_ul::pdu::{AssociationRJ, AssociationRJServiceUserReason, AssociationRJSource};

use super::super::association::{Association, NoAssociation};
use super::super::finding::{Finding, Grade};
use super::super::link::{Fault, Tongue, host_of};
use super::super::profile::NATIVE;
use super::super::sniff::tongue_at;
use super::super::tls::TlsFault;
use super::Options;
use crate::capture::{Commitment, MediaClass};
use crate::dicom::{Syntax, iod};

pub(super) fn examine(options: &Options, commitment: Commitment, named: &[MediaClass]) -> Vec<Finding> {
    let mut association = match Association::request(options) {
        Ok(association) => association,
        Err(why) => return vec![told_of_association(options, &why)],
    };
    let mut findings = vec![told_of_echo(options, &mut association)];
    let is_sent = |iod: &&&iod::Iod| !iod.is_stand_in() && (named.is_empty() || named.contains(&iod.media));
    findings.extend(iod::ALL.iter().filter(is_sent).filter_map(|iod| {
        let found = told_of_class(options, &association, iod)?;
        // Few archives have it, and few photos are of it; and many take no video, unless it is sent
        // there by name.
        let may_be_meant =
            iod.sop_class == iod::DERMOSCOPIC_PHOTOGRAPHY || iod.media == MediaClass::Video && !named.contains(&iod.media);
        let softened = may_be_meant && found.grade == Grade::Fail;
        Some(if softened { Finding { grade: Grade::Warn, ..found } } else { found })
    }));
    association.release();
    if commitment != Commitment::None {
        findings.push(told_of_commitment(options, commitment));
    }
    findings.extend(told_of_clear_text(options));
    findings
}

pub(in super::super) fn told_of_clear_text(options: &Options) -> Option<Finding> {
    let says = "everything goes in clear text: whoever is on the way reads the patients' data";
    let fix = "have the archive open a TLS port, and set tls_ca and address";
    (options.tls.is_none() && !is_on_this_machine(&options.address)).then(|| Finding::warn(says, "tls_ca", fix))
}

pub(in super::super) fn told_of_echo(options: &Options, association: &mut Association) -> Finding {
    let Options { address, called_ae, .. } = options;
    let how = association.tls_version().unwrap_or("clear text");
    match association.echo(options) {
        Ok(0) => Finding::pass(format!("{} at {address} answers C-ECHO ({how})", called_ae.as_str())),
        Ok(status) => Finding::fail(
            format!("{} at {address} answers C-ECHO with status {status:04X}H", called_ae.as_str()),
            "",
            "look at the log of the archive",
        ),
        Err(fault) => Finding::fail(
            format!("{} at {address} takes the association and does not answer C-ECHO: {fault}", called_ae.as_str()),
            "",
            "have Verification (1.2.840.10008.1.1) enabled there",
        ),
    }
}

/// `None` where everything of the class that is offered is taken.
fn told_of_class(options: &Options, association: &Association, iod: &iod::Iod) -> Option<Finding> {
    let class = iod.sop_class;
    let offered = |context: &&&[Syntax]| context.iter().any(|s| options.profile.offers(*s));
    let contexts: Vec<&[Syntax]> = iod.contexts.iter().filter(offered).copied().collect();
    if contexts.is_empty() {
        let says = format!("nothing of SOP class {class} is offered: every such object will be held");
        return Some(Finding::warn(says, "syntaxes", "add a transfer syntax of that class"));
    }
    let stand_in = iod.stand_in.filter(|other| options.profile.fallback && association.takes_class(other.sop_class));
    if let Some(other) = stand_in.filter(|_| !association.takes_class(class)) {
        let (name, class_of_other) = (other.name, other.sop_class);
        if iod.media == MediaClass::Video {
            let says = format!(
                "SOP class {class} is refused: every such video will be held, and where there is ffmpeg stills of it go as {name} ({class_of_other})"
            );
            let fix = "enable the class at the archive for this AE title, or leave such files out with media";
            return Some(Finding::fail(says, "media", fix));
        }
        let says = format!("SOP class {class} is refused: such pictures will go as {name} ({class_of_other})");
        return Some(Finding::warn(says, "fallback", "enable the class at the archive for this AE title"));
    }
    if !association.takes_class(class) {
        let says = format!("SOP class {class} is refused in every transfer syntax: every such object will be held");
        let fix = "enable the class at the archive for this AE title, or leave such files out with media";
        return Some(Finding::fail(says, "media", fix));
    }
    let is_refused = |context: &&&[Syntax]| association.context(class, context).is_none();
    let refused: Vec<&str> = contexts.iter().filter(is_refused).filter_map(|c| c.first()).map(|s| s.uid()).collect();
    if refused.is_empty() {
        return None;
    }
    let is_hevc_alone = refused == [Syntax::HevcMain.uid()];
    let refused = refused.join(", ");
    let takes_native = association.context(class, &NATIVE).is_some();
    if options.profile.fallback && takes_native {
        let says = format!("SOP class {class} is refused in transfer syntax {refused}: photographs will be decoded for it");
        return Some(Finding::warn(says, "fallback", "enable the syntax at the archive: decoded objects are ten times as large"));
    }
    let says = format!("SOP class {class} is refused in transfer syntax {refused}: such objects will be held");
    let fix = match (takes_native, is_hevc_alone) {
        (true, _) => "enable it at the archive, or set fallback = true",
        (false, true) => "enable it at the archive, or leave it out in syntaxes: such films are then coded anew as H.264",
        (false, false) => "enable it at the archive",
    };
    // The first is the one that phones send.
    let is_main = contexts.first().is_some_and(|c| association.context(class, c).is_none());
    Some(if is_main { Finding::fail(says, "fallback", fix) } else { Finding::warn(says, "syntaxes", fix) })
}

fn told_of_commitment(options: &Options, commitment: Commitment) -> Finding {
    let taken = Association::request_commitment(options).map(|association| {
        let context = association.context(iod::STORAGE_COMMITMENT, &[Syntax::ExplicitLe, Syntax::ImplicitLe]);
        association.release();
        context.is_some()
    });
    let says = "the archive does not offer Storage Commitment";
    match (taken, commitment) {
        (Ok(true), _) => Finding::pass("Storage Commitment is offered"),
        (Ok(false), Commitment::Required) => {
            Finding::fail(says, "commitment", "enable it there (1.2.840.10008.1.20.1), or write \"ask\" or \"none\"")
        }
        (Ok(false), Commitment::Ask | Commitment::None) => {
            Finding::warn(says, "commitment", "enable it there; without it its word at storing is taken")
        }
        (Err(why), _) => told_of_association(options, &why),
    }
}

pub(in super::super) fn told_of_association(options: &Options, why: &NoAssociation) -> Finding {
    let address = &options.address;
    let (called, calling) = (options.called_ae.as_str(), options.calling_ae.as_str());
    match why {
        NoAssociation::Rejected(AssociationRJ { source, .. }) => match source {
            AssociationRJSource::ServiceUser(AssociationRJServiceUserReason::CalledAETitleNotRecognized) => Finding::fail(
                format!("{address} is not called {called}: the archive does not recognise the called AE title"),
                "called_ae",
                // dcmqrscp is not the only one that says this of whoever is not on its list.
                format!(
                    "write the AE title of the archive, in its own spelling of great and small letters; \
                     where it is right, have {calling} added there: some archives answer so to a caller that they do not know"
                ),
            ),
            AssociationRJSource::ServiceUser(AssociationRJServiceUserReason::CallingAETitleNotRecognized) => Finding::fail(
                format!("{called} at {address} does not know {calling}: the calling AE title is not recognised"),
                "calling_ae",
                "have the archive's administrator add this AE title with the address of this machine, or write one that is there",
            ),
            other => Finding::fail(
                format!("{called} at {address} rejects the association: {other}"),
                "called_ae",
                "see that both AE titles and this machine's address are known there; where it says \"temporary\", try again",
            ),
        },
        NoAssociation::Aborted => match tongue_at(address) {
            Some(Tongue::Http | Tongue::Tls) | None => told(options, Fault::Closed),
            Some(Tongue::Dicom) => Finding::fail(
                format!("{called} at {address} aborts the association"),
                "called_ae",
                "many archives do so for an AE title or an address that they do not know: have both added there",
            ),
        },
        NoAssociation::Unreachable(fault) => told(options, *fault),
    }
}

/// What a connection that failed says about the configuration.
fn told(options: &Options, fault: Fault) -> Finding {
    let address = &options.address;
    let is_tls = options.tls.is_some();
    let spoken = if fault.may_be_another_tongue() { tongue_at(address) } else { None };
    let fault = spoken.map_or(fault, Fault::Speaks);
    let says = format!("{address}: {fault}");
    match fault {
        Fault::Speaks(Tongue::Http) => Finding::fail(
            says,
            "address",
            "write its DICOM port; an archive that is stored to over the web has kind = \"stow\" and url",
        ),
        Fault::Speaks(Tongue::Tls) if !is_tls => Finding::fail(
            says,
            "tls_ca",
            "set tls_ca to the authority of the archive's certificate, or write its plain port in address",
        ),
        Fault::Speaks(Tongue::Dicom) if is_tls => {
            Finding::fail(says, "tls_ca", "write the TLS port of the archive in address, or remove tls_ca, tls_cert and tls_key")
        }
        Fault::Speaks(_) => Finding::fail(
            says,
            "called_ae",
            "it closed the connection all the same: have both AE titles and this machine's address added there",
        ),
        other => told_of_connection(other, says, "address"),
    }
}

/// Faults that mean the same whatever is spoken; `key` says where the peer is.
pub(in super::super) fn told_of_connection(fault: Fault, says: String, key: &'static str) -> Finding {
    let (key, fix) = match fault {
        Fault::Unresolved => (key, "write a host name that this machine can resolve, or the number of its address"),
        Fault::Broken(std::io::ErrorKind::ConnectionRefused) => {
            (key, "nobody listens there: start the archive, or correct the port")
        }
        Fault::TimedOut => (key, "look for a firewall on the way, or correct the address"),
        Fault::Closed => (key, "see that it is the archive that listens there, and that it lets this machine in"),
        Fault::Tls(TlsFault::UnknownAuthority) => {
            ("tls_ca", "put the certificate of the authority that signed it there, or the archive's own certificate")
        }
        Fault::Tls(TlsFault::OtherName) => (key, "reach it by the name in its certificate, or have one made for this name"),
        Fault::Tls(TlsFault::Expired | TlsFault::NotYetValid | TlsFault::BadCertificate) => {
            ("tls_ca", "have the archive's certificate renewed")
        }
        Fault::Tls(TlsFault::CertificateWanted) => {
            ("tls_cert", "set tls_cert and tls_key to a certificate of an authority that the archive believes")
        }
        Fault::Tls(TlsFault::NothingInCommon) => (key, "have TLS 1.2 with an ECDHE suite, or TLS 1.3, enabled there"),
        Fault::Tls(TlsFault::NotTls | TlsFault::Other) | Fault::Speaks(_) | Fault::Protocol(_) | Fault::Broken(_) => {
            (key, "see that it is the archive's own port, and look at its log")
        }
    };
    Finding::fail(says, key, fix)
}

fn is_on_this_machine(address: &str) -> bool {
    let host = host_of(address);
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}
