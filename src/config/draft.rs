//! A configuration while its layers are laid over each other.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::problem::{Origin, Problem};
use super::schema::{Fallback, Key, SECTIONS, Section};
use super::value::{Raw, Value};
use crate::cli::suggest::closest;

/// Most entries of one list; a hospital has fewer departments.
const ENTRIES_MAX: usize = 1_000;

/// One key that somebody set, or its default. `value` is absent where it could not be read: the
/// problem was told then.
#[derive(Clone, Debug)]
pub struct Setting {
    pub value: Option<Value>,
    pub origin: Origin,
    layer: u8,
}

/// One table.
#[derive(Clone, Debug)]
pub struct Group {
    pub section: &'static Section,
    pub origin: Origin,
    settings: BTreeMap<&'static str, Setting>,
}

impl Group {
    #[must_use]
    pub fn setting(&self, key: &str) -> Option<&Setting> {
        self.settings.get(key)
    }

    #[must_use]
    pub fn value(&self, key: &str) -> Option<&Value> {
        self.settings.get(key)?.value.as_ref()
    }

    /// Where `key` was set, else where its table stands.
    #[must_use]
    pub fn origin_of(&self, key: &str) -> Origin {
        self.settings.get(key).map_or_else(|| self.origin.clone(), |s| s.origin.clone())
    }

    /// True where somebody set it, rightly or wrongly.
    #[must_use]
    pub fn is_set(&self, key: &str) -> bool {
        self.settings.get(key).is_some_and(|s| s.origin != Origin::Default)
    }
}

/// All tables, and what was found wrong on the way.
#[derive(Clone, Debug)]
pub struct Draft {
    pub groups: Vec<Group>,
    pub problems: Vec<Problem>,
    /// What relative paths are relative to.
    pub folder: PathBuf,
    layer: u8,
}

/// A place in the configuration: a key of a section, of the entry `index` where it is a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    pub section: &'static str,
    pub index: Option<usize>,
    pub key: &'static str,
}

impl Draft {
    #[must_use]
    pub fn new(folder: PathBuf) -> Self {
        let single = SECTIONS.iter().filter(|s| !s.many);
        let groups = single.map(|section| Group { section, origin: Origin::Default, settings: BTreeMap::new() }).collect();
        Self { groups, problems: Vec::new(), folder, layer: 0 }
    }

    /// What is set from now on wins over what was set before.
    pub fn next_layer(&mut self) {
        self.layer += 1;
    }

    pub fn wrong(&mut self, origin: Origin, text: impl Into<String>) {
        self.problems.push(Problem { origin, text: text.into() });
    }

    pub fn of<'d>(&'d self, section: &'d str) -> impl Iterator<Item = &'d Group> {
        self.groups.iter().filter(move |g| g.section.name == section)
    }

    /// The table of a section that is no list.
    #[must_use]
    pub fn one(&self, section: &str) -> Option<&Group> {
        self.groups.iter().find(|g| g.section.name == section)
    }

    /// Notes where a table stands in the file.
    pub fn open(&mut self, section: &'static Section, origin: Origin) {
        if section.many {
            if self.of(section.name).count() < ENTRIES_MAX {
                self.groups.push(Group { section, origin, settings: BTreeMap::new() });
            } else {
                self.wrong(origin, format!("more than {ENTRIES_MAX} entries of [[{}]]", section.name));
            }
        } else if let Some(group) = self.groups.iter_mut().find(|g| g.section.name == section.name) {
            group.origin = origin;
        }
    }

    /// Sets one key, after reading the value by its kind.
    pub fn set(&mut self, place: Place, raw: &Raw, origin: Origin) {
        let Some((section, key)) = Section::named(place.section).and_then(|s| Some((s, s.key(place.key)?))) else {
            return;
        };
        let full = full_name(place);
        let read = match key.unbuilt {
            Some(what) => Err(format!("{full}: {what} is not built yet; remove the key")),
            None => key.kind.read(raw, &self.folder).map_err(|why| format!("{full} {why}")),
        };
        let value = read.map_err(|why| self.wrong(origin.clone(), why)).ok();
        if section.many && self.of(section.name).count() == place.index.unwrap_or(0) {
            self.open(section, origin.clone());
        }
        let layer = self.layer;
        let nth = place.index.unwrap_or(0);
        let Some(group) = self.groups.iter_mut().filter(|g| g.section.name == section.name).nth(nth) else {
            self.wrong(origin, format!("{full}: entries are counted from 0, without gaps"));
            return;
        };
        let twin = section.twin(key.name).map(|t| t.name);
        if let Some(twin) = twin
            && let Some(other) = group.settings.get(twin)
        {
            if other.layer == layer {
                self.wrong(origin, format!("{full}: {twin} is set as well; keep one of them"));
                return;
            }
            group.settings.remove(twin);
        }
        group.settings.insert(key.name, Setting { value, origin, layer });
    }

