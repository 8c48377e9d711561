//! `queue`: the desk from a shell. The journal belongs to the running gateway, so this is a client
//! of its API like any other.

use std::io::{BufRead, Write};

use serde_json::{Value, json};

use super::args::{QueueArgs, QueueAsk};
use super::client::{Answer, Client};
use super::status;
use crate::capture::Stage;

/// What waits, most urgent first: what `ls` shows where no stage is asked for.
const WAITING: [Stage; 4] = [Stage::Held, Stage::Accepted, Stage::Identified, Stage::Wrapped];
/// Captures per question.
const PAGE: usize = 200;
/// Captures that `ls` shows at most: more is nothing for a shell.
const ROWS_MAX: usize = 10_000;

/// Asks the gateway and prints what it answers. `input` is read where the patient is `-`.
pub fn run(args: &QueueArgs, input: &mut dyn BufRead, out: &mut dyn Write, err: &mut dyn Write) -> u8 {
    match answer(args, input, err).and_then(|text| write!(out, "{text}").and_then(|()| out.flush()).map_err(|e| e.to_string())) {
        Ok(()) => status::DONE,
        Err(why) => {
            let _ = writeln!(err, "{why}");
            status::FAILED
        }
    }
}

fn answer(args: &QueueArgs, input: &mut dyn BufRead, err: &mut dyn Write) -> Result<String, String> {
    let client = Client::new(&args.to, &args.token_file, args.ca.as_deref())?;
    let (id, act, body) = match &args.ask {
        QueueAsk::List { stage } => return list(&client, *stage, args.json, err),
        QueueAsk::Show { id } => {
            let capture = told(&client.ask("GET", &format!("/api/v1/captures/{id}"), "")?)?;
            return Ok(if args.json { format!("{capture}\n") } else { show(&capture) });
        }
        QueueAsk::Retry { id, reason } => (id, "retry", json!({ "reason": reason })),
        QueueAsk::Hold { id, reason } => (id, "hold", json!({ "reason": reason })),
        QueueAsk::Discard { id, reason } => (id, "discard", json!({ "reason": reason })),
        QueueAsk::Assign { id, reason, patient, issuer } => {
            let patient = json!({ "id": patient_number(patient, input)?, "issuer": issuer });
            (id, "assign", json!({ "reason": reason, "patient": patient }))
        }
    };
    let capture = told(&client.ask("POST", &format!("/api/v1/captures/{id}/{act}"), &body.to_string())?)?;
    Ok(if args.json { format!("{capture}\n") } else { row(&capture) })
}

/// `-`: the first line of the input, because whoever lists the processes of this machine reads
/// its command lines.
fn patient_number(given: &str, input: &mut dyn BufRead) -> Result<String, String> {
    if given != "-" {
        return Ok(given.to_owned());
    }
    let mut line = String::new();
    input.read_line(&mut line).map_err(|e| format!("The patient's number cannot be read: {e}"))?;
    Ok(line.trim().to_owned())
}

/// What the gateway answers, or why it refuses.
fn told(answer: &Answer) -> Result<Value, String> {
    let value: Value = serde_json::from_slice(&answer.body)
        .map_err(|_| format!("What answers there is no gateway: status {} and no JSON.", answer.status))?;
    if (200..300).contains(&answer.status) {
        return Ok(value);
    }
    let mut text = format!("{} ({}): {}", word(&value, "title"), word(&value, "code"), word(&value, "detail"));
    for error in list_of(&value, "errors") {
        text = format!("{text}\n  {}: {}", word(error, "pointer"), word(error, "detail"));
    }
    Err(text)
}

fn list(client: &Client, stage: Option<Stage>, as_json: bool, err: &mut dyn Write) -> Result<String, String> {
    let stages = stage.map_or_else(|| WAITING.to_vec(), |stage| vec![stage]);
    let mut captures = Vec::new();
    for stage in stages {
        let mut cursor = String::new();
        loop {
            let path = format!("/api/v1/captures?stage={}&limit={PAGE}&cursor={cursor}", stage.word());
            let mut page = told(&client.ask("GET", &path, "")?)?;
            if let Some(Value::Array(items)) = page.get_mut("items").map(Value::take) {
                captures.extend(items);
            }
            let Some(next) = page.get("next").and_then(Value::as_str) else { break };
            if captures.len() >= ROWS_MAX {
                let _ = writeln!(err, "There are more; these are the first {}. Ask by --stage.", captures.len());
                break;
            }
            next.clone_into(&mut cursor);
        }
    }
    if as_json {
        return Ok(format!("{}\n", json!({ "items": captures })));
    }
    Ok(if captures.is_empty() { "Nothing waits.\n".to_owned() } else { captures.iter().map(row).collect() })
}

/// One line: id, stage, when it was accepted, items, and what the first failure says.
fn row(capture: &Value) -> String {
    let items = list_of(capture, "items");
    let failure = items.iter().map(|item| item.get("failure").unwrap_or(&Value::Null)).find(|f| !f.is_null());
    let why = failure.map_or_else(String::new, |f| format!("  {}: {}", word(f, "code"), word(f, "detail")));
    let accepted: String = word(capture, "accepted_at").chars().take(19).collect();
    let (id, stage, count) = (word(capture, "id"), word(capture, "stage"), items.len());
    format!("{id}  {stage:<10}  {accepted}  {count:>3}{why}\n")
}

/// One capture, for a person.
fn show(capture: &Value) -> String {
    let mut text = row(capture);
    for item in list_of(capture, "items") {
        text = format!("{text}  {}  {}  {}\n", word(item, "id"), word(item, "stage"), word(item, "media"));
        let legs = list_of(item, "legs");
        for leg in legs {
            let form = if word(leg, "form") == "stand-in" { "  as a Secondary Capture" } else { "" };
            text = format!("{text}    to {}  {}{form}\n{}", word(leg, "archive"), word(leg, "stage"), trouble(leg, "      "));
        }
        if legs.is_empty() {
            text.push_str(&trouble(item, "    "));
        }
    }
    for note in list_of(capture, "notes") {
        text = format!("{text}  note: {}\n", note.as_str().unwrap_or_default());
    }
    for event in list_of(capture, "history") {
        let by = event.get("by").and_then(Value::as_str).map_or_else(String::new, |by| format!(" by {by}"));
        let why = event.get("why").and_then(Value::as_str).map_or_else(String::new, |why| format!("  {why}"));
        let to = event.get("archive").and_then(Value::as_str).map_or_else(String::new, |name| format!(" to {name}"));
        text = format!("{text}  {}  {}  {}{to}{by}{why}\n", word(event, "at"), word(event, "item"), word(event, "stage"));
    }
    text
}

/// What went wrong with an item, or on one of its legs.
fn trouble(of: &Value, indent: &str) -> String {
    let Some(failure) = of.get("failure").filter(|f| !f.is_null()) else { return String::new() };
    let attempts = failure.get("attempts").and_then(Value::as_u64).unwrap_or(0);
    let next = failure.get("next_try_at").and_then(Value::as_str).unwrap_or("when a person acts");
    let (code, detail, advice) = (word(failure, "code"), word(failure, "detail"), word(failure, "advice"));
    format!("{indent}{code}: {detail}\n{indent}{advice}\n{indent}attempts {attempts}, next {next}\n")
}

fn word<'v>(value: &'v Value, name: &str) -> &'v str {
    value.get(name).and_then(Value::as_str).unwrap_or_default()
}

fn list_of<'v>(value: &'v Value, name: &str) -> &'v [Value] {
    value.get(name).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}
