//! The layers: the file, then the environment, then flags.

use std::ffi::OsString;
use std::sync::Arc;

use toml_edit::{Document, Item, TableLike};

use super::draft::{Draft, Place, unknown_key, unknown_section};
use super::problem::Origin;
use super::schema::{SECTIONS, Section, UNBUILT_SECTIONS};
use super::value::Raw;
use crate::cli::suggest::closest;

/// Variables that begin like this are the gateway's; one that is not known is a mistake.
pub const ENVIRONMENT_PREFIX: &str = "SHUTTERBRIDGE__";

/// Lays the text of a file over the draft.
pub fn lay_file(draft: &mut Draft, name: &str, text: &str) {
    let name: Arc<str> = Arc::from(name);
    let text = text.strip_prefix('\u{FEFF}').unwrap_or(text);
    let document = match Document::parse(text) {
        Ok(document) => document,
        Err(error) => {
            let line = error.span().map_or(1, |s| line_of(text, s.start));
            let why = error.message().lines().next().unwrap_or_default();
            draft.wrong(Origin::File { name, line }, format!("not TOML: {why}"));
            return;
        }
    };
    FileLayer { draft, name, text }.read(None, None, document.as_table());
}

struct FileLayer<'a> {
    draft: &'a mut Draft,
    name: Arc<str>,
    text: &'a str,
}

impl FileLayer<'_> {
    /// Reads one table: its keys and the sections within it.
    fn read(&mut self, section: Option<&'static Section>, index: Option<usize>, table: &dyn TableLike) {
        for (key, item) in table.iter() {
            let origin = self.origin(table, key, item);
            let full = section.map_or_else(|| key.to_owned(), |s| format!("{}.{key}", s.name));
            if let Some(inner) = Section::named(&full) {
                self.read_section(inner, item, &origin);
            } else if let Some(known) = section.and_then(|s| s.key(key).map(|k| (s, k.name))) {
                let (section, key) = known;
                self.draft.set(Place { section: section.name, index, key }, &raw(item), origin);
            } else {
                self.draft.wrong(origin, unknown(section, key, &full, item));
            }
        }
    }

    fn read_section(&mut self, section: &'static Section, item: &Item, origin: &Origin) {
        let name = section.name;
        match (section.many, entries(item), item.as_table_like()) {
            (true, Some(entries), _) => {
                for entry in entries {
                    let at = self.draft.of(name).count();
                    self.draft.open(section, self.entry_origin(entry, origin));
                    self.read(Some(section), Some(at), entry.table);
                }
            }
            (true, None, Some(_)) => self.draft.wrong(origin.clone(), format!("{name} is a list; write [[{name}]]")),
            (false, _, Some(table)) => {
                self.draft.open(section, origin.clone());
                self.read(Some(section), None, table);
            }
            (false, Some(_), None) => self.draft.wrong(origin.clone(), format!("{name} is no list; write [{name}]")),
            (_, None, None) => {
                let header = if section.many { format!("[[{name}]]") } else { format!("[{name}]") };
                self.draft.wrong(origin.clone(), format!("{name} is a section, not a value; write {header}"));
            }
        }
    }

    fn origin(&self, table: &dyn TableLike, key: &str, item: &Item) -> Origin {
        let key_span = table.get_key_value(key).and_then(|(k, _)| k.span());
        self.at(key_span.or_else(|| item.span()).map_or(0, |s| s.start))
    }

    fn entry_origin(&self, entry: Entry<'_>, otherwise: &Origin) -> Origin {
        entry.start.map_or_else(|| otherwise.clone(), |start| self.at(start))
    }

    fn at(&self, offset: usize) -> Origin {
        Origin::File { name: Arc::clone(&self.name), line: line_of(self.text, offset) }
    }
}

/// One table of a list.
#[derive(Clone, Copy)]
struct Entry<'i> {
    table: &'i dyn TableLike,
    start: Option<usize>,
}

/// The tables of `[[name]]` or of `name = [{…}]`.
fn entries(item: &Item) -> Option<Vec<Entry<'_>>> {
    if let Some(tables) = item.as_array_of_tables() {
        return Some(tables.iter().map(|t| Entry { table: t, start: t.span().map(|s| s.start) }).collect());
    }
    let inline = item.as_array()?.iter();
    inline.map(|v| v.as_inline_table().map(|t| Entry { table: t, start: t.span().map(|s| s.start) })).collect()
}

