//! Scores: the one message that is written for every event, so it is written without allocating.

mod account;
mod change;

use std::fmt;

use base64::Engine as _;
use base64::display::Base64Display;
use base64::engine::general_purpose::STANDARD;
use prost::encoding::{WireType, bool as boolean, double, encode_key, encode_varint, int32, int64, message, uint32, uint64};
use serde::{Deserialize, Serialize, Serializer};

pub use account::ContributionForm;
use account::{PredictionForm, finite_prediction, written_explanation};
pub use change::ChangeForm;

use super::{Format, SCHEMA_VERSION, WireError, proto};
use crate::drift::Change;
use crate::engine::Score;
use crate::models::Explanation;
use crate::record::{Head, Offset, Partition};

const MESSAGE: &str = "Score";

/// A score read back.
#[derive(Clone, Debug, PartialEq)]
pub struct Scored {
    /// Which model gave it.
    pub model_id: String,
    /// The topic of the event.
    pub topic: String,
    /// The partition of the event.
    pub partition: Partition,
    /// Which event it is.
    pub head: Head,
    /// What it was found to be.
    pub score: Score,
}

/// Writes a score into `out`, in place of what it held.
///
/// A surprisal or standard deviation that is not finite (an event that the model holds to be impossible) is written as the greatest
/// finite number: neither JSON nor those who sum up scores have an infinity.
pub fn encode_score(
    model_id: &str,
    topic: &str,
    partition: Partition,
    head: &Head,
    score: &Score,
    format: Format,
    out: &mut Vec<u8>,
) {
    out.clear();
    let surprisal = if score.surprisal.is_nan() { f64::MAX } else { score.surprisal.clamp(f64::MIN, f64::MAX) };
    let surprisal_sd = if score.surprisal_sd.is_nan() { f64::MAX } else { score.surprisal_sd.min(f64::MAX) };
    let score = Score {
        surprisal,
        surprisal_sd,
        tail_probability: score.tail_probability,
        alert: score.alert,
        severity: score.severity,
        rarity: score.rarity,
        step: score.step,
        prediction: finite_prediction(score.prediction),
        explanation: score.explanation.as_deref().map(|explanation| Box::new(written_explanation(explanation))),
        changes: score.changes.clone(),
    };
    match format {
        Format::Json => json(model_id, topic, partition, head, &score, out),
        Format::Protobuf => protobuf(model_id, topic, partition, head, &score, out),
    }
}

/// The bytes that `proto::Score::encode` would give, from borrowed parts: fields in order, zeros left out.
fn protobuf(model_id: &str, topic: &str, partition: Partition, head: &Head, score: &Score, out: &mut Vec<u8>) {
    fn bytes(tag: u32, bytes: &[u8], out: &mut Vec<u8>) {
        encode_key(tag, WireType::LengthDelimited, out);
        encode_varint(bytes.len() as u64, out);
        out.extend_from_slice(bytes);
    }
    uint32::encode(1, &SCHEMA_VERSION, out);
    if !model_id.is_empty() {
        bytes(2, model_id.as_bytes(), out);
    }
    if !topic.is_empty() {
        bytes(3, topic.as_bytes(), out);
    }
    if partition.0 != 0 {
        int32::encode(4, &partition.0, out);
    }
    if head.offset.0 != 0 {
        int64::encode(5, &head.offset.0, out);
    }
    if let Some(key) = &head.key {
        bytes(6, key, out);
    }
    if let Some(timestamp_ms) = &head.timestamp_ms {
        int64::encode(7, timestamp_ms, out);
    }
    // A negative zero is not the default, so that every float survives bit for bit.
    if score.surprisal.to_bits() != 0 {
        double::encode(8, &score.surprisal, out);
    }
    if score.tail_probability.to_bits() != 0 {
        double::encode(9, &score.tail_probability, out);
    }
    if score.step != 0 {
        uint64::encode(10, &score.step, out);
    }
    if score.surprisal_sd.to_bits() != 0 {
        double::encode(11, &score.surprisal_sd, out);
    }
    if score.alert {
        boolean::encode(12, &true, out);
    }
    if let Some(prediction) = score.prediction {
        message::encode(13, &proto::Prediction::from(prediction), out);
    }
    if let Some(explanation) = score.explanation.as_deref() {
        message::encode(14, &proto::Explanation::from(explanation), out);
    }
    if score.severity.to_bits() != 0 {
        double::encode(15, &score.severity, out);
    }
    score.changes.iter().for_each(|change| message::encode(16, &proto::RegimeChange::from(change), out));
    if score.rarity.to_bits() != 0 {
        double::encode(17, &score.rarity, out);
    }
}

