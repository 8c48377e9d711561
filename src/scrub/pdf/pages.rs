//! The pages, in their order, under one node; what they inherited is theirs.

use std::collections::BTreeSet;
use std::rc::Rc;

use super::content::{self, Used};
use super::stream::with_length;
use super::write::{Data, deflate, integer, name};
use super::{Job, Planner, Result, too_large};
use crate::media::Fault;
use crate::media::pdf::lexer::{Dict, Object};
use crate::scrub::ScrubError;
use crate::scrub::policy::pdf::{Kind, keys};

/// Pages of one document. A record that was printed whole has some hundreds.
const PAGES_MAX: usize = 10_000;
/// Nodes of the tree, pages among them.
const NODES_MAX: usize = 4 * PAGES_MAX;
const DEPTH_MAX: usize = 64;
/// What is drawn on one page, unpacked. A plan of a building has some ten megabytes.
pub(super) const CONTENT_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Streams that the content of one page is cut into.
const PARTS_MAX: usize = 4096;

/// What a page takes from the nodes above it (table 30).
const INHERITED: [&[u8]; 4] = [b"Resources", b"MediaBox", b"CropBox", b"Rotate"];

/// A page that is still to be written.
pub(super) struct Page {
    number: u32,
    inherited: Rc<Dict>,
}

struct Node {
    number: u32,
    depth: usize,
    inherited: Rc<Dict>,
}

