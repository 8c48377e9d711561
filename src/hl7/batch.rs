//! Batches: FHS/BHS … BTS/FTS (HL7 v2.5.1 §2.10.3). Each message inside stands for itself.

/// Most messages taken from one batch. A frame of 1 MiB cannot hold more of any use.
pub const BATCH_MAX_MESSAGES: usize = 10_000;

/// The messages of a frame: of a batch each of its own, else the frame as it is. A batch without
/// a message is one too, so that it gets an answer.
#[must_use]
pub fn split(frame: &[u8]) -> Vec<&[u8]> {
    let head = frame.trim_ascii_start();
    if !(head.starts_with(b"FHS") || head.starts_with(b"BHS")) {
        return vec![frame];
    }
    let mut messages = Vec::new();
    let mut begin = None;
    for (at, line) in lines(head) {
        let starts = line.starts_with(b"MSH");
        let ends = line.starts_with(b"BTS") || line.starts_with(b"FTS") || line.starts_with(b"BHS") || line.starts_with(b"FHS");
        if (starts || ends)
            && let Some(from) = begin.take()
        {
            messages.extend(head.get(from..at));
        }
        if starts && messages.len() < BATCH_MAX_MESSAGES {
            begin = Some(at);
        }
    }
    messages.extend(begin.and_then(|from| head.get(from..)));
    if messages.is_empty() { vec![frame] } else { messages }
}

fn lines(bytes: &[u8]) -> impl Iterator<Item = (usize, &[u8])> {
    let mut at = 0;
    bytes.split(|b| matches!(b, b'\r' | b'\n')).map(move |line| {
        let begin = at;
        at += line.len() + 1;
        (begin, line)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_is_its_messages_and_anything_else_is_itself() {
        let table: &[(&[u8], &[&[u8]])] = &[
            (b"MSH|1\rPID|1", &[b"MSH|1\rPID|1"]),
            (b"FHS|\rBHS|\rMSH|1\rPID|1\rMSH|2\rPID|2\rBTS|2\rFTS|1", &[b"MSH|1\rPID|1\r", b"MSH|2\rPID|2\r"]),
            (b"BHS|\r\nMSH|1\r\nPID|1\r\n", &[b"MSH|1\r\nPID|1\r\n"]),
            (b"BHS|\rBTS|0", &[b"BHS|\rBTS|0"]),
        ];
        for (frame, want) in table {
            assert_eq!(split(frame), *want, "{:?}", String::from_utf8_lossy(frame));
        }
    }
}
