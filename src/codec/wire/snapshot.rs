//! Snapshots: the evidence of one partition, with all that a restart needs to trust it.

use std::collections::BTreeSet;

use prost::Message;
use prost::encoding::{DecodeContext, decode_key, skip_field};

use super::{SCHEMA_VERSION, WireError, chunk, proto};
use crate::calibration::Calibrator;
use crate::checkpoint::{Data, Tensor};
use crate::engine::{EventTime, Forgotten, Means, RECENT, Site, Trail};
use crate::features::Kind;
use crate::models::{ColumnSummary, Evidence, Model};
use crate::record::{Offset, Partition, Span};

const MESSAGE: &str = "Snapshot";

/// Tensors and column summaries of a snapshot at most.
const MAX_ENTRIES: usize = 32_768;

/// Offsets are below this, so that those after them are, too.
const MAX_OFFSET: i64 = 1 << 62;

/// Whose evidence a snapshot holds, and since when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotHeader {
    /// Names the posterior.
    pub model_id: String,
    /// The model's kind.
    pub model_kind: String,
    /// The model's fingerprint.
    pub fingerprint: u64,
    /// The topic that events come from.
    pub topic: String,
    /// The partition that gave the evidence.
    pub partition: Partition,
    /// When the snapshot was made, in milliseconds since 1970.
    pub created_ms: i64,
    /// Earlier snapshots of the partition that are kept, the oldest first.
    pub archive: Vec<Archived>,
}

/// An earlier snapshot that is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Archived {
    /// Its `covers_to`, by which it is known.
    pub covers_to: Offset,
    /// Messages that it is cut into.
    pub chunks: u32,
    /// When it was made, in milliseconds since 1970.
    pub created_ms: i64,
}

/// A snapshot read back. [`Snapshot::site`] turns it into a model's evidence.
#[derive(Clone, Debug, PartialEq)]
pub struct Snapshot {
    /// Whose it is.
    pub header: SnapshotHeader,
    /// No event before this offset was ever in the evidence.
    pub begun_at: Offset,
    /// Every event before this offset is in the evidence, but for the forgotten; none from it on.
    pub covers_to: Offset,
    /// Events taken in.
    pub events: u64,
    /// Of these: events of refused blocks.
    pub refused: u64,
    /// Learning steps taken.
    pub step: u64,
    /// How far the events' own time had come.
    pub time: EventTime,
    /// The evidence.
    pub tensors: Vec<Tensor>,
    /// Columns in words.
    pub columns: Vec<ColumnSummary>,
    /// Surprisals seen.
    pub calibrator: Calibrator,
    /// What follows the events one by one.
    pub trail: Vec<Tensor>,
    /// Events that are not to be in the evidence.
    pub forgotten: Vec<Forgotten>,
}

impl Snapshot {
    /// The site that was snapshotted, if it is of `model`'s kind and configuration.
    pub fn site<M: Model>(&self, model: &M) -> Result<Site<M::Evidence>, WireError> {
        let SnapshotHeader { model_id, model_kind, fingerprint, partition, .. } = &self.header;
        if model_kind != model.kind() {
            let (found, expected) = (model_kind.clone(), model.kind());
            return Err(WireError::ModelKind { model_id: model_id.clone(), found, expected });
        }
        let (found, expected) = (*fingerprint, model.fingerprint());
        if found != expected {
            return Err(WireError::Fingerprint { model_id: model_id.clone(), found, expected });
        }
        let misfit = |source| WireError::Checkpoint { model_id: model_id.clone(), partition: *partition, source };
        let evidence = model.restore(&self.tensors).map_err(misfit)?;
        let trail = Trail::restore(&self.trail).map_err(misfit)?;
        let Self { begun_at, covers_to, events, refused, step, .. } = *self;
        let (calibrator, time, forgotten) = (self.calibrator.clone(), self.time.clone(), self.forgotten.clone());
        Ok(Site { evidence, calibrator, trail, begun_at, covers_to, events, refused, step, time, forgotten })
    }
}

