//! What lies further back in a log in memory. Times are those that events name themselves.

use super::MemoryStream;
use crate::codec::wire::{self, Assembler, Format};
use crate::features::Rows;
use crate::record::{Offset, Partition, Span};
use crate::stream::{History, Outlet, StreamError};

impl History for MemoryStream {
    fn archived(&mut self, partition: Partition, covers_to: Offset) -> Result<Option<Vec<u8>>, StreamError> {
        self.operate(false, |stream| {
            let mut assembler = Assembler::default();
            for (key, chunk) in stream.log.compacted() {
                if wire::parse_archive_key(&key).is_some_and(|(_, of, up_to, _)| (of, up_to) == (partition, covers_to)) {
                    let whole = assembler.push(&chunk).map_err(|error| StreamError::Stop(error.to_string()))?;
                    if whole.is_some() {
                        return Ok(whole);
                    }
                }
            }
            Ok(None)
        })
    }

    fn at_time(&mut self, partition: Partition, time_ms: i64) -> Result<Offset, StreamError> {
        self.operate(false, |stream| {
            let contents = stream.log.contents();
            let events = contents.events.get(&partition).map_or(&[][..], Vec::as_slice);
            let time = |event: &Vec<u8>| stream.decode.decode(event, &mut Rows::new(stream.columns)).ok()?.timestamp_ms;
            let first = events.iter().position(|event| time(event).is_some_and(|time| time >= time_ms));
            Ok(Offset(first.unwrap_or(events.len()) as i64))
        })
    }

    fn end_of(&mut self, partition: Partition) -> Result<Offset, StreamError> {
        self.operate(false, |stream| Ok(Offset(stream.log.contents().events.get(&partition).map_or(0, Vec::len) as i64)))
    }

    fn surprisals(
        &mut self,
        model_id: &str,
        partition: Partition,
        span: Span,
        format: Format,
    ) -> Result<Vec<(Offset, f64)>, StreamError> {
        self.operate(false, |stream| {
            let messages = stream.log.messages(Outlet::Scores);
            let scores = messages.iter().filter_map(|message| wire::decode_score(message.payload.as_deref()?, format).ok());
            let wanted = scores.filter(|scored| {
                scored.model_id == model_id && scored.partition == partition && span.contains(scored.head.offset)
            });
            Ok(wanted.map(|scored| (scored.head.offset, scored.score.surprisal)).collect())
        })
    }
}
