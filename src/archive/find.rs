//! C-FIND as the SCU (PS3.4 §C.4.1): a modality worklist, or an archive, is asked what it has under an
//! accession number.
//!
//! Matching by accession number is optional on a worklist (PS3.4 §K.6.1.2.2), and many ignore keys they
//! do not know: each answer is read for itself, and counts only where it has the number that was asked.

use dicom_core::Tag;
use dicom_dictionary_std::tags;
use dicom_ul::pdu::AssociationRJ;

use super::association::{Association, Context, NoAssociation};
use super::command::{Command, cancel_request, find_request};
use super::dimse::{Options, told_of_association, told_of_clear_text, told_of_echo};
use super::finding::Finding;
use super::message::Assembler;
use super::profile::NATIVE;
use super::studies::{Entry, Studies, Unanswered};
use super::wire::{Fault, Patience};
use crate::capture::order::Code;
use crate::capture::{Identifier, Order, Phi};
use crate::dicom::Fields;
use crate::dicom::query::{Keys, Model, write_identifier};
use crate::hl7::charset::Charset;

/// Answers to one question that are listened to: what a department has in a day, where the peer does
/// not match what is asked. The rest is cancelled.
const ANSWERS_MAX: usize = 500;
/// Numbers of one patient that are asked for one after the other, where the peer does not match accession
/// numbers: few have more, and each takes a question's whole time at worst.
const NUMBERS_MAX: usize = 8;
/// Longest answer, bytes: some ten times what a worklist has to say of one step.
const ANSWER_BYTES_MAX: usize = 64 << 10;
/// Longest number that is read, characters (LO, PS3.5 §6.2): a longer one is nobody's.
const NUMBER_MAX: usize = 64;
/// Characters of a description that are read; objects hold fewer.
const TEXT_MAX: usize = 256;

/// PS3.4 §C.4.1.1.4, PS3.7 §C.
mod status {
    pub const SUCCESS: u16 = 0x0000;
    pub const PENDING: [u16; 2] = [0xFF00, 0xFF01];
}

/// One peer that is asked by C-FIND.
pub struct Find {
    options: Options,
    model: Model,
}

/// How an exchange ended.
enum End {
    Status(u16),
    /// As many answers as are listened to; the rest was cancelled, which it heeded or not.
    TooMany {
        is_over: bool,
    },
}

impl Find {
    /// Connects to nothing yet. `limits.response_ms` is for all answers to a question together.
    #[must_use]
    pub fn new(options: Options, model: Model) -> Self {
        Self { options, model }
    }

    /// `None` where there are as many answers as are listened to.
    fn ask(&self, keys: Keys<'_>, accession: &Phi) -> Result<Option<Vec<Entry>>, Unanswered> {
        let mut association = Association::request_find(&self.options, self.model).map_err(|why| no_association(&why))?;
        let Some(context) = association.context(self.model.sop_class(), &NATIVE) else {
            association.release();
            return Err(Unanswered(format!("it does not take SOP class {}; enable it there", self.model.sop_class())));
        };
        let identifier =
            write_identifier(self.model, keys, context.syntax).map_err(|error| Unanswered(format!("the question: {error}")))?;
        let patience = Patience::from_now(self.options.limits.response_ms);
        let message_id = association.take_message_id();
        let request = find_request(message_id, self.model.sop_class());
        let mut talk = Talk { context, message_id, accession, assembler: Assembler::default(), entries: Vec::new() };
        let heard = association
            .send_message(context.id, &request, &identifier, patience)
            .and_then(|()| talk.hear(&mut association, patience));
        match heard {
            Ok(End::TooMany { is_over: false }) => {
                association.abort();
                Ok(None)
            }
            Ok(end) => {
                association.release();
                match end {
                    End::Status(status::SUCCESS) => Ok(Some(talk.entries)),
                    End::TooMany { .. } => Ok(None),
                    End::Status(status) => Err(Unanswered(format!("it answered C-FIND with status {status:04X}H"))),
                }
            }
            Err(fault) => {
                association.abort();
                Err(Unanswered(format!("it was lost while it was asked: {fault}")))
            }
        }
    }

    /// What the worklist is like, and what of its configuration to change: really connects.
    #[must_use]
    pub fn examine(&self) -> Vec<Finding> {
        let mut association = match Association::request_find(&self.options, self.model) {
            Ok(association) => association,
            Err(why) => return vec![of_a_worklist(&told_of_association(&self.options, &why))],
        };
        let mut findings = vec![told_of_echo(&self.options, &mut association)];
        findings.extend(self.told_of_class(&association, "called_ae"));
        findings.extend(told_of_clear_text(&self.options).as_ref().map(of_a_worklist));
        association.release();
        findings
    }

