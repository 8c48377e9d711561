//! What the demo writes: its configuration, and what a person reads.

use std::net::SocketAddr;
use std::path::Path;

use super::Target;
use super::folder::Folder;
use super::hospital::{PEOPLE, Person};

/// The claim of the `curl` line: the first of the hospital's people.
#[must_use]
pub fn claim(person: &Person) -> String {
    format!(
        r#"{{"patient":{{"id":"{}","issuer":"HOSP"}},"order":{{"accession":"{}"}},"department":"derm","body_site":{{"code":"85562004","scheme":"SCT","meaning":"Hand"}},"laterality":"L"}}"#,
        person.mrn, person.accession
    )
}

/// The configuration of the demo, as a hospital would write its own.
#[must_use]
pub fn configuration(folder: &Path, archive: &Target) -> String {
    // A JSON string is a basic string of TOML as well.
    let quoted = |text: &str| serde_json::Value::from(text).to_string();
    let path = |name: &str| quoted(&folder.join(name).to_string_lossy());
    format!(
        r#"# Written by `shutterbridge demo` at each start.
[server]
listen     = "127.0.0.1:0"
ops_listen = "127.0.0.1:0"

[limits]
spool_free_min = "64MiB"

[data]
dir      = {data}
key_file = {key}

[site]
institution         = "Demo General Hospital"
timezone            = "Europe/Berlin"
assigning_authority = "HOSP"
uid_root            = "2.25"

[[department]]
id = "derm"
name = "Dermatology"
body_site_required = true

[[department]]
id = "wound"
name = "Wound Care"

[[issuer]]
issuer    = "{issuer}"
audience  = "{audience}"
jwks_file = {jwks}

[hl7]
listen = "127.0.0.1:0"

[lookup]
order           = ["local"]
unknown_patient = "hold"

[[archive]]
name       = "archive"
kind       = "dimse"
address    = {address}
called_ae  = {called_ae}
calling_ae = "SHUTTERBRIDGE"

[audit]
file = {audit}
"#,
        data = path("data"),
        key = path("data.key"),
        issuer = crate::cli::token::DEV_ISSUER,
        audience = crate::cli::token::AUDIENCE,
        jwks = path("jwks.json"),
        address = quoted(&archive.address),
        called_ae = quoted(&archive.called_ae),
        audit = path("audit.log"),
    )
}

/// What a person needs to try it.
pub struct Welcome<'a> {
    pub https: SocketAddr,
    pub mllp: SocketAddr,
    pub ops: SocketAddr,
    pub dev_ca: &'a Path,
    pub folder: &'a Folder,
    pub token: &'a str,
    pub archive: &'a Target,
}

impl Welcome<'_> {
    /// The text before `ready`. The `curl` line is one line, to be copied as it is.
    #[must_use]
    pub fn text(&self) -> String {
        let Self { https, mllp, ops, token, .. } = self;
        let archive = match &self.archive.files {
            Some(files) => format!("built in, keeps what it gets in {}", files.display()),
            None => format!("{} at {}", self.archive.called_ae, self.archive.address),
        };
        let end = if self.folder.is_temporary() {
            "Ctrl-C ends it and leaves nothing behind.".to_owned()
        } else {
            format!("Ctrl-C ends it; {} stays.", self.folder.path().display())
        };
        let people = PEOPLE.iter().map(|p| p.mrn).collect::<Vec<_>>().join(" ");
        format!(
            "Shutterbridge demo: a gateway between a simulated hospital and an archive, on this machine only.\n\
             \n\
             Page      https://{https}/\n\
             Dev CA    {ca}\n\
             Token     {token}\n\
             Archive   {archive}\n\
             Hospital  sends ADT and ORM to {mllp} every few seconds; patients {people}\n\
             Metrics   http://{ops}/metrics\n\
             \n\
             File a photo that has a location in it:\n\
             \n\
             {curl}\n\
             \n\
             {end}\n",
            ca = self.dev_ca.display(),
            curl = self.curl(),
        )
    }

    fn curl(&self) -> String {
        let claim = PEOPLE.first().map(claim).unwrap_or_default();
        format!(
            "curl --cacert {} -H {} -F {} -F {} https://{}/api/v1/captures",
            shell_word(&self.dev_ca.to_string_lossy()),
            shell_quoted(&format!("Authorization: Bearer {}", self.token), '"'),
            shell_quoted(&format!("claim={claim};type=application/json"), '\''),
            shell_word(&format!("file=@{}", curl_name(&self.folder.path().join(super::SAMPLE).to_string_lossy()))),
            self.https
        )
    }
}

/// A file name in curl's `-F` ends at `,` or `;` unless it is quoted.
fn curl_name(name: &str) -> String {
    if name.contains([',', ';', '"', '\\']) {
        return format!("\"{}\"", name.replace('\\', "\\\\").replace('"', "\\\""));
    }
    name.to_owned()
}

/// A word for a POSIX shell: as it is where nothing in it means anything.
fn shell_word(text: &str) -> String {
    let plain = text.chars().all(|c| c.is_ascii_alphanumeric() || "/._-=@:+".contains(c));
    if plain { text.to_owned() } else { shell_quoted(text, '\'') }
}

fn shell_quoted(text: &str, quote: char) -> String {
    if quote == '"' && !text.contains(['"', '\\', '$', '`']) {
        return format!("\"{text}\"");
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_curl_line_survives_a_shell() {
        assert_eq!(shell_word("/tmp/demo-1/ca.pem"), "/tmp/demo-1/ca.pem");
        assert_eq!(shell_word("/tmp/o'hara's demo"), r"'/tmp/o'\''hara'\''s demo'");
        assert_eq!(curl_name("/tmp/a;b,c"), "\"/tmp/a;b,c\"");
    }

    #[test]
    fn the_claim_is_one_that_the_gateway_takes() {
        let value = serde_json::from_str(&claim(&PEOPLE[0])).unwrap();
        assert!(crate::capture::Claim::from_json(&value).is_ok());
    }
}
