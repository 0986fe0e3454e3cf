//! The stream of notices: server-sent events, one JSON [`Notice`] in each `data:` line.

use std::io::{self, BufRead, BufReader, Read};

use hearth_protocol::snapshot::Notice;

use super::ClientError;

/// Longest line accepted: a preview as JSON numbers.
const LINE_LEN_MAX: u64 = 1024 * 1024;

/// Notices as they come. Blocks between them; ends when the node closes the stream.
pub struct Notices {
    reader: BufReader<Box<dyn Read + Send + Sync>>,
}

impl std::fmt::Debug for Notices {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Notices(..)")
    }
}

impl Notices {
    pub(super) fn new(body: Box<dyn Read + Send + Sync>) -> Self {
        Self {
            reader: BufReader::new(body),
        }
    }

    fn next_notice(&mut self) -> io::Result<Option<Notice>> {
        loop {
            let mut line = Vec::new();
            let got = (&mut self.reader)
                .take(LINE_LEN_MAX)
                .read_until(b'\n', &mut line)?;
            if got == 0 {
                return Ok(None);
            }
            if !line.ends_with(b"\n") {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            // Comments keep the connection alive; `event:` and `id:` lines carry nothing here.
            if let Some(json) = line.strip_prefix(b"data:") {
                return serde_json::from_slice(json).map(Some).map_err(Into::into);
            }
        }
    }
}

impl Iterator for Notices {
    type Item = Result<Notice, ClientError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_notice().map_err(ClientError::Notices).transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &'static str) -> Vec<Result<Notice, ClientError>> {
        Notices::new(Box::new(text.as_bytes())).collect()
    }

    #[test]
    fn notices_are_read_between_comments_and_other_fields() {
        let got = read(": hello\n\nevent: notice\ndata: \"changed\"\n\n:\n\ndata:\"changed\"\n\n");
        assert_eq!(got.len(), 2);
        assert!(
            got.iter()
                .all(|notice| matches!(notice, Ok(Notice::Changed)))
        );
    }

    #[test]
    fn broken_lines_are_errors_and_not_notices() {
        assert!(matches!(
            read("data: {\n")[..],
            [Err(ClientError::Notices(_))]
        ));
        assert!(matches!(
            read("data: \"chan")[..],
            [Err(ClientError::Notices(_))]
        ));
    }
}