/// Messages with their keys that together hold a snapshot of `site`, each with at most `chunk_bytes` of it (and never more than
/// [`MAX_CHUNK_BYTES`](super::MAX_CHUNK_BYTES)).
pub fn encode_snapshot<E: Evidence>(
    header: &SnapshotHeader,
    site: &Site<E>,
    columns: &[ColumnSummary],
    chunk_bytes: usize,
) -> Vec<(String, Vec<u8>)> {
    let (means, weights) = site.calibrator.centroids();
    let (min, max) = site.calibrator.range();
    let snapshot = proto::Snapshot {
        schema_version: SCHEMA_VERSION,
        model_id: header.model_id.clone(),
        model_kind: header.model_kind.clone(),
        model_fingerprint: header.fingerprint,
        topic: header.topic.clone(),
        partition: header.partition.0,
        covers_to: site.covers_to.0,
        events: site.events,
        step: site.step,
        time_ms: site.time.now_ms,
        recent_ms: site.time.recent_ms.clone(),
        created_ms: header.created_ms,
        evidence: site.evidence.tensors().iter().map(tensor_out).collect(),
        columns: columns.iter().map(summary_out).collect(),
        calibrator: Some(proto::Calibrator { means, weights, min, max, withheld: site.calibrator.withheld() }),
        begun_at: site.begun_at.0,
        refused: site.refused,
        forgotten: site.forgotten.iter().map(forgotten_out).collect(),
        archive: header.archive.iter().map(archived_out).collect(),
        trail: site.trail.tensors().iter().map(tensor_out).collect(),
    };
    chunk::cut(&header.model_id, header.partition, &snapshot.encode_to_vec(), chunk_bytes)
}

/// Reads a whole snapshot, as [`Assembler::push`](super::Assembler::push) gave it.
pub fn decode_snapshot(bytes: &[u8]) -> Result<Snapshot, WireError> {
    check_entries(bytes)?;
    let snapshot: proto::Snapshot = super::decode(MESSAGE, bytes)?;
    check_counters(&snapshot)?;
    let calibrator = snapshot.calibrator.ok_or_else(|| field("calibrator", "is missing".into()))?;
    let tensors = snapshot.evidence.into_iter().map(tensor_in).collect::<Result<Vec<_>, _>>()?;
    let trail = snapshot.trail.into_iter().map(tensor_in).collect::<Result<Vec<_>, _>>()?;
    let mut names = BTreeSet::new();
    if let Some(twice) = tensors.iter().chain(&trail).find(|tensor| !names.insert(&tensor.name)) {
        return Err(field("evidence", format!("tensor `{}` occurs twice", twice.name)));
    }
    Ok(Snapshot {
        header: SnapshotHeader {
            model_id: snapshot.model_id,
            model_kind: snapshot.model_kind,
            fingerprint: snapshot.model_fingerprint,
            topic: snapshot.topic,
            partition: Partition(snapshot.partition),
            created_ms: snapshot.created_ms,
            archive: snapshot.archive.iter().map(archived_in).collect(),
        },
        begun_at: Offset(snapshot.begun_at),
        covers_to: Offset(snapshot.covers_to),
        events: snapshot.events,
        refused: snapshot.refused,
        step: snapshot.step,
        time: EventTime { now_ms: snapshot.time_ms, recent_ms: snapshot.recent_ms },
        tensors,
        columns: snapshot.columns.into_iter().map(summary_in).collect::<Result<_, _>>()?,
        calibrator: Calibrator::from_centroids(&calibrator.means, &calibrator.weights, (calibrator.min, calibrator.max))
            .and_then(|sketch| sketch.with_withheld(calibrator.withheld))
            .ok_or_else(|| {
                field(
                    "calibrator",
                    "expected finite means in ascending order within its range, each with a positive weight, and none below 0 withheld".into(),
                )
            })?,
        trail,
        forgotten: snapshot.forgotten.iter().map(forgotten_in).collect::<Result<_, _>>()?,
    })
}

