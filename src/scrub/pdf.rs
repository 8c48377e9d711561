//! PDF: what is drawn on the pages stays, in a file written anew.
//!
//! The planner goes from the pages to what they need, by the table of [`super::policy::pdf`], and
//! writes each object that it meets once, without what the table does not name. So nothing has to
//! be found to be removed: titles, authors, XMP, attachments, scripts, actions, older revisions,
//! outlines, the tree of structure, thumbnails, notes of programs, objects that nothing leads to.
//! Pictures inside are scrubbed as JPEG files are. Data that hold nothing but samples are copied
//! from the source; all else is unpacked, read and packed again.
//!
//! A digital signature is content: a signed document is refused ([`ScrubCode::SignedDocument`]),
//! for whatever is taken out breaks it. A document that asks for a password is refused. One that is
//! encrypted and opens without is read, and leaves in clear.
//!
//! Forms: fields keep their looks. A field without a look of its own keeps its value, which a
//! viewer draws; its name goes. Text that stands for what is drawn (`ActualText`) stays, as part of
//! the page; text that describes it (`Alt`) goes with the tree of structure.
//!
//! What can still slip through: names of fonts, glyphs, colours and resources,
//! and bytes behind the end of a fax picture.

mod content;
mod font;
mod form;
mod jbig2;
mod jpx;
mod pages;
mod picture;
mod stream;
mod sweep;
mod value;
mod write;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::container::{Decision, PlanError};
use super::findings::Findings;
use super::policy::Limits;
use super::policy::pdf::Kind;
use super::{ScrubCode, ScrubError};
use crate::capture::Facts;
use crate::capture::media::{Coding, PictureFormat};
use crate::media::pdf::lexer::{Dict, Object};
use crate::media::pdf::{Document, PdfError};
use crate::media::source::Source;
use write::{Data, Writer, name};

/// Objects of the output. One of the source may become several, where it is used as several things.
const OBJECTS_MAX: usize = 400_000;
/// Bytes of the output that are written anew and held until they are copied.
const NEW_BYTES_MAX: u64 = 128 * 1024 * 1024;

type Result<T> = std::result::Result<T, PlanError>;

pub(super) fn plan(source: &dyn Source, limits: &Limits) -> Result<Decision> {
    let first = Document::open(source).map_err(PlanError::from).and_then(|document| plan_of(document, source, limits));
    match first {
        // Its references may lead astray; viewers look for the objects themselves then.
        Err(PlanError::Scrub(error)) if error.code == ScrubCode::DamagedMedia => {
            let found = Document::open_without_references(source).map_err(PlanError::from);
            found.and_then(|document| plan_of(document, source, limits)).map_err(|again| match again {
                PlanError::Scrub(ScrubError { code: ScrubCode::DamagedMedia, .. }) => error.into(),
                other => other,
            })
        }
        other => other,
    }
}

fn plan_of(document: Document<'_>, source: &dyn Source, limits: &Limits) -> Result<Decision> {
    let mut planner = Planner {
        document,
        limits: *limits,
        findings: Findings::default(),
        writer: Writer::new(),
        numbers: BTreeMap::new(),
        used: BTreeSet::new(),
        queue: VecDeque::new(),
        count: 0,
        new_bytes: 0,
        profiles: BTreeMap::new(),
        needs_looks: false,
        fields: Vec::new(),
    };
    let catalog = planner.catalog()?;
    if form::is_signed(&mut planner.document, &catalog)? {
        return Err(signed().into());
    }
    planner.read_form(&catalog)?;
    let pages = planner.pages(&catalog)?;
    planner.drain()?;
    let root = planner.end(&catalog)?;
    planner.drain()?;
    sweep::sweep(&mut planner, source, &catalog)?;
    let pieces = std::mem::take(&mut planner.writer).finish(root);
    let plan = sweep::plan(source.length_bytes(), &pieces);
    let findings = planner.findings;
    let format = PictureFormat { width: 0, height: 0, coding: Coding::Document { pages } };
    let facts = Facts { format, ..Facts::unread() };
    Ok(Decision {
        location_found: findings.finder.has_found(),
        removed: findings.removed.into_iter().map(str::to_owned).collect(),
        facts,
        plan,
        pieces,
    })
}

impl From<PdfError> for PlanError {
    fn from(error: PdfError) -> Self {
        match error {
            PdfError::Read(error) => Self::Read(error),
            PdfError::Fault(fault) => ScrubError::damaged("PDF", fault).into(),
            PdfError::TooMuch(what) => too_large(what).into(),
            PdfError::Locked => {
                let detail = "The PDF is encrypted and does not open without a password. Save it without one and send that.";
                ScrubError { code: ScrubCode::UnsupportedMedia, detail: detail.to_owned() }.into()
            }
        }
    }
}

