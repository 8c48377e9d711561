//! `api-spec/dicom-conformance.md` says what the code does: its tables are printed from those that build the
//! objects and read the answers, and the objects are looked at whether they keep them.
//!
//! After a change: `SHUTTERBRIDGE_WRITE=1 cargo nextest run --test conformance` writes the tables anew.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod dicom_fixture;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io::Cursor;

use dicom_core::dictionary::{DataDictionary as _, DataDictionaryEntry as _};
use dicom_core::header::Header as _;
use dicom_core::{Tag, VR};
use dicom_dictionary_std::{StandardDataDictionary, tags};
use dicom_fixture::*;
use dicom_object::InMemDicomObject;
use shutterbridge::archive::status::{MEANINGS, Verdict};
use shutterbridge::capture::claim::{Claim, View};
use shutterbridge::capture::media::Number;
use shutterbridge::capture::record::Manifest;
use shutterbridge::capture::{Binding, Class, FailureCode, Phi};
use shutterbridge::dicom::iod::{self, Iod};
use shutterbridge::dicom::table::{Attribute, Presence};
use shutterbridge::dicom::{
    self, Burst, Cine, IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME, Instance, LossyHistory, LossyMethod, LossyStep,
    Picture, Pixels,
};

// ---- The objects keep the tables --------------------------------------------------------------

/// How often a row was met: in how many data sets it could have been, was there, and was there with a value.
#[derive(Default)]
struct Met {
    possible: u32,
    there: u32,
    filled: u32,
}

/// By the address of the row: a module is one, whatever objects have it.
type Seen = BTreeMap<usize, (String, Presence, Met)>;

fn keyword(tag: Tag) -> &'static str {
    StandardDataDictionary.by_tag(tag).map_or("?", |entry| entry.alias())
}

fn address(row: &Attribute) -> usize {
    std::ptr::from_ref(row) as usize
}

/// Counts one data set against its rows; what has no row is returned.
fn count(seen: &mut Seen, path: &str, rows: &[&Attribute], set: &InMemDicomObject) -> Vec<String> {
    let mut strangers = Vec::new();
    for row in rows {
        let name = format!("{path}{}", keyword(row.tag));
        let (_, _, met) = seen.entry(address(row)).or_insert_with(|| (name, row.presence, Met::default()));
        met.possible += 1;
    }
    for element in set.iter() {
        let Some(row) = rows.iter().find(|row| row.tag == element.tag()) else {
            strangers.push(format!("{path}{}", keyword(element.tag())));
            continue;
        };
        let is_filled = match element.vr() {
            VR::SQ => !element.items().unwrap_or_default().is_empty(),
            VR::OB => true,
            _ => element.to_str().is_ok_and(|text| !text.trim_matches([' ', '\0']).is_empty()),
        };
        let (_, _, met) = seen.get_mut(&address(row)).unwrap();
        met.there += 1;
        met.filled += u32::from(is_filled);
        if element.vr() == VR::SQ {
            let inner: Vec<&Attribute> = row.items.iter().collect();
            for item in element.items().unwrap_or_default() {
                let path = format!("{path}{}>", keyword(row.tag));
                strangers.extend(count(seen, &path, &inner, item));
            }
        }
    }
    strangers
}

fn keeps(presence: Presence, met: &Met) -> bool {
    let Met { possible, there, filled } = *met;
    match presence {
        Presence::Always => possible > 0 && there == possible && filled == possible,
        Presence::ValueNotAlways => there == possible && filled > 0 && filled < possible,
        Presence::NotAlways => filled == there && there > 0 && there < possible,
        Presence::Empty => possible > 0 && there == possible && filled == 0,
        Presence::EmptyNotAlways => filled == 0 && there > 0 && there < possible,
    }
}

fn rows(iod: &Iod) -> Vec<&'static Attribute> {
    let tags: BTreeSet<Tag> = iod.modules.iter().flat_map(|m| m.attributes).map(|a| a.tag).collect();
    tags.into_iter().map(|tag| iod.attribute(tag).unwrap()).collect()
}

fn iod_of(instance: &Instance) -> &'static Iod {
    iod::ALL.iter().find(|iod| iod.sop_class == instance.sop_class.as_str()).unwrap()
}

/// Every number that an Exif block may hold, of so much.
fn exposed(manifest: &mut Manifest, of: i64) {
    let exif = [0x829A, 0x829D, 0x9201, 0x9202, 0x9203, 0x9204, 0x9205, 0x9206, 0x920A, 0xA20B, 0xA215, 0xA404];
    let whole = [
        0x8822, 0x8827, 0x8830, 0x8831, 0x8832, 0x8833, 0x9000, 0x9207, 0x9208, 0x9209, 0xA217, 0xA300, 0xA301, 0xA401, 0xA402,
        0xA403, 0xA405, 0xA406, 0xA407, 0xA408, 0xA409, 0xA40A, 0xA40C,
    ];
    let numbers = exif.map(|tag| (tag, Number::Ratio(of, 60)));
    let codes = whole.map(|tag| (tag, Number::Whole(of)));
    manifest.item.facts.details.exposure = numbers.into_iter().chain(codes).collect();
}