/// The JSON form, to be written. A key that is not UTF-8 goes as Base64.
#[derive(Serialize)]
struct JsonOut<'a> {
    schema_version: u32,
    model_id: &'a str,
    topic: &'a str,
    partition: i32,
    offset: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "base64")]
    key_base64: Option<&'a [u8]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    timestamp_ms: Option<i64>,
    surprisal: f64,
    surprisal_sd: f64,
    tail_probability: f64,
    posterior_step: u64,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    alert: bool,
    #[serde(skip_serializing_if = "is_zero")]
    severity: f64,
    #[serde(skip_serializing_if = "is_zero")]
    rarity: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    prediction: Option<PredictionForm>,
    #[serde(skip_serializing_if = "Option::is_none")]
    contributions: Option<Vec<ContributionForm>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    nearest: Option<&'a str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    changes: Vec<ChangeForm>,
}

fn is_zero(number: &f64) -> bool {
    *number == 0.0
}

fn base64<S: Serializer>(bytes: &Option<&[u8]>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&Base64Display::new(bytes.unwrap_or_default(), &STANDARD))
}

fn json(model_id: &str, topic: &str, partition: Partition, head: &Head, score: &Score, out: &mut Vec<u8>) {
    let key = head.key.as_deref().map(|key| std::str::from_utf8(key).map_err(|_| key));
    let form = JsonOut {
        schema_version: SCHEMA_VERSION,
        model_id,
        topic,
        partition: partition.0,
        offset: head.offset.0,
        key: key.and_then(Result::ok),
        key_base64: key.and_then(Result::err),
        timestamp_ms: head.timestamp_ms,
        surprisal: score.surprisal,
        surprisal_sd: score.surprisal_sd,
        tail_probability: score.tail_probability,
        posterior_step: score.step,
        alert: score.alert,
        severity: score.severity,
        rarity: score.rarity,
        prediction: score.prediction.map(PredictionForm::from),
        contributions: score
            .explanation
            .as_deref()
            .map(|explanation| explanation.contributions.iter().map(ContributionForm::from).collect()),
        nearest: score.explanation.as_deref().and_then(|explanation| explanation.nearest.as_deref()),
        changes: score.changes.iter().map(ChangeForm::from).collect(),
    };
    serde_json::to_writer(out, &form).expect("a Vec takes any bytes, and the form's keys are texts");
}

/// The JSON form, to be read.
#[derive(Deserialize)]
struct JsonIn {
    model_id: String,
    topic: String,
    partition: i32,
    offset: i64,
    key: Option<String>,
    key_base64: Option<String>,
    timestamp_ms: Option<i64>,
    surprisal: f64,
    surprisal_sd: f64,
    tail_probability: f64,
    posterior_step: u64,
    #[serde(default)]
    alert: bool,
    #[serde(default)]
    severity: f64,
    #[serde(default)]
    rarity: f64,
    prediction: Option<PredictionForm>,
    contributions: Option<Vec<ContributionForm>>,
    nearest: Option<String>,
    #[serde(default)]
    changes: Vec<ChangeForm>,
}

#[derive(Deserialize)]
struct JsonVersion {
    schema_version: u32,
}

/// Reads a score.
pub fn decode_score(bytes: &[u8], format: Format) -> Result<Scored, WireError> {
    let scored = match format {
        Format::Json => from_json(bytes)?,
        Format::Protobuf => from_protobuf(super::decode(MESSAGE, bytes)?),
    };
    if !scored.score.surprisal.is_finite() {
        return Err(field("surprisal", format!("found {}, expected a finite number", scored.score.surprisal)));
    }
    let sd = scored.score.surprisal_sd;
    if !sd.is_finite() || sd < 0.0 {
        return Err(field("surprisal_sd", format!("found {sd}, expected a finite number from zero up")));
    }
    if !(0.0..=1.0).contains(&scored.score.tail_probability) {
        return Err(field("tail_probability", format!("found {}, expected 0 to 1", scored.score.tail_probability)));
    }
    for (name, number) in [("severity", scored.score.severity), ("rarity", scored.score.rarity)] {
        if !number.is_finite() || number < 0.0 {
            return Err(field(name, format!("found {number}, expected a finite number from zero up")));
        }
    }
    // What isn't finite is not even like itself.
    let Score { prediction, explanation, changes, .. } = &scored.score;
    let levels = |change: &Change| [change.probability, change.before.mean, change.before.sd, change.after.mean, change.after.sd];
    for (name, whole) in [
        ("prediction", finite_prediction(*prediction) == *prediction),
        ("explanation", explanation.as_deref().is_none_or(|explanation| written_explanation(explanation) == *explanation)),
        ("changes", changes.iter().flat_map(levels).all(f64::is_finite)),
    ] {
        if !whole {
            return Err(field(name, "found a number that is not finite, expected finite ones"));
        }
    }
    Ok(scored)
}

