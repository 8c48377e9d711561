//! `/api/v1/captures`: upload, one, many.

use std::sync::Arc;

use serde_json::Value;

use super::multipart::{Event, Parts};
use crate::capture::claim::ClaimError;
use crate::capture::{CaptureId, Operator, Stage};
use crate::identity::json;
use crate::pipeline::{Acceptor, Intake, Receipt, Refusal, RefusalCode};

/// Longest claim. One with every field has one kilobyte; a description fills four more.
const CLAIM_MAX_BYTES: usize = 64 * 1024;
/// Longest Idempotency-Key; a UUID has 36 characters.
const KEY_MAX_BYTES: usize = 255;
/// Page sizes of a list: a screen, and what still fits one answer of half a megabyte.
const LIMIT_DEFAULT: usize = 50;
const LIMIT_MAX: usize = 200;

/// The parts of an upload: one `claim`, then one or more `file`s.
pub struct CaptureParts {
    acceptor: Arc<dyn Acceptor>,
    operator: Operator,
    idempotency_key: Option<String>,
    place: Place,
}

enum Place {
    BeforeClaim,
    Claim(Vec<u8>),
    BeforeFile(Box<dyn Intake>),
    File(Box<dyn Intake>),
    BehindFile(Box<dyn Intake>),
    /// Refused; nothing more is read.
    Closed,
}

impl CaptureParts {
    #[must_use]
    pub fn new(acceptor: Arc<dyn Acceptor>, operator: Operator, idempotency_key: Option<String>) -> Self {
        Self { acceptor, operator, idempotency_key, place: Place::BeforeClaim }
    }

    /// The promise line.
    ///
    /// # Errors
    /// A part is missing, or what the pipeline refuses.
    pub fn finish(self) -> Result<Receipt, Refusal> {
        match self.place {
            Place::BehindFile(intake) => intake.finish(),
            Place::BeforeFile(_) => Err(malformed("There is no file. Send one or more parts named `file` behind the claim.")),
            _ => Err(malformed("There is no claim. Begin with one part named `claim`.")),
        }
    }

    fn open(&self, claim: &[u8]) -> Result<Box<dyn Intake>, Refusal> {
        let claim = read_claim(claim)?;
        self.acceptor.begin(&self.operator, &claim, self.idempotency_key.as_deref())
    }
}

impl Parts for CaptureParts {
    fn take(&mut self, event: Event<'_>) -> Result<(), Refusal> {
        let place = std::mem::replace(&mut self.place, Place::Closed);
        self.place = match (place, event) {
            (Place::BeforeClaim, Event::PartStart { name: "claim" }) => Place::Claim(Vec::new()),
            (Place::BeforeClaim, Event::PartStart { name: "file" }) => {
                return Err(malformed("A file comes before the claim. Send the part `claim` first, then the files."));
            }
            (Place::Claim(mut text), Event::Data(bytes)) => {
                if text.len() + bytes.len() > CLAIM_MAX_BYTES {
                    let detail = "The claim is larger than 64 KiB. Shorten its texts.";
                    return Err(Refusal {
                        limit_bytes: Some(CLAIM_MAX_BYTES as u64),
                        ..Refusal::new(RefusalCode::TooLarge, detail)
                    });
                }
                text.extend_from_slice(bytes);
                Place::Claim(text)
            }
            (Place::Claim(text), Event::PartEnd) => Place::BeforeFile(self.open(&text)?),
            (Place::BeforeFile(mut intake) | Place::BehindFile(mut intake), Event::PartStart { name: "file" }) => {
                intake.start_file()?;
                Place::File(intake)
            }
            (Place::File(mut intake), Event::Data(bytes)) => {
                intake.push(bytes)?;
                Place::File(intake)
            }
            (Place::File(mut intake), Event::PartEnd) => {
                intake.end_file()?;
                Place::BehindFile(intake)
            }
            (Place::BeforeFile(_) | Place::BehindFile(_), Event::PartStart { name: "claim" }) => {
                return Err(malformed("There are two claims. Send exactly one part named `claim`."));
            }
            (_, Event::PartStart { .. }) => {
                return Err(malformed("A part has another name than `claim` or `file`. Send those only."));
            }
            (place, Event::End) => place,
            (_, Event::Data(_) | Event::PartEnd) => return Err(malformed("The parts are out of order.")),
        };
        Ok(())
    }
}