/// Bindings of every kind: all that a hospital may say, and as little as there may be.
fn bindings() -> Vec<Binding> {
    let full = full_binding();
    let mut universal = full_binding();
    let order = universal.order.as_mut().unwrap();
    order.accession_issuer = String::new();
    order.accession_issuer_universal_id = "1.2.7".into();
    order.accession_issuer_universal_id_type = "ISO".into();
    order.procedure.code = "12345678901234567".into();
    universal.study.procedure = order.procedure.clone();
    order.requested_procedure_id = Phi::from("");
    let mut urn = full_binding();
    let order = urn.order.as_mut().unwrap();
    order.procedure.code = "urn:lex:1".into();
    urn.study.procedure = order.procedure.clone();
    order.scheduled_step_id = Phi::from("");
    order.study_instance_uid = String::new();
    let mut uncoded = full_binding();
    let order = uncoded.order.as_mut().unwrap();
    order.accession = Phi::from("");
    order.procedure = shutterbridge::capture::order::Code::default();
    uncoded.patient.other_ids.truncate(1);
    uncoded.patient.other_ids[0].id_type = String::new();
    let mut nameless = bare_binding();
    nameless.site.institution = String::new();
    nameless.site.department_name = String::new();
    nameless.site.department_id = String::new();
    nameless.gateway_version = String::new();
    nameless.study.id = String::new();
    vec![full, universal, urn, uncoded, bare_binding(), nameless]
}

fn claims() -> Vec<Claim> {
    let mut elsewhere = full_claim();
    elsewhere.body_site.as_mut().unwrap().code = "1".into();
    elsewhere.laterality = None;
    let mut form = bare_claim();
    form.view = Some(View::ConsentForm);
    let seen = [full_claim(), bare_claim(), elsewhere.clone()];
    let through_a_dermoscope = |mut claim: Claim| {
        claim.view = Some(View::Dermoscopic);
        claim
    };
    [full_claim(), bare_claim(), elsewhere, form].into_iter().chain(seen.map(through_a_dermoscope)).collect()
}

fn pictures() -> Vec<(Picture, Vec<u8>)> {
    let (colour, grey) = (jpeg(33, 21, 3), jpeg(33, 21, 1));
    let from = Some(LossyStep { method: LossyMethod::Hevc, ratio: 14.2 });
    let plain = jpeg_picture(&colour, 33, 21, 3);
    let profiled = Picture { icc_profile: Some(display_profile(557)), ..plain.clone() };
    vec![
        (Picture { history: LossyHistory::Reencoded { from }, ..plain.clone() }, colour.clone()),
        (Picture { history: LossyHistory::Trimmed, ..plain.clone() }, colour.clone()),
        (plain, colour.clone()),
        (profiled, colour),
        (jpeg_picture(&grey, 33, 21, 1), grey),
        (native_picture(4, 4, 3), noise(4, 4, 3)),
    ]
}

/// The object of a film that lasts two seconds.
fn film(binding: &Binding, of: &Manifest, has_sound: bool) -> (Instance, Vec<u8>) {
    let payload = b"\0\0\0\x08ftyp\0\0\0\x08moov\0\0\0\x08mdat".to_vec();
    let pixels = Pixels::Video { length: payload.len() as u64, syntax: iod::Syntax::Avc41 };
    let picture = Picture { width: 640, height: 480, samples: 3, pixels, history: LossyHistory::Original, icc_profile: None };
    let cine = Cine { frames: 60, seconds: 2.0, picture_bytes: 9_000, has_sound };
    (dicom::build_video(binding, of, &picture, &cine).unwrap(), payload)
}

/// The object of a burst of two stills.
fn burst(binding: &Binding, of: &Manifest, history: LossyHistory, apart_ms: Option<Vec<u64>>) -> (Instance, Vec<u8>) {
    let still = jpeg(33, 21, 3);
    let payload = still.repeat(2);
    let picture = Picture { history, ..jpeg_picture(&payload, 33, 21, 3) };
    let is_of_film = apart_ms.is_some();
    let burst = Burst { still_bytes: vec![still.len() as u64; 2], apart_ms, is_of_film };
    (dicom::build_burst(binding, of, &picture, &burst).unwrap(), payload)
}