    /// As [`Find::examine`], for an archive that was looked at already: of this service alone. `key`
    /// asks for it.
    #[must_use]
    pub fn examine_service(&self, key: &'static str) -> Option<Finding> {
        let association = Association::request_find(&self.options, self.model).ok()?;
        let finding = self.told_of_class(&association, key);
        association.release();
        finding.or_else(|| Some(Finding::pass("the archive can be asked for studies")))
    }

    fn told_of_class(&self, association: &Association, key: &'static str) -> Option<Finding> {
        let class = self.model.sop_class();
        let says = format!("SOP class {class} is refused: it cannot be asked, and every capture with an order will wait");
        let fix = "have it enabled there for this AE title, or do not ask";
        association.context(class, &NATIVE).is_none().then(|| Finding::fail(says, key, fix))
    }
}

impl Studies for Find {
    fn under(&self, accession: &Phi, patient_ids: &[Phi]) -> Result<Vec<Entry>, Unanswered> {
        // A number that cannot be asked for is not there.
        let Some(keys) = Keys::of_order(accession.expose()) else { return Ok(Vec::new()) };
        if let Some(entries) = self.ask(keys, accession)? {
            return Ok(entries);
        }
        let too_many = || {
            let why = format!("it gives {ANSWERS_MAX} answers or more to a question for one order; have it match what is asked");
            Unanswered(why)
        };
        // After a merge it may list the patient under a number of before.
        let mut numbers: Vec<&Phi> = Vec::new();
        for number in patient_ids {
            if !numbers.contains(&number) && keys.and_patient(number.expose()).is_some() {
                numbers.push(number);
            }
        }
        let narrowed = numbers.iter().filter_map(|number| keys.and_patient(number.expose())).take(NUMBERS_MAX);
        let answers = narrowed.map(|keys| self.ask(keys, accession)?.ok_or_else(too_many));
        let answers = answers.collect::<Result<Vec<Vec<Entry>>, Unanswered>>()?;
        if answers.is_empty() { Err(too_many()) } else { Ok(answers.concat()) }
    }
}

/// One exchange.
struct Talk<'a> {
    context: Context,
    message_id: u16,
    accession: &'a Phi,
    assembler: Assembler,
    entries: Vec<Entry>,
}