fn field(field: &str, detail: impl fmt::Display) -> WireError {
    WireError::Field { message: MESSAGE, field: field.into(), detail: detail.to_string() }
}

fn from_json(bytes: &[u8]) -> Result<Scored, WireError> {
    let malformed = |error: serde_json::Error| WireError::Malformed { message: MESSAGE, detail: error.to_string() };
    let found = serde_json::from_slice::<JsonVersion>(bytes).map_err(malformed)?.schema_version;
    if found != SCHEMA_VERSION {
        return Err(WireError::Version { message: MESSAGE, found });
    }
    let form: JsonIn = serde_json::from_slice(bytes).map_err(malformed)?;
    let key = match (form.key, form.key_base64) {
        (Some(text), None) => Some(text.into_bytes()),
        (None, Some(text)) => Some(STANDARD.decode(&text).map_err(|error| field("key_base64", error))?),
        (None, None) => None,
        (Some(_), Some(_)) => return Err(field("key_base64", "stands beside `key`, expected one of them")),
    };
    Ok(Scored {
        model_id: form.model_id,
        topic: form.topic,
        partition: Partition(form.partition),
        head: Head { offset: Offset(form.offset), timestamp_ms: form.timestamp_ms, key: key.map(Vec::into_boxed_slice) },
        score: Score {
            surprisal: form.surprisal,
            surprisal_sd: form.surprisal_sd,
            tail_probability: form.tail_probability,
            alert: form.alert,
            severity: form.severity,
            rarity: form.rarity,
            step: form.posterior_step,
            prediction: form.prediction.map(Into::into),
            explanation: form.contributions.map(|contributions| {
                Box::new(Explanation {
                    contributions: contributions.into_iter().map(Into::into).collect(),
                    nearest: form.nearest,
                })
            }),
            changes: form.changes.into_iter().map(Into::into).collect(),
        },
    })
}

fn from_protobuf(score: proto::Score) -> Scored {
    Scored {
        model_id: score.model_id,
        topic: score.topic,
        partition: Partition(score.partition),
        head: Head { offset: Offset(score.offset), timestamp_ms: score.timestamp_ms, key: score.key.map(Vec::into_boxed_slice) },
        score: Score {
            surprisal: score.surprisal,
            surprisal_sd: score.surprisal_sd,
            tail_probability: score.tail_probability,
            alert: score.alert,
            severity: score.severity,
            rarity: score.rarity,
            step: score.posterior_step,
            prediction: score.prediction.map(Into::into),
            explanation: score.explanation.map(|explanation| Box::new(explanation.into())),
            changes: score.changes.into_iter().map(Into::into).collect(),
        },
    }
}

#[cfg(test)]
mod tests {
    use prost::Message;

    use super::*;
    use crate::drift::Level;
    use crate::models::{Contribution, Expected, Prediction};

    fn explanation(nats: f64) -> Explanation {
        let expected = [
            None,
            Some(Expected::Number { mean: nats, lower: f64::MIN, upper: f64::MAX }),
            Some(Expected::Value { likeliest: "gelb \"1\"".into(), probability: 0.75 }),
        ];
        let contributions = expected.map(|expected| Contribution { column: "größe".into(), nats, expected });
        Explanation { contributions: contributions.into(), nearest: Some("3@17".into()) }
    }