/// Objects of every kind, with their payloads.
fn objects() -> Vec<(Instance, Vec<u8>)> {
    let mut all = Vec::new();
    for (binding, claim) in bindings().iter().flat_map(|b| claims().into_iter().map(move |c| (b, c))) {
        let mut of = manifest(claim, 9);
        let is_known = of.acceptance.claim.device.is_some();
        if is_known {
            exposed(&mut of, 1);
        } else {
            of.acceptance.operator.name = String::new();
            of.acceptance.operator.subject = String::new();
        }
        for (picture, payload) in pictures() {
            all.push((dicom::build(binding, &of, &picture).unwrap(), payload.clone()));
            all.push((dicom::build_stand_in(binding, &of, &picture).unwrap(), payload));
        }
        if of.acceptance.claim.body_site.is_some() {
            all.extend([true, false].map(|has_sound| film(binding, &of, has_sound)));
        }
        let from = Some(LossyStep { method: LossyMethod::Hevc, ratio: 14.2 });
        all.push(burst(binding, &of, LossyHistory::Original, Some(vec![0, 150])));
        all.push(burst(binding, &of, LossyHistory::Reencoded { from }, None));
        let document = vec![b'%'; usize::try_from(of.item.sealed_bytes).unwrap()];
        all.push((dicom::build_document(binding, &of).unwrap(), document));
    }
    all
}

#[test]
fn every_object_holds_what_its_table_says_and_nothing_else() {
    let (mut seen, mut kinds) = (Seen::new(), BTreeSet::new());
    for (instance, payload) in objects() {
        let iod = iod_of(&instance);
        let object = dicom_object::from_reader(Cursor::new(file_bytes(&instance, &payload))).unwrap();
        kinds.insert(iod.sop_class);
        let strangers = count(&mut seen, &format!("{}: ", iod.name), &rows(iod), &object);
        assert_eq!(strangers, Vec::<String>::new());
    }
    let broken: Vec<String> = seen
        .values()
        .filter(|(_, presence, met)| !keeps(*presence, met))
        .map(|(name, presence, met)| {
            format!("{name} is {}: there {} and filled {} times of {}", presence.word(), met.there, met.filled, met.possible)
        })
        .collect();
    assert_eq!(broken, Vec::<String>::new());
    assert_eq!(kinds.len(), iod::ALL.len(), "objects of every kind");
    let told = iod::ALL.iter().flat_map(|iod| rows(iod)).map(address).collect::<BTreeSet<_>>();
    assert!(told.iter().all(|row| seen.contains_key(row)), "every row was looked for");
}

#[test]
fn what_only_a_place_could_tell_has_no_row() {
    let of_a_place = |tag: Tag| tag.0 == 0x0016 && matches!(tag.1, 0x002B | 0x004B | 0x004D | 0x0051 | 0x0070..=0x008E);
    for row in iod::ALL.iter().flat_map(|iod| rows(iod)) {
        assert!(!of_a_place(row.tag), "{}", keyword(row.tag));
    }
}

// ---- The statement is what the code prints ----------------------------------------------------

fn syntaxes(context: &[iod::Syntax]) -> String {
    context.iter().map(|s| format!("{} `{}`", s.name(), s.uid())).collect::<Vec<_>>().join(", ")
}

fn storage() -> String {
    let mut out = "| SOP class | made of | modality | presentation contexts proposed |\n|---|---|---|---|\n".to_owned();
    for iod in iod::ALL {
        let contexts = iod.contexts.iter().map(|c| format!("{{{}}}", syntaxes(c))).collect::<Vec<_>>().join("; ");
        let contexts = if contexts.is_empty() { "none: the gateway sends none" } else { &contexts };
        writeln!(out, "| {} Storage `{}` | {} | {} | {contexts} |", iod.name, iod.sop_class, iod.made_of, iod.modality).unwrap();
    }
    out
}

fn services() -> String {
    let native = syntaxes(&[iod::Syntax::ExplicitLe, iod::Syntax::ImplicitLe]);
    format!(
        "| service | SOP class | role | transfer syntaxes |\n|---|---|---|---|\n\
         | Verification | `{}` | SCU; SCP at `dicom.listen` | {native} |\n\
         | Storage Commitment Push Model | `{}`, instance `{}` | SCU; reports also as acceptor with the SCU role, at `dicom.listen` | {native} |\n\
         | Modality Worklist Information Model – FIND | `{}` | SCU, `[lookup.mwl]` | {native} |\n\
         | Study Root Query/Retrieve Information Model – FIND | `{}` | SCU, `study_lookup` of an archive | {native} |\n",
        iod::VERIFICATION,
        iod::STORAGE_COMMITMENT,
        iod::STORAGE_COMMITMENT_INSTANCE,
        iod::WORKLIST_FIND,
        iod::STUDY_ROOT_FIND
    )
}

fn implementation() -> String {
    format!("Implementation Class UID `{IMPLEMENTATION_CLASS_UID}`, version name `{IMPLEMENTATION_VERSION_NAME}`.\n")
}

