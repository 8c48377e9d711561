//! One Rust file, read for its structure: just enough of a lexer for `tests/architecture.rs`.
//!
//! Comments, literals and test code are blanked, never removed, so every offset and line number is
//! that of the file. What is left is code, and a plain text search in it is a search in code.

/// A file below `src/`.
pub struct Source {
    /// Relative to `src/`, with `/`.
    pub path: String,
    /// As it stands on disk.
    pub text: String,
    /// Comments, strings, characters and `#[cfg(test)]` items are spaces.
    pub code: String,
    /// Comments and `#[cfg(test)]` items are spaces; literals are still there.
    pub literal: String,
}

/// One function with a body.
pub struct Function {
    pub name: String,
    pub line: usize,
    /// From the line of `fn` to the line of the closing brace, both counted.
    pub lines: usize,
}

/// One path as code names it: `use a::{b, c}` gives `a::b` and `a::c`.
#[derive(Debug, PartialEq, Eq)]
pub struct Path {
    pub segments: Vec<String>,
    pub line: usize,
    pub in_use: bool,
}

impl Source {
    pub fn new(path: &str, text: &str) -> Self {
        let (mut code, mut literal) = (blank(text, false), blank(text, true));
        if path.ends_with("/tests.rs") || path.contains("/tests/") {
            let lines = "\n".repeat(text.lines().count());
            (code, literal) = (lines.clone(), lines);
        }
        for (from, to) in test_items(&code) {
            code = wipe(&code, from, to);
            literal = wipe(&literal, from, to);
        }
        Self { path: path.to_owned(), text: text.to_owned(), code, literal }
    }

    /// `media` of `media/jpeg.rs`, `clock` of `clock.rs`.
    pub fn room(&self) -> &str {
        let head = self.path.split('/').next().unwrap_or_default();
        head.strip_suffix(".rs").unwrap_or(head)
    }

    /// True in the module at `place` and in those below it: `media`, `media/raster`.
    pub fn is_in(&self, place: &str) -> bool {
        self.path.strip_prefix(place).is_some_and(|rest| rest.starts_with(['/', '.']))
    }

    /// How many `super` lead from here to the root: 1 from `media/mod.rs`, 2 from `media/jpeg.rs`.
    pub fn depth(&self) -> usize {
        let module = self.path.trim_end_matches("/mod.rs").trim_end_matches(".rs");
        module.split('/').count()
    }

    pub fn line_of(&self, offset: usize) -> usize {
        self.code[..offset].matches('\n').count() + 1
    }

    /// Where `word` stands in code as a whole word.
    pub fn words(&self, word: &str) -> Vec<usize> {
        let is_name = |c: char| c.is_alphanumeric() || c == '_';
        let whole = |at: usize| {
            !self.code[..at].chars().next_back().is_some_and(is_name)
                && !self.code[at + word.len()..].chars().next().is_some_and(is_name)
        };
        self.code.match_indices(word).map(|(at, _)| at).filter(|at| whole(*at)).collect()
    }

    pub fn functions(&self) -> Vec<Function> {
        let mut found = Vec::new();
        for at in self.words("fn") {
            let rest = self.code[at + 2..].trim_start();
            let name: String = rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            let Some(body) = item_body(&self.code, at) else { continue };
            if name.is_empty() || self.code.as_bytes()[body] == b';' {
                continue; // a function type, or a declaration in a trait
            }
            let line = self.line_of(at);
            found.push(Function { name, line, lines: self.line_of(closing(&self.code, body)) - line + 1 });
        }
        found
    }

    /// Every path of two segments or more, and what `use` brings in.
    pub fn paths(&self) -> Vec<Path> {
        let mut found = Vec::new();
        let mut rest = self.code.clone();
        for at in self.words("use") {
            let Some(end) = self.code[at..].find(';').map(|n| at + n) else { continue };
            let tree = &self.code[at + 3..end];
            if tree.trim_start().starts_with(['<', '(']) {
                continue; // `impl Trait + use<'a>`
            }
            let line = self.line_of(at);
            found.extend(expand(tree).into_iter().map(|segments| Path { segments, line, in_use: true }));
            rest = wipe(&rest, at, end);
        }
        found.extend(inline_paths(&rest));
        found
    }
}

/// `a::{b, c::{self, d as e}}` → `a::b`, `a::c`, `a::c::d`.
fn expand(tree: &str) -> Vec<Vec<String>> {
    let tree = tree.trim();
    let Some(open) = tree.find('{') else {
        let name = tree.split(" as ").next().unwrap_or_default();
        let all = name.split("::").map(str::trim).filter(|s| !s.is_empty() && *s != "self");
        let mut segments: Vec<String> = all.map(str::to_owned).collect();
        if tree.starts_with("self::") {
            segments.insert(0, "self".to_owned());
        }
        return vec![segments];
    };
    let head: Vec<String> = tree[..open].split("::").map(str::trim).filter(|s| !s.is_empty()).map(str::to_owned).collect();
    let inner = &tree[open + 1..closing(tree, open)];
    let (mut depth, mut from, mut branches) = (0, 0, Vec::new());
    for (at, c) in inner.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                branches.push(&inner[from..at]);
                from = at + 1;
            }
            _ => {}
        }
    }
    branches.push(&inner[from..]);
    let filled = branches.into_iter().filter(|b| !b.trim().is_empty());
    filled.flat_map(expand).map(|tail| head.iter().cloned().chain(tail).collect()).collect()
}

