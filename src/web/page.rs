//! The words on the pages. Plain ones: what happened, what to do. Every value is escaped.

use std::fmt::Write as _;

use jiff::Timestamp;

use super::fields::{Fields, KINDS, SIDES, Wrong};
use super::pages::{DemoPerson, Department};
use super::session::Session;
use crate::capture::{CaptureId, ItemRecord, MediaKind, Record, Stage};
use crate::dicom::codes;
use crate::pipeline::{Refusal, RefusalCode};

/// A page, around what is special to it.
pub struct Frame<'f> {
    pub institution: &'f str,
    pub session: Option<&'f Session>,
}

/// Text as HTML, safe between tags and in quoted attributes.
#[must_use]
pub fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}

impl Frame<'_> {
    fn page(&self, title: &str, main: &str) -> String {
        let institution = escape(self.institution);
        let who = self.session.map_or(String::new(), |session| {
            let operator = session.permit.operator();
            let name = if operator.name.is_empty() { &operator.subject } else { &operator.name };
            format!(
                "<span class=\"who\">{}</span><form method=\"post\" action=\"/sign-out\"><input type=\"hidden\" name=\"csrf\" value=\"{}\">\
                 <button class=\"plain small\">Sign out</button></form>",
                escape(name),
                escape(&session.csrf)
            )
        });
        format!(
            "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
             <title>{title} – {institution}</title><link rel=\"stylesheet\" href=\"/style.css\"><link rel=\"icon\" href=\"/icon.svg\" type=\"image/svg+xml\">\
             </head><body><header><div class=\"bar\"><a class=\"brand\" href=\"/\"><img src=\"/icon.svg\" alt=\"\">{institution}</a>{who}</div></header>\
             <main>{main}</main><footer>Shutterbridge. Photos go into the record; nothing stays in this browser.</footer></body></html>\n"
        )
    }

    /// Where nobody is signed in. `wrong`: why the last try failed.
    #[must_use]
    pub fn sign_in(&self, wrong: Option<&str>, persons: &[DemoPerson]) -> String {
        let mut main = String::new();
        if let Some(wrong) = wrong {
            let link = Wrong { field: "token", words: wrong.to_owned() };
            main.push_str(&summary("You are not signed in", &[link], None));
        }
        main.push_str(
            "<h1>File photos into the record</h1><p class=\"lead\">Sign in first, so that the record shows who took them.</p>",
        );
        if !persons.is_empty() {
            main.push_str(
                "<form class=\"card\" method=\"post\" action=\"/sign-in\"><h2>Demo: be one of these</h2><div class=\"persons\">",
            );
            for (index, person) in persons.iter().enumerate() {
                let (name, role) = (escape(&person.name), escape(&person.role));
                let _ = write!(
                    main,
                    "<button class=\"plain\" name=\"person\" value=\"{index}\">{name}<small>{role}</small></button>"
                );
            }
            main.push_str("</div></form>");
        }
        let invalid = if wrong.is_some() { " aria-invalid=\"true\"" } else { "" };
        let _ = write!(
            main,
            "<form class=\"card\" method=\"post\" action=\"/sign-in\"><h2>Sign in with a token</h2><div class=\"field\"><label for=\"token\">Token</label>\
             <p class=\"hint\" id=\"token-hint\">From your hospital's sign-in. It is used once, and not stored in this browser.</p>\
             <textarea id=\"token\" name=\"token\" rows=\"4\" required autocomplete=\"off\" autocapitalize=\"off\" spellcheck=\"false\" aria-describedby=\"token-hint\"{invalid}></textarea>\
             </div><button class=\"main\">Sign in</button></form>"
        );
        self.page(if wrong.is_some() { "Error: sign in" } else { "Sign in" }, &main)
    }

    /// The form, with what was written before.
    #[must_use]
    pub fn form(&self, session: &Session, departments: &[Department], fields: &Fields, refused: Option<&Refused>) -> String {
        let wrong = refused.map_or(&[][..], |r| &r.wrong);
        let mut main = String::new();
        if let Some(refused) = refused {
            main.push_str(&summary("Nothing was filed", &refused.wrong, Some(&refused.advice)));
        }
        main.push_str("<h1>File photos</h1><p class=\"lead\">They lose their location and go into the patient's record.</p>");
        let _ = write!(
            main,
            "<form method=\"post\" action=\"/send\" enctype=\"multipart/form-data\"><input type=\"hidden\" name=\"csrf\" value=\"{}\">\
             <input type=\"hidden\" name=\"key\" value=\"{}\">",
            escape(&session.csrf),
            escape(&fields.key)
        );
        main.push_str(&whose(fields, wrong));
        main.push_str(&what(departments, fields, wrong));
        main.push_str(&photos(wrong));
        main.push_str("<button class=\"main\">File photos</button></form>");
        main.push_str(&recent(&session.recent));
        self.page(if refused.is_some() { "Error: file photos" } else { "File photos" }, &main)
    }

    /// How one capture gets on.
    #[must_use]
    pub fn status(&self, record: &Record) -> String {
        let (stage, count) = (record.stage(), record.items.len());
        let (now, then) = stage_words(stage);
        let class = if matches!(stage, Stage::Held | Stage::Discarded) { "stage held" } else { "stage" };
        let photos = if count == 1 { "photo" } else { "photos" };
        let mut main = format!(
            "<h1>{count} {photos}: {}</h1><div class=\"{class}\" role=\"status\"><p class=\"now\">{now}</p><p>{then}</p></div>",
            stage.word()
        );
        for (index, item) in (1..).zip(&record.items) {
            main.push_str(&item_card(index, count, item));
        }
        for note in &record.notes {
            let _ = write!(main, "<p class=\"card\">{}</p>", escape(note));
        }
        let id = record.id();
        let accepted = moment(record.acceptance.accepted_at);
        let study =
            record.study_instance_uid.as_ref().map_or(String::new(), |uid| format!("<dt>Study</dt><dd><code>{uid}</code></dd>"));
        let _ = write!(
            main,
            "<div class=\"card\"><h2>Receipt</h2><dl><dt>Number</dt><dd><code>{id}</code></dd><dt>Received</dt><dd>{accepted}</dd>{study}</dl></div>\
             <div class=\"actions\"><a class=\"button\" href=\"/captures/{id}\">Look again</a><a class=\"button plain\" href=\"/\">File more photos</a></div>"
        );
        self.page("Receipt", &main)
    }

    /// A page that only says what happened.
    #[must_use]
    pub fn notice(&self, title: &str, words: &str, request_id: Option<&str>) -> String {
        let number = request_id
            .map_or(String::new(), |id| format!("<p class=\"hint\">For support: request <code>{}</code></p>", escape(id)));
        let main = format!(
            "<div class=\"summary\" role=\"alert\"><h1>{}</h1><p>{}</p>{number}</div><p><a class=\"button plain\" href=\"/\">Back to the form</a></p>",
            escape(title),
            escape(words)
        );
        self.page(&format!("Error: {}", escape(title)), &main)
    }
}

