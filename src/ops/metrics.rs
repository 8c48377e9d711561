//! Numbers for Prometheus (text exposition format 0.0.4).
//!
//! Every series exists from the start, with label values out of closed sets: a dashboard sees a
//! zero before the first event, and no patient, user or sender can become a label.

use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::capture::{Class, MediaKind, Stage};

/// Upper bounds of `capture_to_archive_seconds`: from a good second to a weekend's outage.
const ARCHIVE_SECONDS: [f64; 13] = [0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 900.0, 3600.0, 14400.0, 86400.0];

/// Stages in which an item still waits for something: without storage commitment a forwarded one
/// does not.
const QUEUED: [Stage; 4] = [Stage::Accepted, Stage::Identified, Stage::Wrapped, Stage::Held];

/// How an attempt to forward ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attempt {
    Stored,
    /// Stored, with a warning of the archive (Bxxx).
    Warned,
    Failed(Class),
}

impl Attempt {
    const WORDS: [&'static str; 5] = ["stored", "warned", "transient", "ambiguous", "permanent"];

    fn word(self) -> &'static str {
        match self {
            Self::Stored => "stored",
            Self::Warned => "warned",
            Self::Failed(Class::Transient) => "transient",
            Self::Failed(Class::Ambiguous) => "ambiguous",
            Self::Failed(Class::Permanent) => "permanent",
        }
    }
}

/// How an HL7 message was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answered {
    Accepted,
    Error,
    Rejected,
    /// Not at all: it could not be made durable, and the sender keeps it.
    Unanswered,
}

impl Answered {
    const WORDS: [&'static str; 4] = ["AA", "AE", "AR", "none"];

    fn word(self) -> &'static str {
        match self {
            Self::Accepted => "AA",
            Self::Error => "AE",
            Self::Rejected => "AR",
            Self::Unanswered => "none",
        }
    }
}

/// How the coding of a video ended.
const TRANSCODED: [&str; 2] = ["made", "failed"];

/// Message types with a series of their own; all others are `other`.
const HL7_TYPES: [&str; 6] = ["ADT", "ORM", "OMI", "OMG", "SIU", "other"];

/// All series of the gateway.
#[derive(Debug)]
pub struct Metrics {
    captures: Family,
    queue_items: Family,
    queue_oldest: Family,
    forward_attempts: Family,
    location_removed: Family,
    transcoded: Family,
    hl7_messages: Family,
    spool_free: Family,
    cert_expiry: Family,
    build: Family,
    to_archive: Histogram,
}

impl Metrics {
    /// `archives`: the names in the configuration.
    #[must_use]
    pub fn new(archives: &[String]) -> Self {
        use Kind::{Counter, Gauge};
        let archives: Vec<&str> = archives.iter().map(String::as_str).collect();
        let stages = Stage::ALL.map(Stage::word);
        let containers: Vec<&str> = MediaKind::ACCEPTED.iter().map(|m| container(*m)).collect();
        let metrics = Self {
            captures: Family::new(Counter, "captures_total", "Items that reached a stage.", &[("stage", &stages)]),
            queue_items: Family::new(
                Gauge,
                "queue_items",
                "Captures that wait for the archive, by stage.",
                &[("archive", &archives), ("stage", &QUEUED.map(Stage::word))],
            ),
            queue_oldest: Family::new(
                Gauge,
                "queue_oldest_seconds",
                "Age of the oldest item that waits.",
                &[("archive", &archives)],
            ),
            forward_attempts: Family::new(
                Counter,
                "forward_attempts_total",
                "Attempts to store an instance, by how they ended.",
                &[("archive", &archives), ("outcome", &Attempt::WORDS)],
            ),
            location_removed: Family::new(
                Counter,
                "location_removed_total",
                "Files whose location was removed.",
                &[("container", &containers)],
            ),
            transcoded: Family::new(
                Counter,
                "transcoded_total",
                "Videos that were coded anew, or of which stills were made, by how it ended.",
                &[("outcome", &TRANSCODED)],
            ),
            hl7_messages: Family::new(
                Counter,
                "hl7_messages_total",
                "HL7 messages, by how they were answered.",
                &[("type", &HL7_TYPES), ("outcome", &Answered::WORDS)],
            ),
            spool_free: Family::new(Gauge, "spool_free_bytes", "Free space of the spool's file system.", &[]),
            cert_expiry: Family::new(Gauge, "cert_expiry_seconds", "Time until the HTTPS certificate expires.", &[]),
            build: Family::new(Gauge, "build_info", "1, with the version.", &[("version", &[env!("CARGO_PKG_VERSION")])]),
            to_archive: Histogram::new(
                "capture_to_archive_seconds",
                "From acceptance until the archive has it.",
                &ARCHIVE_SECONDS,
            ),
        };
        metrics.build.set(&[env!("CARGO_PKG_VERSION")], 1.0);
        metrics
    }

    pub fn capture_reached(&self, stage: Stage) {
        self.captures.add(&[stage.word()]);
    }

