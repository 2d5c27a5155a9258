//! Dead letters: records that could not be scored, whole, with the reason.

use prost::Message;

use super::proto::{self, dead_letter::Reason as Wire};
use super::{SCHEMA_VERSION, WireError};
use crate::record::{Dead, Head, Offset, Partition, Reason};

const MESSAGE: &str = "DeadLetter";

/// A dead letter read back.
#[derive(Clone, Debug, PartialEq)]
pub struct DeadLetter {
    /// Which model could not score it.
    pub model_id: String,
    /// The topic of the record.
    pub topic: String,
    /// The partition of the record.
    pub partition: Partition,
    /// The record and what is wrong with it.
    pub dead: Dead,
}

impl From<Reason> for Wire {
    fn from(reason: Reason) -> Self {
        match reason {
            Reason::Empty => Self::Empty,
            Reason::TooLarge => Self::TooLarge,
            Reason::InvalidUtf8 => Self::InvalidUtf8,
            Reason::InvalidJson => Self::InvalidJson,
            Reason::NotAnObject => Self::NotAnObject,
            Reason::TooDeep => Self::TooDeep,
            Reason::WrongType => Self::WrongType,
            Reason::OutOfRange => Self::OutOfRange,
        }
    }
}

/// Writes a dead letter into `out`, in place of what it held.
pub fn encode_dead_letter(model_id: &str, topic: &str, partition: Partition, dead: &Dead, out: &mut Vec<u8>) {
    out.clear();
    let letter = proto::DeadLetter {
        schema_version: SCHEMA_VERSION,
        model_id: model_id.into(),
        topic: topic.into(),
        partition: partition.0,
        offset: dead.head.offset.0,
        key: dead.head.key.as_ref().map(|key| key.to_vec()),
        timestamp_ms: dead.head.timestamp_ms,
        payload: dead.payload.clone(),
        payload_bytes: dead.payload_bytes as u64,
        reason: Wire::from(dead.reason).into(),
        detail: dead.detail.clone(),
    };
    letter.encode(out).expect("a Vec grows as needed");
}

/// Reads a dead letter.
pub fn decode_dead_letter(bytes: &[u8]) -> Result<DeadLetter, WireError> {
    let letter: proto::DeadLetter = super::decode(MESSAGE, bytes)?;
    let field = |field: &str, detail: String| WireError::Field { message: MESSAGE, field: field.into(), detail };
    let reason = Reason::ALL.into_iter().find(|reason| i32::from(Wire::from(*reason)) == letter.reason);
    let payload_bytes = usize::try_from(letter.payload_bytes).ok().filter(|bytes| *bytes >= letter.payload.len());
    Ok(DeadLetter {
        model_id: letter.model_id,
        topic: letter.topic,
        partition: Partition(letter.partition),
        dead: Dead {
            head: Head {
                offset: Offset(letter.offset),
                timestamp_ms: letter.timestamp_ms,
                key: letter.key.map(Vec::into_boxed_slice),
            },
            payload_bytes: payload_bytes.ok_or_else(|| {
                field("payload_bytes", format!("found {}, expected at least {}", letter.payload_bytes, letter.payload.len()))
            })?,
            payload: letter.payload,
            reason: reason.ok_or_else(|| field("reason", format!("found {}, expected 1 to 8", letter.reason)))?,
            detail: letter.detail,
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn letter(reason: Reason) -> DeadLetter {
        let head = Head { offset: Offset(i64::MAX), timestamp_ms: Some(-3), key: Some((*b"\xff").into()) };
        let dead = Dead { head, payload: b"{\xff".to_vec(), payload_bytes: 10_000_000, reason, detail: "field `é`".into() };
        DeadLetter { model_id: "m".into(), topic: "t".into(), partition: Partition(2), dead }
    }

    #[test]
    fn every_reason_reads_back() {
        let mut out = b"left over".to_vec();
        for (index, reason) in Reason::ALL.into_iter().enumerate() {
            let letter = letter(reason);
            encode_dead_letter(&letter.model_id, &letter.topic, letter.partition, &letter.dead, &mut out);
            assert_eq!(decode_dead_letter(&out).unwrap(), letter);
            // The contract's order and names are the program's.
            let wire = Wire::try_from(index as i32 + 1).unwrap();
            assert_eq!(wire.as_str_name().to_lowercase(), reason.label());
            assert_eq!(Wire::from(reason), wire);
        }
    }

    #[test]
    fn what_cannot_be_is_refused_by_name() {
        let whole = proto::DeadLetter { schema_version: 1, reason: 1, ..Default::default() };
        let refused = |letter: proto::DeadLetter| decode_dead_letter(&letter.encode_to_vec()).unwrap_err().to_string();
        assert!(decode_dead_letter(&whole.encode_to_vec()).is_ok());
        assert_eq!(
            refused(proto::DeadLetter { reason: 9, ..whole.clone() }),
            "DeadLetter: field `reason`: found 9, expected 1 to 8"
        );
        assert!(
            refused(proto::DeadLetter { payload: vec![0; 3], payload_bytes: 2, ..whole.clone() }).contains("`payload_bytes`")
        );
        assert!(refused(proto::DeadLetter { schema_version: 7, ..whole }).contains("schema version 7"));
    }
}