fn statuses() -> String {
    let mut out = "| status | meaning | clause | what follows |\n|---|---|---|---|\n".to_owned();
    for meaning in MEANINGS {
        let range = match (meaning.first, meaning.last) {
            (0, u16::MAX) => "every other".to_owned(),
            (first, last) if first == last => format!("{first:04X}"),
            (first, last) => format!("{first:04X}–{last:04X}"),
        };
        let then = match meaning.verdict {
            Verdict::Stored => "stored".to_owned(),
            Verdict::StoredWithWarning => "stored; the warning is noted".to_owned(),
            Verdict::Failed(code) => {
                let what = match code.class() {
                    Class::Permanent if code == FailureCode::ArchiveRefusedClass => {
                        "a photo as Secondary Capture (5.1), else held"
                    }
                    Class::Transient => "again, later",
                    Class::Ambiguous => "the same object again under the same UID",
                    Class::Permanent => "held",
                };
                format!("`{}`: {what}", code.word())
            }
        };
        writeln!(out, "| {range} | {} | {} | {then} |", meaning.says, meaning.clause).unwrap();
    }
    out
}

fn line(out: &mut String, depth: usize, row: &Attribute) {
    let entry = StandardDataDictionary.by_tag(row.tag).unwrap();
    let (group, element) = (row.tag.0, row.tag.1);
    let marks = ">".repeat(depth);
    let vr = match row.tag {
        tags::PIXEL_DATA | tags::ENCAPSULATED_DOCUMENT => "OB".to_owned(),
        _ => format!("{:?}", entry.vr()).trim_start_matches("Exact(").trim_end_matches(')').to_owned(),
    };
    let (name, presence, origin) = (entry.alias(), row.presence.word(), row.origin.word());
    writeln!(out, "| {marks}{group:04X},{element:04X} | {name} | {vr} | {presence} | {origin} | {} |", row.says).unwrap();
    for inner in row.items {
        line(out, depth + 1, inner);
    }
}

const HEAD: &str = "| tag | keyword | VR | presence | source | value |\n|---|---|---|---|---|---|\n";

/// Each module once, under the objects that have it.
fn modules() -> String {
    let mut out = String::new();
    let mut told: Vec<*const ()> = Vec::new();
    for module in iod::ALL.iter().flat_map(|iod| iod.modules) {
        let address = std::ptr::from_ref(*module).cast();
        if told.contains(&address) {
            continue;
        }
        told.push(address);
        let has = |iod: &&&Iod| iod.modules.iter().any(|m| std::ptr::from_ref(*m).cast() == address);
        let of: Vec<&str> = iod::ALL.iter().filter(has).map(|iod| iod.name).collect();
        writeln!(out, "### {} (PS3.3 §{})\n\nIn: {}.\n\n{HEAD}", module.name, module.clause, of.join(", ")).unwrap();
        out.truncate(out.trim_end().len());
        out.push('\n');
        for row in module.attributes {
            line(&mut out, 0, row);
        }
        out.push('\n');
    }
    out.truncate(out.trim_end().len());
    out.push('\n');
    out
}

fn iods() -> String {
    let mut out = "| object | modules, in their order |\n|---|---|\n".to_owned();
    for iod in iod::ALL {
        let modules: Vec<&str> = iod.modules.iter().map(|m| m.name).collect();
        writeln!(out, "| {} | {} |", iod.name, modules.join("; ")).unwrap();
    }
    out
}

type Print = fn() -> String;

#[test]
fn the_conformance_statement_is_what_the_code_prints() {
    const PATH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/api-spec/dicom-conformance.md");
    let written = std::fs::read_to_string(PATH).unwrap();
    let tables: [(&str, Print); 6] = [
        ("storage", storage),
        ("services", services),
        ("implementation", implementation),
        ("statuses", statuses),
        ("iods", iods),
        ("modules", modules),
    ];
    let mut made = written.clone();
    for (name, print) in &tables {
        let (begin, end) = (format!("<!-- printed: {name} -->\n"), format!("<!-- end of {name} -->\n"));
        let (before, rest) = made.split_once(&begin).unwrap_or_else(|| panic!("no place for {name}"));
        let (_, behind) = rest.split_once(&end).unwrap_or_else(|| panic!("no end of {name}"));
        made = format!("{before}{begin}\n{}\n{end}{behind}", print());
    }
    if std::env::var_os("SHUTTERBRIDGE_WRITE").is_some() {
        std::fs::write(PATH, &made).unwrap();
        return;
    }
    let first = made.lines().zip(written.lines()).find(|(new, old)| new != old);
    assert!(
        made == written,
        "api-spec/dicom-conformance.md is not what the code does, first at {first:?}; \
         run SHUTTERBRIDGE_WRITE=1 cargo nextest run --test conformance"
    );
}