fn too_large(what: &str) -> ScrubError {
    ScrubError::too_large(format!(
        "The PDF has {what}, which is more than is worked on here. Print it into a new PDF and send that."
    ))
}

fn unsupported(what: &str) -> ScrubError {
    let detail = format!("The PDF has {what}, which is not accepted here. Print it into a new PDF and send that.");
    ScrubError { code: ScrubCode::UnsupportedMedia, detail }
}

fn signed() -> ScrubError {
    let detail = "The PDF is digitally signed, and a scrub would break its signature. It was left as it is; send a copy without the signature, or file the original by another way.";
    ScrubError { code: ScrubCode::SignedDocument, detail: detail.to_owned() }
}

/// An object of the output that is still to be written; they are written in the order in which
/// they were numbered.
enum Job {
    /// An object of the source, as what.
    Source(u32, Kind),
    Page(Box<pages::Page>),
    Made(Object, Option<Data>),
}

struct Planner<'s> {
    document: Document<'s>,
    limits: Limits,
    findings: Findings,
    writer: Writer,
    /// What became of each object of the source, by what it is used as.
    numbers: BTreeMap<(u32, Kind), u32>,
    /// Numbers of the source that were looked at because something leads to them.
    used: BTreeSet<u32>,
    queue: VecDeque<Job>,
    count: u32,
    new_bytes: u64,
    /// Whether a colour profile can be used.
    profiles: BTreeMap<u32, bool>,
    /// The form wants its fields drawn anew.
    needs_looks: bool,
    /// Fields that are drawn by the viewer.
    fields: Vec<Object>,
}

impl Planner<'_> {
    fn catalog(&mut self) -> Result<Dict> {
        let root = self.document.trailer.get(b"Root".as_slice()).cloned().unwrap_or(Object::Null);
        let root = self.document.follow(&root)?;
        self.used.insert(root.number);
        let fault = crate::media::Fault("has no catalog");
        Ok(root.value.dict().cloned().ok_or_else(|| ScrubError::damaged("PDF", fault))?)
    }

    /// Queues an object and says its number.
    fn queue(&mut self, job: Job) -> Result<u32> {
        self.count += 1;
        if usize::try_from(self.count).unwrap_or(usize::MAX) > OBJECTS_MAX {
            return Err(too_large("more objects than are written").into());
        }
        if let Job::Made(_, Some(Data::New(bytes))) = &job {
            self.pay_new(bytes.len())?;
        }
        self.queue.push_back(job);
        Ok(self.count)
    }

    fn pay_new(&mut self, bytes: usize) -> Result<()> {
        self.new_bytes = self.new_bytes.saturating_add(bytes as u64);
        if self.new_bytes > NEW_BYTES_MAX { Err(too_large("more to draw than is written").into()) } else { Ok(()) }
    }

    /// The object of the output that an object of the source becomes as `kind`.
    fn refer(&mut self, number: u32, kind: Kind) -> Result<Object> {
        if let Some(known) = self.numbers.get(&(number, kind)) {
            return Ok(Object::Reference(*known));
        }
        let made = self.queue(Job::Source(number, kind))?;
        self.numbers.insert((number, kind), made);
        Ok(Object::Reference(made))
    }

    fn drain(&mut self) -> Result<()> {
        while let Some(job) = self.queue.pop_front() {
            let (value, data) = match job {
                Job::Made(value, data) => (value, data),
                Job::Page(page) => (self.page(&page)?, None),
                Job::Source(number, kind) => {
                    self.used.insert(number);
                    let (value, data) = self.source_object(number, kind)?;
                    if let Some(Data::New(bytes)) = &data {
                        self.pay_new(bytes.len())?;
                    }
                    (value, data)
                }
            };
            self.writer.object(&value, data);
        }
        Ok(())
    }

    /// The catalog, with layers, and the fields that a viewer draws.
    fn end(&mut self, catalog: &Dict) -> Result<u32> {
        let mut kept = Dict::from([(b"Type".to_vec(), name(b"Catalog")), (b"Pages".to_vec(), Object::Reference(1))]);
        if let Some(layers) = catalog.get(b"OCProperties".as_slice())
            && let Some(layers) = self.value(Kind::OptionalContent, layers, 0)?
        {
            kept.insert(b"OCProperties".to_vec(), layers);
        }
        if let Some(form) = self.form(catalog)? {
            kept.insert(b"AcroForm".to_vec(), form);
        }
        self.queue(Job::Made(Object::Dict(kept), None))
    }
}
