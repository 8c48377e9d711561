//! The form as it arrives: fields first, then files, into the same pipeline as the API's.

use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use super::fields::{FIELD_MAX_BYTES, Fields, Wrong};
use super::session::Session;
use crate::http::multipart::{Event, Parts};
use crate::pipeline::{Acceptor, Intake, Receipt, Refusal, RefusalCode};

/// A second click sends the same form again while the first is being filed. It waits for that one,
/// so many times a quarter of a second, and then gets its receipt.
const CONFLICT_TRIES: u32 = 40;
const CONFLICT_WAIT: Duration = Duration::from_millis(250);

/// What the page must know of a form that was not accepted.
#[derive(Clone, Default)]
pub struct Kept {
    pub fields: Fields,
    pub wrong: Vec<Wrong>,
}

/// The parts of one form.
pub struct FormParts {
    acceptor: Arc<dyn Acceptor>,
    session: Session,
    /// Shared with the page: what was written comes back whatever happens to the files.
    kept: Arc<Mutex<Kept>>,
    place: Place,
    intake: Option<Box<dyn Intake>>,
}

enum Place {
    Between,
    Field(String, Vec<u8>),
    /// A file input that nobody used sends an empty part: a file begins with its first byte.
    FileWaiting,
    File,
}

impl FormParts {
    #[must_use]
    pub fn new(acceptor: Arc<dyn Acceptor>, session: Session, kept: Arc<Mutex<Kept>>) -> Self {
        Self { acceptor, session, kept, place: Place::Between, intake: None }
    }

    /// # Errors
    /// A field is wrong, no photo was chosen, or what the pipeline refuses.
    pub fn finish(mut self) -> Result<Receipt, Refusal> {
        if let Some(intake) = self.intake.take() {
            return intake.finish();
        }
        self.check(false)?;
        Err(Refusal::new(RefusalCode::Malformed, "No photo was chosen."))
    }

    /// # Errors
    /// The form is another session's, or a field is wrong.
    fn check(&self, has_file: bool) -> Result<(), Refusal> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if !self.session.is_own_form(&kept.fields.csrf) {
            return Err(Refusal::new(
                RefusalCode::Forbidden,
                "This form belongs to an earlier sign-in. Nothing was sent. Check it and send it again.",
            ));
        }
        kept.wrong = kept.fields.check(has_file);
        if kept.wrong.is_empty() {
            Ok(())
        } else {
            Err(Refusal::new(RefusalCode::ClaimInvalid, "Something in the form is missing or wrong."))
        }
    }

    fn begin(&self) -> Result<Box<dyn Intake>, Refusal> {
        self.check(true)?;
        let fields = self.kept.lock().unwrap_or_else(PoisonError::into_inner).fields.clone();
        let key = Some(fields.key.as_str()).filter(|k| (1..=64).contains(&k.len()) && k.bytes().all(|b| b.is_ascii_graphic()));
        let mut tries = 1;
        loop {
            match self.acceptor.begin(self.session.permit.operator(), &fields.claim(), key) {
                Err(refusal) if refusal.code == RefusalCode::Conflict && tries < CONFLICT_TRIES => thread::sleep(CONFLICT_WAIT),
                outcome => return outcome,
            }
            tries += 1;
        }
    }
}

impl Parts for FormParts {
    fn take(&mut self, event: Event<'_>) -> Result<(), Refusal> {
        let malformed = |detail: &str| Refusal::new(RefusalCode::Malformed, detail);
        let place = std::mem::replace(&mut self.place, Place::Between);
        self.place = match (place, event) {
            (Place::Between, Event::PartStart { name: "file" }) => Place::FileWaiting,
            (Place::Between, Event::PartStart { name }) if self.intake.is_none() => Place::Field(name.to_owned(), Vec::new()),
            (Place::Between, Event::PartStart { .. }) => {
                return Err(malformed("The form is out of order: a field comes behind a photo."));
            }
            (Place::Field(name, mut text), Event::Data(bytes)) => {
                if text.len() + bytes.len() > FIELD_MAX_BYTES {
                    return Err(Refusal::new(RefusalCode::TooLarge, "A text is far too long. Shorten it."));
                }
                text.extend_from_slice(bytes);
                Place::Field(name, text)
            }
            (Place::Field(name, text), Event::PartEnd) => {
                let text = String::from_utf8(text).map_err(|_| malformed("A text is not UTF-8."))?;
                let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
                let field = kept.fields.of(&name).ok_or_else(|| malformed("The form has a field that is not known here."))?;
                *field = text;
                Place::Between
            }
            (Place::FileWaiting, Event::Data(bytes)) => {
                if self.intake.is_none() {
                    self.intake = Some(self.begin()?);
                }
                if let Some(intake) = &mut self.intake {
                    intake.start_file()?;
                    intake.push(bytes)?;
                }
                Place::File
            }
            (Place::File, Event::Data(bytes)) => {
                if let Some(intake) = &mut self.intake {
                    intake.push(bytes)?;
                }
                Place::File
            }
            (Place::File, Event::PartEnd) => {
                if let Some(intake) = &mut self.intake {
                    intake.end_file()?;
                }
                Place::Between
            }
            (Place::FileWaiting, Event::PartEnd) | (_, Event::End) => Place::Between,
            (_, Event::PartStart { .. } | Event::Data(_) | Event::PartEnd) => {
                return Err(malformed("The parts are out of order."));
            }
        };
        Ok(())
    }
}