impl Talk<'_> {
    fn hear(&mut self, association: &mut Association, patience: Patience) -> Result<End, Fault> {
        for _ in 0..ANSWERS_MAX {
            let data = match self.next(association, patience)? {
                (status, data) if status::PENDING.contains(&status) => data,
                (status, _) => return Ok(End::Status(status)),
            };
            let is_short = data.len() <= ANSWER_BYTES_MAX;
            let fields = Fields::of(&data, self.context.syntax).filter(|_| is_short);
            let fields = fields.ok_or(Fault::Protocol("an answer cannot be read, or is too long"))?;
            let entry = read_entry(fields);
            if entry.order.accession == *self.accession {
                self.entries.push(entry);
            }
        }
        // Many do not know C-CANCEL, and some break off at it: that they gave too much stands all the same.
        Ok(End::TooMany { is_over: self.cancel(association, patience).unwrap_or(false) })
    }

    /// False where it goes on answering.
    fn cancel(&mut self, association: &mut Association, patience: Patience) -> Result<bool, Fault> {
        association.send_command(self.context.id, &cancel_request(self.message_id), patience)?;
        // What was on its way comes first.
        for _ in 0..ANSWERS_MAX {
            if !status::PENDING.contains(&self.next(association, patience)?.0) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn next(&mut self, association: &mut Association, patience: Patience) -> Result<(u16, Vec<u8>), Fault> {
        let message = association.receive_message(&mut self.assembler, patience)?;
        match message.command {
            Command::FindResponse { message_id, status }
                if message_id == self.message_id && message.context == self.context.id =>
            {
                Ok((status, message.data))
            }
            _ => Err(Fault::Protocol("it answered something else")),
        }
    }
}

fn no_association(why: &NoAssociation) -> Unanswered {
    Unanswered(match why {
        NoAssociation::Unreachable(fault) => format!("it cannot be reached: {fault}"),
        NoAssociation::Aborted => "it aborted the association request; look at its log".to_owned(),
        NoAssociation::Rejected(AssociationRJ { source, .. }) => {
            format!("it rejected the association: {source} (PS3.8 §9.3.4)")
        }
    })
}

/// What is said of an archive's connection, said of a worklist's.
fn of_a_worklist(finding: &Finding) -> Finding {
    let say = |text: &str| text.replace("the archive", "the worklist");
    Finding { says: say(&finding.says), fix: say(&finding.fix), ..finding.clone() }
}

fn read_entry(fields: Fields<'_>) -> Entry {
    let words = Words::of(&fields);
    let issuer = fields.items(tags::ISSUER_OF_ACCESSION_NUMBER_SEQUENCE).into_iter().next();
    let of_issuer = |tag| issuer.map(|item| words.number(&item, tag)).unwrap_or_default();
    let steps = fields.items(tags::SCHEDULED_PROCEDURE_STEP_SEQUENCE);
    let only_step = steps.first().filter(|_| steps.len() == 1);
    let order = Order {
        accession: words.number(&fields, tags::ACCESSION_NUMBER).into(),
        accession_issuer: of_issuer(tags::LOCAL_NAMESPACE_ENTITY_ID),
        accession_issuer_universal_id: of_issuer(tags::UNIVERSAL_ENTITY_ID),
        accession_issuer_universal_id_type: of_issuer(tags::UNIVERSAL_ENTITY_ID_TYPE),
        // As they are: an id that no object can hold tells two procedures apart all the same.
        requested_procedure_id: words.read(&fields, tags::REQUESTED_PROCEDURE_ID).into(),
        scheduled_step_id: only_step.map(|step| words.read(step, tags::SCHEDULED_PROCEDURE_STEP_ID)).unwrap_or_default().into(),
        study_instance_uid: String::from_utf8_lossy(fields.value(tags::STUDY_INSTANCE_UID)).chars().take(TEXT_MAX).collect(),
        procedure: procedure(&fields, &words),
        modality: only_step.map(|step| words.number(step, tags::MODALITY)).unwrap_or_default(),
        requesting_physician: words.text(&fields, tags::REQUESTING_PHYSICIAN).into(),
        ..Order::default()
    };
    let others = fields.items(tags::OTHER_PATIENT_I_DS_SEQUENCE);
    let patient = std::iter::once(&fields).chain(&others).map(|of| identifier(of, &words)).filter(|id| !id.id.is_empty());
    Entry { patient: patient.collect(), order }
}

fn procedure(fields: &Fields<'_>, words: &Words) -> Code {
    let description = words.text(fields, tags::REQUESTED_PROCEDURE_DESCRIPTION);
    let coded = fields.items(tags::REQUESTED_PROCEDURE_CODE_SEQUENCE).into_iter().next();
    let coded = coded.map(|item| Code {
        code: words.number(&item, tags::CODE_VALUE),
        scheme: words.number(&item, tags::CODING_SCHEME_DESIGNATOR),
        meaning: words.text(&item, tags::CODE_MEANING),
    });
    match coded.filter(|code| !code.code.is_empty() && !code.meaning.is_empty()) {
        Some(code) => code,
        None => Code { meaning: description, ..Code::default() },
    }
}

fn identifier(of: &Fields<'_>, words: &Words) -> Identifier {
    let qualifiers = of.items(tags::ISSUER_OF_PATIENT_ID_QUALIFIERS_SEQUENCE).into_iter().next();
    let qualifier = |tag| qualifiers.map(|item| words.number(&item, tag)).unwrap_or_default();
    Identifier {
        id: words.number(of, tags::PATIENT_ID).into(),
        issuer: words.number(of, tags::ISSUER_OF_PATIENT_ID),
        issuer_universal_id: qualifier(tags::UNIVERSAL_ENTITY_ID),
        issuer_universal_id_type: qualifier(tags::UNIVERSAL_ENTITY_ID_TYPE),
        ..Identifier::default()
    }
}

/// Text in the character set that an answer names (PS3.3 §C.12.1.1.2).
struct Words(Option<Charset>);

impl Words {
    fn of(fields: &Fields<'_>) -> Self {
        // The same sets as HL7's, under names of their own.
        let declared = String::from_utf8_lossy(fields.value(tags::SPECIFIC_CHARACTER_SET)).to_uppercase();
        let names: Vec<&str> = declared.split('\\').map(|name| common_name(name.trim())).collect();
        Self(Charset::declared(names.join("\\").as_bytes(), b'\\', b'^').ok())
    }

    /// Empty where it is not there, or is not text in that character set: no letter is guessed.
    fn read(&self, fields: &Fields<'_>, tag: Tag) -> String {
        let bytes = fields.value(tag);
        if bytes.iter().all(|byte| (b' '..=b'~').contains(byte)) {
            return String::from_utf8_lossy(bytes).into_owned();
        }
        let strictly = |charset: Charset| charset.decode(bytes, None).ok().map(|decoded| decoded.text.into_owned());
        let declared = self.0.and_then(strictly);
        // Many that declare JIS X 0201 (ISO_IR 13) write Shift JIS, of which it is a part.
        let shifted =
            || self.0.filter(|set| *set == Charset::Jis).and_then(|_| Charset::named("shift_jis").ok()).and_then(strictly);
        declared.or_else(shifted).unwrap_or_default().trim().to_owned()
    }

    fn text(&self, fields: &Fields<'_>, tag: Tag) -> String {
        self.read(fields, tag).chars().take(TEXT_MAX).collect()
    }

    /// Whole, or not at all.
    fn number(&self, fields: &Fields<'_>, tag: Tag) -> String {
        Some(self.read(fields, tag)).filter(|text| text.chars().count() <= NUMBER_MAX).unwrap_or_default()
    }
}

fn common_name(name: &str) -> &str {
    match name {
        "ISO_IR 166" | "ISO 2022 IR 166" => "windows-874",
        "ISO 2022 IR 58" => "GB18030",
        _ => name.strip_prefix("ISO 2022 ").unwrap_or(name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dicom::Syntax;

    /// Implicit VR elements, in the order given.
    fn set(elements: &[(Tag, &[u8])]) -> Vec<u8> {
        let element = |(tag, value): &(Tag, &[u8])| {
            let length = u32::try_from(value.len()).unwrap();
            [&tag.0.to_le_bytes()[..], &tag.1.to_le_bytes(), &length.to_le_bytes(), value].concat()
        };
        elements.iter().flat_map(element).collect()
    }

    #[test]
    fn text_is_read_in_the_character_set_of_its_own_answer_or_not_at_all() {
        let table: [(&str, &[u8], &str); 12] = [
            ("", b"Wound", "Wound"),
            ("ISO_IR 100", b"H\xE4matom", "Hämatom"),
            ("ISO_IR 101", b"Vy\xB9et\xF8en\xED", "Vyšetření"),
            ("ISO_IR 192", "Ödem".as_bytes(), "Ödem"),
            ("ISO_IR 166", b"\xBC\xD4\xC7\xCB\xB9\xD1\xA7", "ผิวหนัง"),
            ("GB18030", b"\xC6\xA4\xB7\xF4", "皮肤"),
            ("\\ISO 2022 IR 87", b"\x1B$BHiIf\x1B(B", "皮膚"),
            ("ISO_IR 13\\ISO 2022 IR 87", b"\xCB\xCC \x1B$BHiIf\x1B(J", "ﾋﾌ 皮膚"),
            ("ISO_IR 13", b"\x94\xE7\x95\x86", "皮膚"),
            ("SHIFT_JIS", b"\x94\xE7\x95\x86", "皮膚"),
            ("\\ISO 2022 IR 149", b"\x1B$)C\xC7\xC7\xBA\xCE", "피부"),
            ("ISO_IR 999", b"\xC6\xA4", ""),
        ];
        for (charset, bytes, then) in table {
            let bytes =
                set(&[(tags::SPECIFIC_CHARACTER_SET, charset.as_bytes()), (tags::REQUESTED_PROCEDURE_DESCRIPTION, bytes)]);
            let entry = read_entry(Fields::of(&bytes, Syntax::ImplicitLe).unwrap());
            assert_eq!(entry.order.procedure.meaning, then, "{charset}");
        }
    }

    #[test]
    fn procedures_whose_ids_are_too_long_for_an_object_are_told_apart() {
        let id = |last: char| format!("{}{last}", "9".repeat(80));
        let read = |id: &str| {
            let bytes = set(&[(tags::REQUESTED_PROCEDURE_ID, id.as_bytes())]);
            read_entry(Fields::of(&bytes, Syntax::ImplicitLe).unwrap()).order.requested_procedure_id
        };
        for id in ["RP1".to_owned(), "9".repeat(17), id('1'), id('2')] {
            assert_eq!(read(&id).expose(), id);
        }
    }

    #[test]
    fn a_number_that_is_too_long_is_nobodys() {
        let long = "1".repeat(65);
        let bytes = set(&[(tags::PATIENT_ID, long.as_bytes())]);
        assert!(read_entry(Fields::of(&bytes, Syntax::ImplicitLe).unwrap()).patient.is_empty());
    }
}