    pub fn forward_attempted(&self, archive: &str, how: Attempt) {
        self.forward_attempts.add(&[archive, how.word()]);
    }

    pub fn archived_after(&self, seconds: f64) {
        self.to_archive.observe(seconds);
    }

    pub fn location_removed(&self, media: MediaKind) {
        self.location_removed.add(&[container(media)]);
    }

    pub fn transcoded(&self, is_made: bool) {
        let [made, failed] = TRANSCODED;
        self.transcoded.add(&[if is_made { made } else { failed }]);
    }

    /// `kind`: MSH-9.1.
    pub fn hl7_message(&self, kind: &str, answered: Answered) {
        let kind = if HL7_TYPES.contains(&kind) { kind } else { "other" };
        self.hl7_messages.add(&[kind, answered.word()]);
    }

    /// A stage in which nothing waits is not counted.
    #[allow(clippy::cast_precision_loss)] // fewer than 2^52 items wait
    pub fn set_queue(&self, archive: &str, stage: Stage, items: u64) {
        self.queue_items.set(&[archive, stage.word()], items as f64);
    }

    /// 0 where nothing waits.
    pub fn set_queue_oldest(&self, archive: &str, seconds: f64) {
        self.queue_oldest.set(&[archive], seconds);
    }

    #[allow(clippy::cast_precision_loss)] // a file system of 4 PiB rounds to the byte; more may round
    pub fn set_spool_free(&self, bytes: u64) {
        self.spool_free.set(&[], bytes as f64);
    }

    pub fn set_cert_expiry(&self, seconds: f64) {
        self.cert_expiry.set(&[], seconds);
    }

    /// Everything, as Prometheus reads it.
    #[must_use]
    pub fn render(&self) -> String {
        let mut out = String::new();
        for family in [
            &self.captures,
            &self.queue_items,
            &self.queue_oldest,
            &self.forward_attempts,
            &self.location_removed,
            &self.transcoded,
            &self.hl7_messages,
            &self.spool_free,
            &self.cert_expiry,
            &self.build,
        ] {
            family.render(&mut out);
        }
        self.to_archive.render(&mut out);
        out
    }
}

/// The container as a label: `jpeg`, `png`.
fn container(media: MediaKind) -> &'static str {
    media.mime().split_once('/').map_or("other", |(_, subtype)| subtype)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Counter,
    Gauge,
}

/// One name with all its series.
#[derive(Debug)]
struct Family {
    kind: Kind,
    name: &'static str,
    help: &'static str,
    series: Vec<Series>,
}

#[derive(Debug)]
struct Series {
    values: Vec<String>,
    /// `{a="b"}`, or empty.
    labels: String,
    /// A count, or the bits of an `f64`.
    bits: AtomicU64,
}

/// A gauge that nobody has set is left out: a wrong zero would be believed.
const UNSET: u64 = u64::MAX;

impl Family {
    fn new(kind: Kind, name: &'static str, help: &'static str, labels: &[(&str, &[&str])]) -> Self {
        let mut rows: Vec<Vec<(&str, &str)>> = vec![Vec::new()];
        for (label, values) in labels {
            let with = |row: &Vec<(_, _)>, value| row.iter().copied().chain([(*label, value)]).collect::<Vec<_>>();
            rows = rows.iter().flat_map(|row| values.iter().map(move |v| with(row, *v))).collect();
        }
        let first = if kind == Kind::Counter { 0 } else { UNSET };
        let series = rows.iter().map(|row| Series {
            values: row.iter().map(|(_, v)| (*v).to_owned()).collect(),
            labels: label_text(row),
            bits: AtomicU64::new(first),
        });
        Self { kind, name, help, series: series.collect() }
    }

    fn find(&self, values: &[&str]) -> Option<&AtomicU64> {
        self.series.iter().find(|s| s.values == values).map(|s| &s.bits)
    }