/// Refuses more entries than any model has, before memory is taken for them: an empty one is two bytes here and a hundred there.
fn check_entries(mut bytes: &[u8]) -> Result<(), WireError> {
    let malformed = |error: prost::DecodeError| WireError::Malformed { message: MESSAGE, detail: error.to_string() };
    let mut entries = 0;
    while !bytes.is_empty() {
        let (tag, wire_type) = decode_key(&mut bytes).map_err(malformed)?;
        skip_field(wire_type, tag, &mut bytes, DecodeContext::default()).map_err(malformed)?;
        entries += usize::from(matches!(tag, 11 | 12 | 19));
    }
    if entries > MAX_ENTRIES {
        return Err(field("evidence", format!("{entries} tensors and column summaries, expected at most {MAX_ENTRIES}")));
    }
    Ok(())
}

/// Every event has an offset of its own, and every step an event.
fn check_counters(snapshot: &proto::Snapshot) -> Result<(), WireError> {
    let proto::Snapshot { covers_to, events, step, .. } = *snapshot;
    if !(0..=MAX_OFFSET).contains(&covers_to) {
        return Err(field("covers_to", format!("found {covers_to}, expected 0 to {MAX_OFFSET}")));
    }
    if events > covers_to.unsigned_abs() {
        return Err(field("events", format!("found {events}, expected at most covers_to = {covers_to}")));
    }
    let recent = snapshot.recent_ms.len();
    if recent > RECENT {
        return Err(field("recent_ms", format!("found {recent} times, expected at most {RECENT}")));
    }
    // More than there are events, where some have been forgotten.
    if step > covers_to.unsigned_abs() {
        return Err(field("step", format!("found {step}, expected at most covers_to = {covers_to}")));
    }
    Ok(())
}

fn field(field: &str, detail: String) -> WireError {
    WireError::Field { message: MESSAGE, field: field.into(), detail }
}

fn tensor_out(tensor: &Tensor) -> proto::Tensor {
    let (dtype, data) = match &tensor.data {
        Data::F64(data) => (proto::tensor::DType::F64, data.iter().flat_map(|value| value.to_le_bytes()).collect()),
        Data::I64(data) => (proto::tensor::DType::I64, data.iter().flat_map(|value| value.to_le_bytes()).collect()),
        Data::Text(texts) => (proto::tensor::DType::Text, texts_out(texts)),
    };
    let shape = tensor.shape.iter().map(|length| *length as u64).collect();
    proto::Tensor { name: tensor.name.clone(), dtype: dtype.into(), shape, data }
}

fn texts_out(texts: &[String]) -> Vec<u8> {
    let mut data = Vec::new();
    for text in texts {
        let length = u32::try_from(text.len()).expect("a text comes from a record, which is far below 4 GiB");
        data.extend_from_slice(&length.to_le_bytes());
        data.extend_from_slice(text.as_bytes());
    }
    data
}

fn tensor_in(tensor: proto::Tensor) -> Result<Tensor, WireError> {
    let proto::Tensor { name, dtype, shape, data } = tensor;
    let refuse = |detail: String| field("evidence", format!("tensor `{name}`: {detail}"));
    let decoded = match proto::tensor::DType::try_from(dtype) {
        Ok(proto::tensor::DType::F64) => words(&data).map(|words| Data::F64(words.map(f64::from_le_bytes).collect())),
        Ok(proto::tensor::DType::I64) => words(&data).map(|words| Data::I64(words.map(i64::from_le_bytes).collect())),
        Ok(proto::tensor::DType::Text) => texts_in(&data).map(Data::Text),
        Ok(proto::tensor::DType::DtypeUnspecified) | Err(_) => {
            return Err(refuse(format!("dtype {dtype} is unknown, expected 1 (F64), 2 (I64) or 3 (TEXT)")));
        }
    };
    let decoded = decoded.ok_or_else(|| refuse(format!("its {} bytes are not whole elements of its dtype", data.len())))?;
    // A product that overflows matches no data.
    let elements = shape.iter().try_fold(1_u64, |product, length| product.checked_mul(*length));
    if elements != Some(decoded.len() as u64) {
        return Err(refuse(format!("{} elements do not fill shape {shape:?}", decoded.len())));
    }
    let lengths = shape.iter().map(|length| usize::try_from(*length)).collect::<Result<_, _>>();
    let shape = lengths.map_err(|_| refuse(format!("shape {shape:?} does not fit this machine's memory")))?;
    Ok(Tensor { name, shape, data: decoded })
}