    /// However many fields there are and whatever they are called, a score fits into a message, and what it says adds up.
    #[test]
    fn an_account_of_very_many_fields_has_room() {
        let contribution = |at: usize| Contribution {
            column: format!("{at:04}{}", "\u{1}".repeat(120)),
            nats: 4096.0 - at as f64,
            expected: Some(Expected::Value { likeliest: "\u{2}".repeat(1024), probability: 0.5 }),
        };
        let explanation = Explanation { contributions: (0..4096).map(contribution).collect(), nearest: None };
        let total: f64 = explanation.contributions.iter().map(|one| one.nats).sum();
        let score = Score { surprisal: total, alert: true, explanation: Some(explanation.into()), ..Score::default() };
        let head = Head { offset: Offset(0), timestamp_ms: None, key: Some(vec![1; 64 << 10].into()) };
        for format in [Format::Json, Format::Protobuf] {
            let mut out = Vec::new();
            encode_score("m", "t", Partition(0), &head, &score, format, &mut out);
            assert!(out.len() < 900_000, "{} bytes", out.len());
            let read = decode_score(&out, format).unwrap().score.explanation.unwrap();
            let (last, told) = read.contributions.split_last().unwrap();
            assert_eq!((last.column.as_str(), &last.expected), ("(others)", &None));
            assert!(told.len() > 20 && told[0].column.starts_with("0000"));
            assert!((read.contributions.iter().map(|one| one.nats).sum::<f64>() / total - 1.0).abs() < 1e-12);
        }
    }

    fn cases() -> Vec<(Head, Score)> {
        let keys: [Option<&[u8]>; 5] = [None, Some(b""), Some("schlüssel \"1\"\n".as_bytes()), Some(b"\xff\x00\xfe"), Some(b"k")];
        let floats = [0.0, -0.0, 1.0 / 3.0, -17.25, 5e-324, f64::MAX, f64::MIN, 0.1 + 0.2, 2.225_073_858_507_201e-308];
        let mut cases = Vec::new();
        for (index, key) in keys.into_iter().enumerate() {
            for surprisal in floats {
                let numbers = [0, 1, i64::MAX, -5];
                let head = Head {
                    offset: Offset(numbers[index % 4].max(0)),
                    timestamp_ms: [None, Some(0), Some(-1), Some(1_709_210_096_789)][index % 4],
                    key: key.map(Into::into),
                };
                let tail_probability = [1.0, 1.0 / 3.0, f64::MIN_POSITIVE][index % 3];
                let surprisal_sd = [0.0, 0.25, f64::MAX][index % 3];
                let step = numbers[index % 4].unsigned_abs();
                let prediction = (index % 2 == 0).then_some(Prediction {
                    expected: surprisal,
                    lower: -0.0,
                    upper: 7.5,
                    probability: 1.0 / 3.0,
                });
                let explanation = [None, Some(Box::default()), Some(Box::new(explanation(surprisal)))][index % 3].clone();
                let (alert, severity) = (index % 3 == 2, [0.0, 1.0 / 3.0, f64::MAX][index % 3]);
                let rarity = if alert { 4.25 } else { 0.0 };
                let change = |series: &str, time_ms| Change {
                    series: series.into(),
                    offset: numbers[index % 4],
                    time_ms,
                    probability: 1.0 / 3.0,
                    before: Level { mean: surprisal, sd: 0.1 },
                    after: Level { mean: -1.0, sd: 1e-300 },
                };
                let changes = [vec![], vec![change("größe", Some(0)), change("surprisal", None)]][index % 2].clone();
                let score = Score {
                    surprisal,
                    surprisal_sd,
                    tail_probability,
                    alert,
                    severity,
                    rarity,
                    step,
                    prediction,
                    explanation,
                    changes,
                };
                cases.push((head, score));
            }
        }
        cases
    }

    #[test]
    fn scores_read_back_bit_for_bit() {
        let mut out = b"left over".to_vec();
        for format in [Format::Json, Format::Protobuf] {
            for (head, score) in cases() {
                encode_score("möd/el", "events", Partition(7), &head, &score, format, &mut out);
                let read = decode_score(&out, format).unwrap();
                assert_eq!(read.score.surprisal.to_bits(), score.surprisal.to_bits());
                let expected =
                    Scored { model_id: "möd/el".into(), topic: "events".into(), partition: Partition(7), head, score };
                assert_eq!(read, expected);
            }
        }
    }