impl Planner<'_> {
    /// Queues the tree and its pages; how many there are.
    pub(super) fn pages(&mut self, catalog: &Dict) -> Result<u32> {
        let damaged = |what| ScrubError::damaged("PDF", Fault(what));
        let Some(Object::Reference(root)) = catalog.get(b"Pages".as_slice()) else {
            return Err(damaged("has no pages").into());
        };
        let pages = self.leaves(*root)?;
        if pages.is_empty() {
            return Err(damaged("has no pages").into());
        }
        // The tree is the first object; its pages follow it.
        let kids: Vec<Object> = (2u32..).take(pages.len()).map(Object::Reference).collect();
        let tree = Dict::from([
            (b"Type".to_vec(), name(b"Pages")),
            (b"Count".to_vec(), integer(pages.len() as u64)),
            (b"Kids".to_vec(), Object::Array(kids)),
        ]);
        let count = u32::try_from(pages.len()).unwrap_or(u32::MAX);
        self.queue(Job::Made(Object::Dict(tree), None))?;
        for page in pages {
            self.queue(Job::Page(Box::new(page)))?;
        }
        Ok(count)
    }

    fn leaves(&mut self, root: u32) -> Result<Vec<Page>> {
        let mut pages = Vec::new();
        let mut nodes = 0usize;
        let mut open: BTreeSet<(usize, u32)> = BTreeSet::new();
        let mut stack = vec![Node { number: root, depth: 0, inherited: Rc::new(Dict::new()) }];
        while let Some(node) = stack.pop() {
            nodes += 1;
            if nodes > NODES_MAX || pages.len() > PAGES_MAX {
                return Err(too_large("more pages than are read").into());
            }
            // A node that is its own ancestor would never end.
            open.retain(|(depth, _)| *depth < node.depth);
            if node.depth > DEPTH_MAX || open.iter().any(|(_, number)| *number == node.number) {
                continue;
            }
            self.used.insert(node.number);
            let loaded = self.document.load(node.number)?;
            let Some(dict) = loaded.value.dict() else { continue };
            let kids = dict.get(b"Kids".as_slice()).cloned();
            let Some(kids) = kids else {
                pages.push(Page { number: node.number, inherited: node.inherited });
                continue;
            };
            let mut inherited = Dict::clone(&node.inherited);
            let own = INHERITED.iter().filter_map(|key| Some((key.to_vec(), dict.get(*key)?.clone())));
            inherited.extend(own);
            let inherited = Rc::new(inherited);
            open.insert((node.depth, node.number));
            let kids = self.document.follow(&kids)?.value;
            for kid in kids.array().unwrap_or_default().iter().rev().take(NODES_MAX) {
                if let Object::Reference(number) = kid {
                    stack.push(Node { number: *number, depth: node.depth + 1, inherited: Rc::clone(&inherited) });
                }
            }
        }
        Ok(pages)
    }

    pub(super) fn page(&mut self, page: &Page) -> Result<Object> {
        let loaded = self.document.load(page.number)?;
        let mut dict = Dict::clone(&page.inherited);
        dict.extend(loaded.value.dict().cloned().unwrap_or_default());
        let contents = dict.remove(b"Contents".as_slice()).unwrap_or(Object::Null);
        let resources = dict.remove(b"Resources".as_slice()).unwrap_or(Object::Null);
        let annotations = dict.remove(b"Annots".as_slice()).unwrap_or(Object::Null);
        let mut kept = Dict::from([(b"Type".to_vec(), name(b"Page")), (b"Parent".to_vec(), Object::Reference(1))]);
        for (key, kind) in keys(Kind::Page).iter().filter(|(key, _)| !matches!(*key, "Type" | "Parent")) {
            let Some(value) = dict.get(key.as_bytes()) else { continue };
            if let Some(value) = self.value(*kind, value, 0)? {
                kept.insert(key.as_bytes().to_vec(), value);
            }
        }
        self.note_keys(Kind::Page, &dict);
        let drawn = self.joined(&contents)?;
        let (bytes, used) = self.draw(&drawn)?;
        if !bytes.is_empty() {
            let packed = Dict::from([(b"Filter".to_vec(), name(b"FlateDecode"))]);
            let (value, data) = with_length(packed, Data::New(deflate(&bytes)));
            let content = self.queue(Job::Made(value, data))?;
            kept.insert(b"Contents".to_vec(), Object::Reference(content));
        }
        let resources = self.resources(&resources, Some(&used))?;
        kept.insert(b"Resources".to_vec(), resources);
        let annotations = self.annotations(&annotations)?;
        if !annotations.is_empty() {
            kept.insert(b"Annots".to_vec(), Object::Array(annotations));
        }
        Ok(Object::Dict(kept))
    }

    /// The streams of a page's content, one behind the other (table 30).
    fn joined(&mut self, contents: &Object) -> Result<Vec<u8>> {
        let found = self.document.follow(contents)?;
        let parts = match &found.value {
            Object::Array(parts) => parts.clone(),
            Object::Dict(_) => vec![contents.clone()],
            _ => Vec::new(),
        };
        if parts.len() > PARTS_MAX {
            return Err(too_large("a page in more parts than are read").into());
        }
        let mut bytes = Vec::new();
        for part in parts {
            let loaded = self.document.follow(&part)?;
            self.used.insert(loaded.number);
            let most = CONTENT_BYTES_MAX.saturating_sub(bytes.len());
            bytes.extend(self.document.unpack(&loaded, most)?);
            bytes.push(b'\n');
        }
        Ok(bytes)
    }

    /// Writes a content anew; what its names lead to.
    pub(super) fn draw(&mut self, source: &[u8]) -> Result<(Vec<u8>, Used)> {
        // Reading operators costs several times what unpacking does.
        self.document.pay_unpacked(3 * source.len() as u64)?;
        let made = content::rewrite(source, &mut |found| self.inline(found))?;
        let words = [(made.lost_comment, "pdf.comments"), (made.lost_other, "pdf.unknown"), (made.lost_mark, "pdf.structure")];
        words.iter().filter(|(is_lost, _)| *is_lost).for_each(|(_, word)| self.findings.remove(word));
        if made.lost_comment {
            self.findings.finder.push(source);
            self.findings.finder.end();
        }
        Ok((made.bytes, made.used))
    }

    /// The resources that a content names; all of them where what is named has none of its own.
    pub(super) fn resources(&mut self, resources: &Object, used: Option<&Used>) -> Result<Object> {
        let found = self.document.follow(resources)?;
        self.used.insert(found.number);
        let found = found.value.dict().cloned().unwrap_or_default();
        self.note_keys(Kind::Resources, &found);
        let mut kept = Dict::new();
        let mut lists = Vec::new();
        for (category, kind) in keys(Kind::Resources) {
            let Some(list) = found.get(category.as_bytes()) else { continue };
            let list = self.document.follow(list)?;
            self.used.insert(list.number);
            let (Some(list), Kind::Map(kind)) = (list.value.dict().cloned(), kind) else { continue };
            lists.push((*category, **kind, list));
        }
        let lends = match used {
            Some(used) => self.lends(&lists, used)?,
            None => true,
        };
        for (category, kind, list) in lists {
            let mut those = Dict::new();
            for (key, value) in list {
                let is_named = used.and_then(|u| u.get(category)).is_some_and(|names| names.contains(&key));
                let is_default = category == "ColorSpace" && key.starts_with(b"Default");
                if !(lends || is_named || is_default) {
                    continue;
                }
                if let Some(value) = self.value(kind, &value, 0)? {
                    those.insert(key, value);
                }
            }
            if !those.is_empty() {
                kept.insert(category.as_bytes().to_vec(), Object::Dict(those));
            }
        }
        Ok(Object::Dict(kept))
    }

    /// True where a form or a font that is used has no resources of its own and so uses these
    /// (§7.8.3).
    fn lends(&mut self, lists: &[(&'static str, Kind, Dict)], used: &Used) -> Result<bool> {
        for (category, _, list) in lists.iter().filter(|(c, ..)| matches!(*c, "XObject" | "Font" | "Pattern")) {
            for name in used.get(category).into_iter().flatten() {
                let Some(value) = list.get(name) else { continue };
                let loaded = self.document.follow(value)?;
                let Some(dict) = loaded.value.dict() else { continue };
                let is = |key: &[u8], word: &[u8]| dict.get(key).and_then(Object::name) == Some(word);
                let is_drawn =
                    is(b"Subtype", b"Form") || is(b"Subtype", b"Type3") || (*category == "Pattern" && loaded.data.is_some());
                if is_drawn && !dict.contains_key(b"Resources".as_slice()) {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }
}