fn inline_paths(code: &str) -> Vec<Path> {
    let is_name = |c: char| c.is_alphanumeric() || c == '_' || c == ':';
    let mut found = Vec::new();
    for (number, line) in code.lines().enumerate() {
        for token in line.split(|c| !is_name(c)) {
            let segments: Vec<String> =
                token.split("::").filter(|s| !s.is_empty()).map(|s| s.trim_matches(':').to_owned()).collect();
            let from_a_name = token.starts_with(|c: char| c.is_alphabetic() || c == '_');
            if token.contains("::") && from_a_name {
                found.push(Path { segments, line: number + 1, in_use: false });
            }
        }
    }
    found
}

/// Where the item at `at` opens its body or ends without one: the `;` of `[u8; 4]` is neither.
fn item_body(code: &str, at: usize) -> Option<usize> {
    let mut depth = 0;
    for (n, c) in code[at..].char_indices() {
        match c {
            '(' | '[' => depth += 1,
            ')' | ']' => depth -= 1,
            '{' | ';' if depth == 0 => return Some(at + n),
            _ => {}
        }
    }
    None
}

/// Offset of the brace that closes the one at `open`, or the end of the text.
fn closing(code: &str, open: usize) -> usize {
    let mut depth = 0;
    for (at, c) in code[open..].char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => continue,
        }
        if depth == 0 {
            return open + at;
        }
    }
    code.len().saturating_sub(1)
}

/// From each `#[cfg(test)]` to the end of the item below it.
fn test_items(code: &str) -> Vec<(usize, usize)> {
    let mut found = Vec::new();
    for (at, _) in code.match_indices("#[cfg(test)]") {
        let Some(end) = item_body(code, at) else { continue };
        let end = if code.as_bytes()[end] == b'{' { closing(code, end) } else { end };
        found.push((at, end + 1));
    }
    found
}

/// The same text with spaces from `from` to `to`; the lines stay.
fn wipe(text: &str, from: usize, to: usize) -> String {
    let gap: String = text[from..to].bytes().map(|b| if b == b'\n' { '\n' } else { ' ' }).collect();
    format!("{}{gap}{}", &text[..from], &text[to..])
}

/// Blanks comments, and literals unless `keep_literals`. Bytes stay where they were.
fn blank(text: &str, keep_literals: bool) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let before = out.chars().next_back();
        let (length, is_comment) = match c {
            '/' if rest.starts_with("//") => (rest.find('\n').unwrap_or(rest.len()), true),
            '/' if rest.starts_with("/*") => (block_comment(rest), true),
            '"' => (quoted(rest, 1), false),
            '\'' => (character(rest), false),
            'r' | 'b' | 'c' if !before.is_some_and(|b| b.is_alphanumeric() || b == '_') => (prefixed(rest), false),
            _ => (0, false),
        };
        let taken = if length == 0 { c.len_utf8() } else { length };
        let piece = &rest[..taken];
        if length == 0 || (keep_literals && !is_comment) {
            out.push_str(piece);
        } else {
            out.extend(piece.bytes().map(|b| if b == b'\n' { '\n' } else { ' ' }));
        }
        rest = &rest[taken..];
    }
    out
}

fn block_comment(rest: &str) -> usize {
    let (mut depth, mut at) = (0_usize, 0);
    let bytes = rest.as_bytes();
    while at < bytes.len() {
        match bytes.get(at..at + 2) {
            Some(b"/*") => (depth, at) = (depth + 1, at + 2),
            Some(b"*/") => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            return at;
        }
    }
    rest.len()
}

/// Length of a string whose opening quote ends at `from`.
fn quoted(rest: &str, from: usize) -> usize {
    let mut escaped = false;
    for (at, c) in rest[from..].char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return from + at + 1,
            _ => {}
        }
    }
    rest.len()
}

/// Length of a character literal; 0 for a lifetime.
fn character(rest: &str) -> usize {
    let mut chars = rest.char_indices().skip(1);
    match (chars.next(), chars.next()) {
        (Some((_, '\\')), Some((at, c))) => {
            let from = at + c.len_utf8();
            rest[from..].find('\'').map_or(0, |n| from + n + 1)
        }
        (Some(_), Some((at, '\''))) => at + 1,
        _ => 0,
    }
}

/// `r"…"`, `r#"…"#`, `b"…"`, `br"…"`, `c"…"`, `b'…'`; 0 for a name that only begins so.
fn prefixed(rest: &str) -> usize {
    let prefix = rest.len() - rest.trim_start_matches(['r', 'b', 'c']).len();
    let body = &rest[prefix..];
    let hashes = body.len() - body.trim_start_matches('#').len();
    let is_raw = rest[..prefix].contains('r');
    if prefix > 2 {
        0
    } else if is_raw && body[hashes..].starts_with('"') {
        let from = prefix + hashes + 1;
        let end = format!("\"{}", "#".repeat(hashes));
        rest[from..].find(&end).map_or(rest.len(), |n| from + n + end.len())
    } else if body.starts_with('"') && !is_raw {
        quoted(rest, prefix + 1)
    } else if rest.starts_with("b'") {
        1 + character(body)
    } else {
        0
    }
}