    /// Fills in what nobody set.
    pub fn fill_defaults(&mut self) {
        let mut problems = Vec::new();
        for group in &mut self.groups {
            for key in group.section.keys {
                let twin_set = group.section.twin(key.name).is_some_and(|t| group.settings.contains_key(t.name));
                if group.settings.contains_key(key.name) || twin_set {
                    continue;
                }
                if let Some(problem) = default_of(group, key) {
                    problems.push(problem);
                }
                if let Fallback::Text(text) = key.fallback
                    && let Ok(value) = key.kind.read(&Raw::Bare(text.to_owned()), &self.folder)
                {
                    let setting = Setting { value: Some(value), origin: Origin::Default, layer: 0 };
                    group.settings.insert(key.name, setting);
                }
            }
        }
        self.problems.append(&mut problems);
    }

    /// Finds the place that `parts` name: `server.listen`, or `archive.0.address` in a list.
    ///
    /// # Errors
    /// What is unknown, with what was probably meant; `spell` writes a dotted key as the layer does.
    pub fn find(parts: &[&str], spell: impl Fn(&str) -> String) -> Result<Place, String> {
        let Some((key, path)) = parts.split_last() else {
            return Err("names no key".to_owned());
        };
        let (path, index) = match path.split_last() {
            Some((last, rest)) if !last.is_empty() && last.bytes().all(|b| b.is_ascii_digit()) => (rest, last.parse().ok()),
            _ => (path, None),
        };
        let name = path.join(".");
        let Some(section) = Section::named(&name) else {
            return Err(unknown_section(&name, key, spell));
        };
        let Some(found) = section.key(key) else {
            return Err(unknown_key(section, key, spell));
        };
        match (section.many, index) {
            (true, None) => {
                Err(format!("{name} is a list: name an entry by its number from 0, {}", spell(&format!("{name}.0.{key}"))))
            }
            (false, Some(_)) => Err(format!("{name} is no list; did you mean {}?", spell(&format!("{name}.{key}")))),
            (true, Some(_)) | (false, None) => Ok(Place { section: section.name, index, key: found.name }),
        }
    }
}

fn default_of(group: &Group, key: &Key) -> Option<Problem> {
    let text = format!("[[{}]] has no {}: {}", group.section.name, key.name, key.doc);
    (key.fallback == Fallback::Required).then(|| Problem { origin: group.origin.clone(), text })
}

fn full_name(place: Place) -> String {
    match place.index {
        Some(index) => format!("{}[{index}].{}", place.section, place.key),
        None => format!("{}.{}", place.section, place.key),
    }
}

/// What to say of a key that its section does not have.
pub fn unknown_key(section: &Section, key: &str, spell: impl Fn(&str) -> String) -> String {
    let what = format!("{}.{} is not a key", section.name, printable(key));
    if let Some(near) = closest(key, section.keys.iter().map(|k| k.name)) {
        let entry = if section.many { ".0" } else { "" };
        return format!("{what}; did you mean {}?", spell(&format!("{}{entry}.{near}", section.name)));
    }
    if let Some(home) = SECTIONS.iter().find(|s| s.key(key).is_some()) {
        return format!("{what}; {key} belongs to [{}]", home.name);
    }
    let known: Vec<&str> = section.keys.iter().filter(|k| k.unbuilt.is_none()).map(|k| k.name).collect();
    format!("{what}; [{}] has {}", section.name, known.join(", "))
}

/// What to say of a section that there is not. `key` is what was to be set in it.
pub fn unknown_section(name: &str, key: &str, spell: impl Fn(&str) -> String) -> String {
    let name = printable(name);
    if let Some((_, what)) = super::schema::UNBUILT_SECTIONS.iter().find(|(n, _)| *n == name) {
        return format!("{what} is not built yet; remove [{name}]");
    }
    if let Some(near) = closest(&name, SECTIONS.iter().map(|s| s.name)) {
        let entry = if Section::named(near).is_some_and(|s| s.many) { ".0" } else { "" };
        return format!("[{name}] is not a section; did you mean {}?", spell(&format!("{near}{entry}.{key}")));
    }
    if let Some(home) = SECTIONS.iter().find(|s| name.is_empty() && s.key(key).is_some()) {
        return format!("{key} stands in no section; it belongs to [{}]", home.name);
    }
    let known: Vec<&str> = SECTIONS.iter().map(|s| s.name).collect();
    format!("[{name}] is not a section; there are {}", known.join(", "))
}

fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(60).collect()
}