/// UTF-8 JSON, whatever the part said of itself; a byte order mark before it means nothing.
fn read_claim(text: &[u8]) -> Result<Value, Refusal> {
    let text = text.strip_prefix("\u{FEFF}".as_bytes()).unwrap_or(text);
    json::parse(text).map_err(|_| malformed("The claim is no JSON in UTF-8, or a name stands twice in it."))
}

fn malformed(detail: &str) -> Refusal {
    Refusal::new(RefusalCode::Malformed, detail)
}

/// The `Idempotency-Key`, where it is one: 1 to 255 visible ASCII characters, given once.
///
/// # Errors
/// [`RefusalCode::Malformed`].
pub fn read_key<'h>(mut values: impl Iterator<Item = &'h [u8]>) -> Result<Option<String>, Refusal> {
    let Some(key) = values.next() else { return Ok(None) };
    let text = std::str::from_utf8(key).ok().filter(|k| (1..=KEY_MAX_BYTES).contains(&k.len()));
    match text.filter(|k| k.bytes().all(|b| b.is_ascii_graphic())) {
        Some(text) if values.next().is_none() => Ok(Some(text.to_owned())),
        _ => Err(malformed("The Idempotency-Key is given twice, or is not 1 to 255 visible ASCII characters.")),
    }
}

/// What a list is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listing {
    pub stage: Option<Stage>,
    pub after: Option<CaptureId>,
    pub limit: usize,
}

/// Reads `stage=&limit=&cursor=`.
///
/// # Errors
/// [`RefusalCode::Malformed`], by the name of the parameter.
pub fn read_listing(query: &str) -> Result<Listing, Refusal> {
    let mut listing = Listing { stage: None, after: None, limit: LIMIT_DEFAULT };
    let mut errors = Vec::new();
    for pair in query.split('&').filter(|p| !p.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let problem = match name {
            "stage" | "cursor" if value.is_empty() => None,
            "stage" => {
                listing.stage = Stage::from_word(value);
                listing.stage.is_none().then_some("not a stage; see the API description for the words")
            }
            "limit" => {
                let limit = value.parse().ok().filter(|n| (1..=LIMIT_MAX).contains(n));
                listing.limit = limit.unwrap_or(LIMIT_DEFAULT);
                limit.is_none().then_some("not a number from 1 to 200")
            }
            "cursor" => {
                listing.after = value.parse().ok();
                listing.after.is_none().then_some("not a cursor; take `next` of the page before")
            }
            _ => Some("not known here; known are stage, limit, cursor"),
        };
        if let Some(detail) = problem {
            let known = ["stage", "limit", "cursor"].into_iter().find(|k| *k == name).unwrap_or_default();
            errors.push(ClaimError { pointer: known.to_owned(), detail: detail.to_owned() });
        }
    }
    if errors.is_empty() {
        return Ok(listing);
    }
    Err(Refusal { errors, ..malformed("The query cannot be read; `errors` says which parameter.") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_asked_for_in_words_that_are_known() {
        let id = "01J00000000000000000000000";
        let good = read_listing(&format!("stage=held&limit=7&cursor={id}")).unwrap();
        assert_eq!(good, Listing { stage: Some(Stage::Held), after: Some(id.parse().unwrap()), limit: 7 });
        let defaults = Listing { stage: None, after: None, limit: 50 };
        assert_eq!(read_listing("").unwrap(), defaults);
        assert_eq!(read_listing("stage=&cursor=").unwrap(), defaults);
        for bad in ["stage=Held", "limit=0", "limit=201", "limit=", "limit=1e3", "cursor=1", "page=2", "limit=%31"] {
            assert_eq!(read_listing(bad).unwrap_err().errors.len(), 1, "{bad}");
        }
    }

    #[test]
    fn a_key_is_visible_and_given_once() {
        let read = |keys: &[&str]| read_key(keys.iter().map(|k| k.as_bytes())).map_err(|r| r.code);
        assert_eq!(read(&[]), Ok(None));
        assert_eq!(read(&["7b0c-1"]), Ok(Some("7b0c-1".to_owned())));
        for bad in [&["a", "a"][..], &[""], &["a b"], &["\u{fc}"], &[&"k".repeat(256)]] {
            assert_eq!(read(bad), Err(RefusalCode::Malformed), "{bad:?}");
        }
    }
}