/// The 8-byte words that fill `data`.
fn words(data: &[u8]) -> Option<impl Iterator<Item = [u8; 8]>> {
    let (words, rest) = data.as_chunks::<8>();
    rest.is_empty().then(|| words.iter().copied())
}

fn texts_in(mut data: &[u8]) -> Option<Vec<String>> {
    let mut texts = Vec::new();
    while !data.is_empty() {
        let (length, tail) = data.split_first_chunk()?;
        let (text, tail) = tail.split_at_checked(u32::from_le_bytes(*length) as usize)?;
        texts.push(std::str::from_utf8(text).ok()?.to_owned());
        data = tail;
    }
    Some(texts)
}

fn forgotten_out(forgotten: &Forgotten) -> proto::Forgotten {
    use proto::forgotten::Means as Wire;
    let Forgotten { span, means, at_ms } = *forgotten;
    let means = match means {
        Means::Unlearnt => Wire::Unlearnt,
        Means::Subtracted => Wire::Subtracted,
        Means::Relearnt => Wire::Relearnt,
        Means::RolledBack => Wire::RolledBack,
    };
    proto::Forgotten { from: span.from.0, to: span.to.0, means: means.into(), at_ms }
}

fn forgotten_in(forgotten: &proto::Forgotten) -> Result<Forgotten, WireError> {
    use proto::forgotten::Means as Wire;
    let proto::Forgotten { from, to, means, at_ms } = *forgotten;
    let span = Span { from: Offset(from), to: Offset(to) };
    if span.is_empty() {
        return Err(field("forgotten", format!("offsets {span} are none")));
    }
    let means = match Wire::try_from(means) {
        Ok(Wire::Unlearnt) => Means::Unlearnt,
        Ok(Wire::Subtracted) => Means::Subtracted,
        Ok(Wire::Relearnt) => Means::Relearnt,
        Ok(Wire::RolledBack) => Means::RolledBack,
        Ok(Wire::Unspecified) | Err(_) => return Err(field("forgotten", format!("means {means} are unknown, expected 1 to 4"))),
    };
    Ok(Forgotten { span, means, at_ms })
}

fn archived_out(archived: &Archived) -> proto::Archived {
    let Archived { covers_to, chunks, created_ms } = *archived;
    proto::Archived { covers_to: covers_to.0, chunks, created_ms }
}

fn archived_in(archived: &proto::Archived) -> Archived {
    let proto::Archived { covers_to, chunks, created_ms } = *archived;
    Archived { covers_to: Offset(covers_to), chunks, created_ms }
}

fn summary_out(summary: &ColumnSummary) -> proto::ColumnSummary {
    proto::ColumnSummary {
        name: summary.name.clone(),
        kind: summary.kind.into(),
        observed: summary.observed,
        missing: summary.missing,
        mean: summary.mean,
        standard_deviation: summary.standard_deviation,
        distinct: summary.distinct.map(|distinct| distinct as u64),
    }
}

fn summary_in(summary: proto::ColumnSummary) -> Result<ColumnSummary, WireError> {
    let kinds = [Kind::Number, Kind::Category { capacity: 0 }, Kind::Count, Kind::Boolean, Kind::Timestamp].map(Kind::name);
    let kind = kinds.into_iter().find(|kind| *kind == summary.kind);
    Ok(ColumnSummary {
        kind: kind.ok_or_else(|| {
            field("columns", format!("column `{}` is of kind `{}`, expected one of {kinds:?}", summary.name, summary.kind))
        })?,
        name: summary.name,
        observed: summary.observed,
        missing: summary.missing,
        mean: summary.mean,
        standard_deviation: summary.standard_deviation,
        distinct: summary.distinct.map(|distinct| distinct as usize),
    })
}

#[cfg(test)]
mod tests;