    #[test]
    fn the_protobuf_form_is_what_prost_writes() {
        for (head, score) in cases() {
            for (model_id, topic, partition) in [("m", "t", 3), ("", "", 0)] {
                let message = proto::Score {
                    schema_version: SCHEMA_VERSION,
                    model_id: model_id.into(),
                    topic: topic.into(),
                    partition,
                    offset: head.offset.0,
                    key: head.key.as_ref().map(|key| key.to_vec()),
                    timestamp_ms: head.timestamp_ms,
                    surprisal: score.surprisal,
                    tail_probability: score.tail_probability,
                    posterior_step: score.step,
                    surprisal_sd: score.surprisal_sd,
                    alert: score.alert,
                    severity: score.severity,
                    rarity: score.rarity,
                    prediction: score.prediction.map(Into::into),
                    explanation: score.explanation.as_deref().map(Into::into),
                    changes: score.changes.iter().map(Into::into).collect(),
                };
                let mut out = Vec::new();
                encode_score(model_id, topic, Partition(partition), &head, &score, Format::Protobuf, &mut out);
                assert_eq!(proto::Score::decode(&out[..]).unwrap(), message);
                // prost leaves a negative zero out, which would not read back bit for bit.
                if score.surprisal.to_bits() != (-0.0_f64).to_bits() {
                    assert_eq!(out, message.encode_to_vec());
                }
            }
        }
    }

    #[test]
    fn the_json_form_is_plain() {
        let head = Head { offset: Offset(9), timestamp_ms: None, key: Some((*b"\xff\xfe").into()) };
        let score = Score { surprisal: 2.5, surprisal_sd: 0.5, tail_probability: 0.25, step: 3, ..Score::default() };
        let mut out = Vec::new();
        encode_score("m", "t", Partition(1), &head, &score, Format::Json, &mut out);
        let expected = r#"{"schema_version":1,"model_id":"m","topic":"t","partition":1,"offset":9,"key_base64":"//4=","surprisal":2.5,"surprisal_sd":0.5,"tail_probability":0.25,"posterior_step":3}"#;
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    #[test]
    fn the_impossible_is_written_as_a_number() {
        let head = Head { offset: Offset(0), timestamp_ms: None, key: None };
        let mut out = Vec::new();
        for format in [Format::Json, Format::Protobuf] {
            for (surprisal, written) in [(f64::INFINITY, f64::MAX), (f64::NAN, f64::MAX), (f64::NEG_INFINITY, f64::MIN)] {
                let score = Score { surprisal, surprisal_sd: f64::NAN, tail_probability: 1.0, ..Score::default() };
                encode_score("m", "t", Partition(0), &head, &score, format, &mut out);
                assert_eq!(
                    decode_score(&out, format).unwrap().score,
                    Score { surprisal: written, surprisal_sd: f64::MAX, ..score }
                );
            }
        }
    }

    #[test]
    fn other_versions_and_nonsense_are_refused() {
        let later = proto::Score { schema_version: 2, surprisal: 1.0, ..Default::default() }.encode_to_vec();
        assert_eq!(decode_score(&later, Format::Protobuf), Err(WireError::Version { message: "Score", found: 2 }));
        let later = br#"{"schema_version":2,"something":"else"}"#;
        assert_eq!(decode_score(later, Format::Json), Err(WireError::Version { message: "Score", found: 2 }));
        assert_eq!(decode_score(b"", Format::Protobuf), Err(WireError::Version { message: "Score", found: 0 }));
        assert!(matches!(decode_score(b"\xff\xff", Format::Protobuf), Err(WireError::Malformed { .. })));
        assert!(matches!(decode_score(b"[]", Format::Json), Err(WireError::Malformed { .. })));
        let bad = proto::Score { schema_version: 1, surprisal: f64::NAN, ..Default::default() }.encode_to_vec();
        assert!(matches!(decode_score(&bad, Format::Protobuf), Err(WireError::Field { field, .. }) if field == "surprisal"));
        let prediction = Some(proto::Prediction { expected: f64::NAN, ..Default::default() });
        let bad = proto::Score { schema_version: 1, prediction, ..Default::default() }.encode_to_vec();
        assert!(matches!(decode_score(&bad, Format::Protobuf), Err(WireError::Field { field, .. }) if field == "prediction"));
        let before = Some(proto::Level { mean: 0.0, standard_deviation: f64::INFINITY });
        let changes = vec![proto::RegimeChange { before, ..Default::default() }];
        let bad = proto::Score { schema_version: 1, changes, ..Default::default() }.encode_to_vec();
        assert!(matches!(decode_score(&bad, Format::Protobuf), Err(WireError::Field { field, .. }) if field == "changes"));
    }
}