/// Why a form was not accepted.
pub struct Refused {
    pub wrong: Vec<Wrong>,
    pub advice: String,
}

/// What a person reads of a refusal, where it is not about a field.
#[must_use]
pub fn advice(refusal: &Refusal) -> String {
    let then = match refusal.code {
        RefusalCode::UnsupportedMedia => {
            let kinds = MediaKind::ACCEPTED.map(|k| k.extension().to_uppercase()).join(", ");
            format!("Choose another file, one of these: {kinds}.")
        }
        RefusalCode::DamagedMedia => "Take that photo again.".to_owned(),
        RefusalCode::TooLarge => "Send fewer photos at once, or smaller ones.".to_owned(),
        RefusalCode::Timeout => "Check the network. Then choose the photos and send again.".to_owned(),
        RefusalCode::UnknownPatient => "Check the number, or scan the wristband again.".to_owned(),
        RefusalCode::Conflict => {
            "The same form is still being filed. Wait a moment and send it again: it is filed only once.".to_owned()
        }
        RefusalCode::Busy => "Many people are sending now. Wait a moment and send again.".to_owned(),
        RefusalCode::SpoolFull | RefusalCode::Unavailable => {
            "Keep the photos, tell your IT department, and try again later.".to_owned()
        }
        _ => "Check the form, choose the photos again and send.".to_owned(),
    };
    format!("{} {then}", refusal.detail)
}

fn summary(title: &str, wrong: &[Wrong], advice: Option<&str>) -> String {
    let mut out = format!("<div class=\"summary\" role=\"alert\" tabindex=\"-1\" autofocus><h2>{title}</h2>");
    if wrong.is_empty() {
        let _ = write!(out, "<p>{}</p>", escape(advice.unwrap_or_default()));
    } else {
        out.push_str("<ul>");
        for w in wrong {
            let _ = write!(out, "<li><a href=\"#{}\">{}</a></li>", w.field, escape(&w.words));
        }
        out.push_str("</ul>");
        if wrong.iter().all(|w| w.field != "photo" && w.field != "token") {
            out.push_str("<p>Choose the photos again, too: a browser does not keep them.</p>");
        }
    }
    out.push_str("</div>");
    out
}

