//! The effective configuration as TOML.

use std::fmt::Write;

use super::draft::{Draft, Group};
use super::schema::{Key, SECTIONS};

/// TOML that reads back as the same configuration, but for secrets, which are left out.
/// `with_origin`: each line tells where its value comes from.
#[must_use]
pub fn print(draft: &Draft, with_origin: bool) -> String {
    let mut out = String::new();
    for section in SECTIONS {
        for group in draft.of(section.name) {
            if !out.is_empty() {
                out.push('\n');
            }
            let header = if section.many { format!("[[{}]]", section.name) } else { format!("[{}]", section.name) };
            let _ = writeln!(out, "{header}");
            for key in section.keys.iter().filter(|k| k.unbuilt.is_none()) {
                print_key(&mut out, group, key, with_origin);
            }
        }
    }
    out
}

fn print_key(out: &mut String, group: &Group, key: &Key, with_origin: bool) {
    let Some(setting) = group.setting(key.name) else {
        // A twin that is not set says nothing beside the one that is.
        if group.section.twin(key.name).is_none_or(|t| group.setting(t.name).is_none()) {
            let _ = writeln!(out, "# {} is not set: {}", key.name, key.doc);
        }
        return;
    };
    let shown = setting.value.as_ref().and_then(super::value::Value::to_toml);
    let line = match shown {
        Some(value) => format!("{} = {value}", key.name),
        None => format!("# {} is set and not shown", key.name),
    };
    let _ = if with_origin { writeln!(out, "{line} # from {}", setting.origin) } else { writeln!(out, "{line}") };
}
