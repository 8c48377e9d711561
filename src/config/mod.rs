//! The configuration: a file, then the environment, then flags.
//!
//! Owns: the schema, the layers, the rules between keys, what is told of mistakes.
//! Never: opens a door, makes a key or a certificate; decides what an option is for.

mod build;
mod draft;
pub mod options;
mod print;
pub mod problem;
mod schema;

pub mod value;

mod layers;

use std::ffi::OsString;
use std::io::Read;
use std::path::{Path, PathBuf};

pub use layers::ENVIRONMENT_PREFIX;
pub use options::Config;
pub use problem::{Origin, Problem, Problems};
pub use value::{Secret, Space};

use draft::{Draft, Place};
use value::Raw;

/// A configuration is a page or two; a larger file is something else.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Where a configuration is read from.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// `None`: the defaults, with relative paths relative to the current folder.
    pub file: Option<PathBuf>,
    pub environment: Vec<(OsString, OsString)>,
    /// Of `--set section.key=value`, without the `--set`.
    pub flags: Vec<String>,
}

impl Sources {
    /// That file alone.
    #[must_use]
    pub fn of_file(path: &Path) -> Self {
        Self { file: Some(path.to_owned()), ..Self::default() }
    }
}

/// A configuration without a problem.
#[derive(Clone, Debug)]
pub struct Loaded {
    pub config: Config,
    /// What starts, but is probably not meant.
    pub warnings: Vec<Problem>,
    draft: Draft,
}

impl Loaded {
    /// Where a key is set, else where its table stands: for who tells what to change. `index`
    /// counts the entries of a list.
    #[must_use]
    pub fn origin(&self, section: &str, index: usize, key: &str) -> Origin {
        self.draft.of(section).nth(index).map_or(Origin::Default, |group| match group.origin_of(key) {
            Origin::Default => group.origin.clone(),
            origin => origin,
        })
    }

    /// The effective configuration as TOML, without secrets.
    #[must_use]
    pub fn print(&self, with_origin: bool) -> String {
        print::print(&self.draft, with_origin)
    }
}

/// Reads all layers and checks them.
///
/// # Errors
/// Everything that is wrong, at once.
pub fn load(sources: &Sources) -> Result<Loaded, Problems> {
    let folder = sources.file.as_deref().and_then(Path::parent).unwrap_or(Path::new(""));
    let folder = std::path::absolute(if folder.as_os_str().is_empty() { Path::new(".") } else { folder });
    let mut draft = Draft::new(folder.unwrap_or_default());
    if let Some(path) = &sources.file {
        let name = path.display().to_string();
        match read_file(path) {
            Ok(text) => layers::lay_file(&mut draft, &name, &text),
            Err(why) => draft.wrong(Origin::Default, format!("{name}: {why}")),
        }
    }
    draft.next_layer();
    layers::lay_environment(&mut draft, &sources.environment);
    layers::lay_flags(&mut draft, &sources.flags);
    add_default_department(&mut draft);
    draft.fill_defaults();
    build::check(&mut draft);
    finish(draft)
}

fn finish(mut draft: Draft) -> Result<Loaded, Problems> {
    // In the order of the file; the sort is stable, so a layer keeps its own order.
    draft.problems.sort_by(|a, b| a.origin.cmp(&b.origin));
    if !draft.problems.is_empty() {
        return Err(Problems(draft.problems));
    }
    match build::build(&draft) {
        Some(config) => Ok(Loaded { config, warnings: build::warnings(&draft), draft }),
        None => Err(Problems(vec![Problem {
            origin: Origin::Default,
            text: "a value is missing, and the check for it as well: this is a mistake in the gateway, please report it"
                .to_owned(),
        }])),
    }
}

fn add_default_department(draft: &mut Draft) {
    if draft.of("department").next().is_some() {
        return;
    }
    let (id, name) = schema::DEFAULT_DEPARTMENT;
    for (key, text) in [("id", id), ("name", name)] {
        let place = Place { section: "department", index: Some(0), key };
        draft.set(place, &Raw::Bare(text.to_owned()), Origin::Default);
    }
}

fn read_file(path: &Path) -> Result<String, String> {
    let file = std::fs::File::open(path).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => "there is no such file; name your configuration with --config FILE".to_owned(),
        std::io::ErrorKind::PermissionDenied => "this user may not read it".to_owned(),
        _ => error.to_string(),
    })?;
    let mut bytes = Vec::new();
    file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err("is longer than 1 MiB, which no configuration is".to_owned());
    }
    String::from_utf8(bytes).map_err(|_| "is not UTF-8".to_owned())
}
