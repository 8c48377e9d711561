//! Whole messages out of fragments: a command, and its data set where one follows (PS3.7 §6.3,
//! PS3.8 §E.2).

use std::collections::VecDeque;

use super::command::{COMMAND_BYTES_MAX, Command};
use super::wire::{Fault, Fragment, Fragments};

/// Longest data set that is kept in memory, bytes: a commitment report of a thousand instances is
/// a fifth of it.
const DATA_BYTES_MAX: usize = 1 << 20;
/// Messages of one PDU.
const MESSAGES_MAX: usize = 64;

#[derive(Debug)]
pub(super) struct Message {
    pub(super) context: u8,
    pub(super) command: Command,
    /// Empty where no data set follows.
    pub(super) data: Vec<u8>,
}

/// What has come of a message so far.
#[derive(Default)]
pub(super) struct Assembler {
    command: Vec<u8>,
    /// A command whose data set is not complete.
    open: Option<Message>,
    whole: VecDeque<Message>,
}

impl Assembler {
    pub(super) fn next(&mut self) -> Option<Message> {
        self.whole.pop_front()
    }

    pub(super) fn take_all(&mut self, fragments: Fragments<'_>) -> Result<(), Fault> {
        for fragment in fragments {
            self.take(&fragment?)?;
            if self.whole.len() > MESSAGES_MAX {
                return Err(Fault::Protocol("too many messages at once"));
            }
        }
        Ok(())
    }

    fn take(&mut self, fragment: &Fragment<'_>) -> Result<(), Fault> {
        if let Some(message) = &mut self.open {
            if fragment.is_command || fragment.context != message.context {
                return Err(Fault::Protocol("a data set is interrupted"));
            }
            if message.data.len() + fragment.bytes.len() > DATA_BYTES_MAX {
                return Err(Fault::Protocol("a data set is too long"));
            }
            message.data.extend_from_slice(fragment.bytes);
            if fragment.is_last {
                self.whole.extend(self.open.take());
            }
            return Ok(());
        }
        if !fragment.is_command {
            return Err(Fault::Protocol("a data set came without its command"));
        }
        if self.command.len() + fragment.bytes.len() > COMMAND_BYTES_MAX {
            return Err(Fault::Protocol("a command is too long"));
        }
        self.command.extend_from_slice(fragment.bytes);
        if fragment.is_last {
            self.begin(fragment.context)?;
        }
        Ok(())
    }

    fn begin(&mut self, context: u8) -> Result<(), Fault> {
        let parsed = Command::parse_announced(&std::mem::take(&mut self.command));
        let (command, data_follows) = parsed.ok_or(Fault::Protocol("a command cannot be read"))?;
        let message = Message { context, command, data: Vec::new() };
        if data_follows {
            self.open = Some(message);
        } else {
            self.whole.push_back(message);
        }
        Ok(())
    }
}