fn unknown(section: Option<&'static Section>, key: &str, full: &str, item: &Item) -> String {
    let as_written = |dotted: &str| format!("`{}`", dotted.rsplit('.').next().unwrap_or(dotted));
    let is_table = item.as_table_like().is_some() || item.as_array_of_tables().is_some();
    match section {
        Some(section) if !is_table => unknown_key(section, key, as_written),
        None if !is_table => unknown_section("", key, as_written),
        _ => {
            let is_unbuilt = UNBUILT_SECTIONS.iter().any(|(name, _)| *name == full);
            let near = closest(full, SECTIONS.iter().map(|s| s.name)).filter(|_| !is_unbuilt);
            match near.and_then(Section::named) {
                Some(s) if s.many => format!("[{full}] is not a section; did you mean [[{}]]?", s.name),
                Some(s) => format!("[{full}] is not a section; did you mean [{}]?", s.name),
                None => unknown_section(full, key, as_written),
            }
        }
    }
}

fn raw(item: &Item) -> Raw {
    item.as_value().map_or(Raw::Other("a table"), raw_value)
}

fn raw_value(value: &toml_edit::Value) -> Raw {
    use toml_edit::Value;
    match value {
        Value::String(text) => Raw::Text(text.value().clone()),
        Value::Integer(number) => Raw::Integer(*number.value()),
        Value::Boolean(flag) => Raw::Flag(*flag.value()),
        Value::Array(list) => Raw::List(list.iter().map(raw_value).collect()),
        Value::Float(_) => Raw::Other("a number with a fraction"),
        Value::Datetime(_) => Raw::Other("a date"),
        Value::InlineTable(_) => Raw::Other("a table"),
    }
}

fn line_of(text: &str, offset: usize) -> usize {
    1 + text.bytes().take(offset).filter(|b| *b == b'\n').count()
}

/// Lays the gateway's variables over the draft; others are not looked at.
pub fn lay_environment(draft: &mut Draft, variables: &[(OsString, OsString)]) {
    let mut found = Vec::new();
    for (name, value) in variables {
        let Some(name) = name.to_str().filter(|n| n.starts_with(ENVIRONMENT_PREFIX)) else { continue };
        let origin = Origin::Environment(name.to_owned());
        let dotted = name.strip_prefix(ENVIRONMENT_PREFIX).unwrap_or_default().replace("__", ".").to_lowercase();
        let spell = |key: &str| format!("{ENVIRONMENT_PREFIX}{}", key.replace('.', "__").to_uppercase());
        match (Draft::find(&dotted.split('.').collect::<Vec<_>>(), spell), value.to_str()) {
            (Ok(place), Some(value)) => found.push((place, origin, Raw::Bare(value.to_owned()))),
            (Ok(_), None) => draft.wrong(origin, "is not UTF-8"),
            (Err(why), _) => draft.wrong(origin, why),
        }
    }
    // Entry 2 of a list comes before entry 10, whatever order the system keeps.
    found.sort_by_key(|(place, origin, _)| (place.section, place.index, origin.clone()));
    for (place, origin, raw) in found {
        draft.set(place, &raw, origin);
    }
}

/// Lays `key=value` flags over the draft, in their order; of two for one key the later wins.
pub fn lay_flags(draft: &mut Draft, flags: &[String]) {
    for flag in flags {
        draft.next_layer();
        let (dotted, value) = flag.split_once('=').map_or((flag.as_str(), None), |(k, v)| (k.trim(), Some(v)));
        let origin = Origin::Flag(dotted.to_owned());
        let spell = |key: &str| format!("--set {key}=…");
        match (Draft::find(&dotted.split('.').collect::<Vec<_>>(), spell), value) {
            (Ok(place), Some(value)) => draft.set(place, &Raw::Bare(value.to_owned()), origin),
            (Ok(_), None) => draft.wrong(origin, format!("has no value; write --set {dotted}=VALUE")),
            (Err(why), _) => draft.wrong(origin, why),
        }
    }
}