/// The error text of a field, and the attributes of its input.
fn marks(field: &str, hint: Option<&str>, wrong: &[Wrong]) -> (String, String) {
    let error = wrong.iter().find(|w| w.field == field);
    let text = error.map_or(String::new(), |w| format!("<p class=\"wrong\" id=\"{field}-wrong\">{}</p>", escape(&w.words)));
    let hint_id = hint.map(|_| format!("{field}-hint"));
    let wrong_id = error.map(|_| format!("{field}-wrong"));
    let ids: Vec<String> = wrong_id.into_iter().chain(hint_id).collect();
    let mut attributes = if ids.is_empty() { String::new() } else { format!(" aria-describedby=\"{}\"", ids.join(" ")) };
    if error.is_some() {
        attributes.push_str(" aria-invalid=\"true\"");
    }
    let hint = hint.map_or(String::new(), |h| format!("<p class=\"hint\" id=\"{field}-hint\">{h}</p>"));
    (format!("{hint}{text}"), attributes)
}

fn option(value: &str, words: &str, chosen: &str) -> String {
    let selected = if value == chosen { " selected" } else { "" };
    format!("<option value=\"{}\"{selected}>{}</option>", escape(value), escape(words))
}

fn whose(fields: &Fields, wrong: &[Wrong]) -> String {
    let kinds: String = KINDS.iter().map(|(value, words)| option(value, words, &fields.kind)).collect();
    let (number_text, number_marks) = marks("number", None, wrong);
    let (birth_text, birth_marks) = marks("birth_date", Some("A second check: it must be the patient's."), wrong);
    format!(
        "<fieldset class=\"card\"><legend>Whose photos</legend><div class=\"field\"><label for=\"kind\">Which number</label><select id=\"kind\" name=\"kind\">{kinds}</select></div>\
         <div class=\"field\"><label for=\"number\">Number</label>{number_text}<input id=\"number\" name=\"number\" value=\"{}\" autocomplete=\"off\" autocapitalize=\"off\" spellcheck=\"false\" maxlength=\"64\" required{number_marks}></div>\
         <div class=\"field\"><label for=\"birth_date\">Birth date (if you know it)</label>{birth_text}<input id=\"birth_date\" name=\"birth_date\" type=\"date\" autocomplete=\"off\" value=\"{}\"{birth_marks}></div></fieldset>",
        escape(&fields.number),
        escape(&fields.birth_date)
    )
}

fn what(departments: &[Department], fields: &Fields, wrong: &[Wrong]) -> String {
    let mut choices = String::new();
    if departments.len() != 1 {
        choices.push_str(&option("", "Choose …", &fields.department));
    }
    choices.extend(departments.iter().map(|d| option(&d.id, &d.name, &fields.department)));
    let mut sites = String::new();
    for site in codes::body_sites().iter().filter(|site| site.is_outside) {
        let _ = write!(sites, "<option value=\"{}\">", escape(site.meaning));
    }
    let lateralities: String = SIDES.iter().map(|(value, words)| option(value, words, &fields.side)).collect();
    let (department_text, department_marks) = marks("department", None, wrong);
    let (site_text, site_marks) = marks("body_site", Some("Type, and choose of the list."), wrong);
    let (laterality_text, laterality_marks) = marks("side", None, wrong);
    let (description_text, description_marks) = marks("description", Some("No names, no numbers."), wrong);
    format!(
        "<fieldset class=\"card\"><legend>What they show</legend>\
         <div class=\"field\"><label for=\"department\">Department</label>{department_text}<select id=\"department\" name=\"department\" required{department_marks}>{choices}</select></div>\
         <div class=\"pair\"><div class=\"field\"><label for=\"body_site\">Body site</label>{site_text}<input id=\"body_site\" name=\"body_site\" list=\"sites\" value=\"{}\" autocomplete=\"off\" maxlength=\"64\"{site_marks}><datalist id=\"sites\">{sites}</datalist></div>\
         <div class=\"field\"><label for=\"side\">Side</label>{laterality_text}<select id=\"side\" name=\"side\"{laterality_marks}>{lateralities}</select></div></div>\
         <div class=\"field\"><label for=\"description\">Description (optional)</label>{description_text}<input id=\"description\" name=\"description\" value=\"{}\" autocomplete=\"off\" maxlength=\"1024\"{description_marks}></div></fieldset>",
        escape(&fields.body_site),
        escape(&fields.description)
    )
}