    fn add(&self, values: &[&str]) {
        if let Some(count) = self.find(values) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn set(&self, values: &[&str], value: f64) {
        if let Some(bits) = self.find(values) {
            bits.store(value.to_bits(), Ordering::Relaxed);
        }
    }

    fn render(&self, out: &mut String) {
        let kind = if self.kind == Kind::Counter { "counter" } else { "gauge" };
        head(out, self.name, self.help, kind);
        for series in &self.series {
            let bits = series.bits.load(Ordering::Relaxed);
            let _ = match self.kind {
                Kind::Counter => writeln!(out, "shutterbridge_{}{} {bits}", self.name, series.labels),
                Kind::Gauge if bits == UNSET => Ok(()),
                Kind::Gauge => writeln!(out, "shutterbridge_{}{} {}", self.name, series.labels, f64::from_bits(bits)),
            };
        }
    }
}

#[derive(Debug)]
struct Histogram {
    name: &'static str,
    help: &'static str,
    bounds: &'static [f64],
    /// One for each bound, and one beyond.
    counts: Vec<AtomicU64>,
    sum_ms: AtomicU64,
}

impl Histogram {
    fn new(name: &'static str, help: &'static str, bounds: &'static [f64]) -> Self {
        let counts = (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect();
        Self { name, help, bounds, counts, sum_ms: AtomicU64::new(0) }
    }

    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // a float-to-int cast saturates
    fn observe(&self, seconds: f64) {
        let at = self.bounds.iter().position(|b| seconds <= *b).unwrap_or(self.bounds.len());
        if let Some(count) = self.counts.get(at) {
            count.fetch_add(1, Ordering::Relaxed);
            self.sum_ms.fetch_add((seconds * 1000.0) as u64, Ordering::Relaxed);
        }
    }

    fn render(&self, out: &mut String) {
        head(out, self.name, self.help, "histogram");
        let name = self.name;
        let bounds = self.bounds.iter().map(f64::to_string).chain(["+Inf".to_owned()]);
        let mut total = 0;
        for (bound, count) in bounds.zip(&self.counts) {
            total += count.load(Ordering::Relaxed);
            let _ = writeln!(out, "shutterbridge_{name}_bucket{{le=\"{bound}\"}} {total}");
        }
        let sum_ms = self.sum_ms.load(Ordering::Relaxed);
        let _ = writeln!(out, "shutterbridge_{name}_sum {}.{:03}", sum_ms / 1000, sum_ms % 1000);
        let _ = writeln!(out, "shutterbridge_{name}_count {total}");
    }
}

fn head(out: &mut String, name: &str, help: &str, kind: &str) {
    let _ = writeln!(out, "# HELP shutterbridge_{name} {help}\n# TYPE shutterbridge_{name} {kind}");
}

fn label_text(row: &[(&str, &str)]) -> String {
    if row.is_empty() {
        return String::new();
    }
    let escape = |value: &str| value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
    let pairs: Vec<String> = row.iter().map(|(label, value)| format!("{label}=\"{}\"", escape(value))).collect();
    format!("{{{}}}", pairs.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_of_the_contract_is_there_from_the_start() {
        let metrics = Metrics::new(&["pacs".to_owned(), "a \"b\"".to_owned()]);
        metrics.set_queue("pacs", Stage::Held, 0);
        metrics.set_queue_oldest("pacs", 1.5);
        metrics.set_spool_free(7);
        metrics.set_cert_expiry(86400.0);
        let text = metrics.render();
        for line in [
            "shutterbridge_captures_total{stage=\"accepted\"} 0",
            "shutterbridge_queue_items{archive=\"pacs\",stage=\"held\"} 0",
            "shutterbridge_queue_oldest_seconds{archive=\"pacs\"} 1.5",
            "shutterbridge_forward_attempts_total{archive=\"a \\\"b\\\"\",outcome=\"stored\"} 0",
            "shutterbridge_capture_to_archive_seconds_bucket{le=\"+Inf\"} 0",
            "shutterbridge_location_removed_total{container=\"jpeg\"} 0",
            "shutterbridge_hl7_messages_total{type=\"ADT\",outcome=\"AA\"} 0",
            "shutterbridge_spool_free_bytes 7",
            "shutterbridge_cert_expiry_seconds 86400",
        ] {
            assert!(text.lines().any(|l| l == line), "{line}\n{text}");
        }
    }

    #[test]
    fn what_happened_is_counted_and_what_is_unknown_becomes_no_label() {
        let metrics = Metrics::new(&["pacs".to_owned()]);
        metrics.capture_reached(Stage::Forwarded);
        metrics.capture_reached(Stage::Forwarded);
        metrics.forward_attempted("pacs", Attempt::Failed(Class::Transient));
        metrics.forward_attempted("somebody else", Attempt::Stored);
        metrics.hl7_message("MDM-Müller", Answered::Rejected);
        metrics.location_removed(MediaKind::Png);
        for seconds in [0.2, 0.5, 3.0, 1e9] {
            metrics.archived_after(seconds);
        }
        let text = metrics.render();
        for line in [
            "shutterbridge_captures_total{stage=\"forwarded\"} 2",
            "shutterbridge_forward_attempts_total{archive=\"pacs\",outcome=\"transient\"} 1",
            "shutterbridge_hl7_messages_total{type=\"other\",outcome=\"AR\"} 1",
            "shutterbridge_location_removed_total{container=\"png\"} 1",
            "shutterbridge_capture_to_archive_seconds_bucket{le=\"0.5\"} 2",
            "shutterbridge_capture_to_archive_seconds_bucket{le=\"5\"} 3",
            "shutterbridge_capture_to_archive_seconds_bucket{le=\"86400\"} 3",
            "shutterbridge_capture_to_archive_seconds_count 4",
        ] {
            assert!(text.lines().any(|l| l == line), "{line}\n{text}");
        }
        assert!(!text.contains("somebody") && !text.contains("ller") && !text.contains("\nshutterbridge_spool_free_bytes "));
    }
}