/// Two inputs of one name: on a phone `capture` opens the camera and nothing else.
fn photos(wrong: &[Wrong]) -> String {
    let accept = MediaKind::ACCEPTED_TYPES.join(",");
    let (photo_text, photo_marks) = marks("photo", None, wrong);
    format!(
        "<fieldset class=\"card\"><legend>Photos</legend>{photo_text}\
         <div class=\"field\"><label for=\"photo\">Take a photo</label><input id=\"photo\" name=\"file\" type=\"file\" accept=\"{accept}\" capture=\"environment\"{photo_marks}></div>\
         <div class=\"field\"><label for=\"photos\">Or choose photos</label><input id=\"photos\" name=\"file\" type=\"file\" accept=\"{accept}\" multiple></div></fieldset>"
    )
}

fn recent(captures: &[(CaptureId, Timestamp)]) -> String {
    if captures.is_empty() {
        return String::new();
    }
    let mut out = String::from(
        "<nav class=\"card\" aria-label=\"Filed in this session\"><h2>Filed in this session</h2><ul class=\"recent\">",
    );
    for (id, at) in captures {
        let _ = write!(
            out,
            "<li><a href=\"/captures/{id}\">{}, number ending in {}</a></li>",
            moment(*at),
            id.to_string().get(20..).unwrap_or_default()
        );
    }
    out.push_str("</ul></nav>");
    out
}

fn item_card(index: usize, count: usize, item: &ItemRecord) -> String {
    let facts = &item.facts;
    let location = if facts.location_found { "Found, and removed" } else { "None was in it" };
    let removed = if facts.removed.is_empty() { "Nothing".to_owned() } else { escape(&facts.removed.join(", ")) };
    let title = if count == 1 { "Photo".to_owned() } else { format!("Photo {index} of {count}") };
    let mut out = format!(
        "<div class=\"card\"><h2>{title}</h2><dl><dt>Stage</dt><dd>{}</dd><dt>Location</dt><dd>{location}</dd><dt>Removed</dt><dd>{removed}</dd>\
         <dt>Size</dt><dd>{}, {}</dd><dt>SOP instance</dt><dd><code>{}</code></dd></dl>",
        item.stage.word(),
        size(facts.size_bytes),
        facts.media.extension().to_uppercase(),
        facts.sop_instance_uid
    );
    if item.legs.len() > 1 {
        let legs: Vec<String> = item.legs.iter().map(|leg| format!("{}: {}", escape(&leg.archive), leg.stage.word())).collect();
        let _ = write!(out, "<p>{}</p>", legs.join(", "));
    }
    if let Some(failure) = &item.failure {
        let again = item.schedule.due.map_or(String::new(), |due| format!(" It is tried again at {}.", moment(due)));
        let _ = write!(
            out,
            "<p class=\"wrong\">{} ({})</p><p>{}{again}</p>",
            escape(&failure.detail),
            failure.code.word(),
            escape(failure.code.advice())
        );
    }
    out.push_str("</div>");
    out
}

fn stage_words(stage: Stage) -> (&'static str, &'static str) {
    match stage {
        Stage::Accepted => ("Safe. You may delete the photos from the phone.", "The patient is being looked up."),
        Stage::Identified => {
            ("Safe. You may delete the photos from the phone.", "The patient was found; the photos are being prepared.")
        }
        Stage::Wrapped => ("Safe. You may delete the photos from the phone.", "Ready for the archive, and on its way."),
        Stage::Forwarded => ("Sent to the archive.", "The archive has taken it."),
        Stage::Committed => ("In the archive.", "The archive has confirmed that it keeps it."),
        Stage::Held => ("Safe, but waiting for a person.", "It does not go on by itself; what to do stands below."),
        Stage::Discarded => ("Discarded by a person.", "It did not go into the record."),
    }
}

/// UTC, to the minute: a shared PC's own clock and zone say nothing.
fn moment(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M UTC").to_string()
}

fn size(bytes: u64) -> String {
    match bytes {
        0..1_000 => format!("{bytes} bytes"),
        1_000..1_000_000 => format!("{} kB", bytes / 1_000),
        _ => format!("{}.{} MB", bytes / 1_000_000, bytes % 1_000_000 / 100_000),
    }
}
