use super::super::{
    Assembler, MAX_CHUNK_BYTES, archive_key, check_chunk_count, parse_archive_key, parse_snapshot_key, snapshot_key,
};
use super::*;
use crate::checkpoint::{CheckpointError, Reader};
use crate::features::RowsView;
use crate::models::{Block, Learnt, NotFinite, Part, Progress, Surprisal};

/// Evidence of every dtype.
#[derive(Clone, Debug, PartialEq)]
struct Memory {
    sums: Vec<f64>,
    births: Vec<i64>,
    words: Vec<String>,
}

impl Evidence for Memory {
    fn add(&mut self, other: &Self) {
        self.sums.extend(&other.sums);
    }

    fn scale(&mut self, retention: f64) {
        self.sums.iter_mut().for_each(|sum| *sum *= retention);
    }

    fn events(&self) -> f64 {
        self.sums.len() as f64
    }

    fn tensors(&self) -> Vec<Tensor> {
        vec![
            Tensor::f64("sums", &[self.sums.len() / 2, 2], self.sums.clone()),
            Tensor::i64("births", &[self.births.len()], self.births.clone()),
            Tensor::text("words", self.words.clone()),
        ]
    }
}

/// A model that has a fingerprint and can restore.
#[derive(Clone, Debug)]
struct Rememberer(u64);

impl Model for Rememberer {
    type Evidence = Memory;
    type Posterior = ();

    fn kind(&self) -> &'static str {
        "rememberer"
    }

    fn fingerprint(&self) -> u64 {
        self.0
    }

    fn nothing(&self) -> Memory {
        Memory { sums: Vec::new(), births: Vec::new(), words: Vec::new() }
    }

    fn restore(&self, tensors: &[Tensor]) -> Result<Memory, CheckpointError> {
        let reader = Reader(tensors);
        Ok(Memory {
            sums: reader.f64("sums", &[reader.length("sums")?, 2])?.to_vec(),
            births: reader.i64("births", &[reader.length("births")?])?.to_vec(),
            words: reader.text("words")?.to_vec(),
        })
    }

    fn posterior(&self, _: &Memory) -> Result<(), NotFinite> {
        Ok(())
    }

    fn score(&self, (): &(), _: RowsView<'_>, _: &mut Vec<Surprisal>) {}

    fn learn(&self, (): &(), site: &Memory, _: Block<'_>) -> Result<Learnt<Memory>, NotFinite> {
        Ok(Learnt { evidence: site.clone(), progress: Progress::default() })
    }

    fn active(&self, _: &()) -> usize {
        1
    }

    fn columns(&self, _: &Memory) -> Vec<ColumnSummary> {
        Vec::new()
    }

    fn parts(&self, (): &()) -> Vec<Part> {
        Vec::new()
    }
}

fn header(partition: i32) -> SnapshotHeader {
    SnapshotHeader {
        model_id: "möd/el".into(),
        model_kind: "rememberer".into(),
        fingerprint: u64::MAX - 1,
        topic: "events".into(),
        partition: Partition(partition),
        created_ms: 1_709_210_096_789,
        archive: vec![Archived { covers_to: Offset(3), chunks: 2, created_ms: -1 }],
    }
}

fn site(seed: u64) -> Site<Memory> {
    let mut calibrator = Calibrator::default();
    let surprisals: Vec<f64> = (0..1_000).map(|index| ((index * 7919 + seed) % 1000) as f64 / 7.0 - 20.0).collect();
    surprisals.chunks(100).for_each(|block| calibrator.learn(0.97, block));
    let evidence = Memory {
        sums: vec![1.0 / 3.0, -0.0, 5e-324, f64::MAX, -1e-300, seed as f64],
        births: vec![i64::MIN, -1, 0, i64::MAX],
        words: vec![String::new(), "é😀".into(), "a".repeat(300)],
    };
    let all = [Means::Unlearnt, Means::Subtracted, Means::Relearnt, Means::RolledBack];
    let span = Span { from: Offset(seed as i64), to: Offset(i64::MAX) };
    Site {
        evidence,
        calibrator,
        trail: Trail::default(),
        begun_at: Offset(seed as i64 + 1),
        covers_to: Offset(seed as i64 + 5),
        events: seed,
        refused: 2,
        step: 1,
        time: EventTime { now_ms: Some(-(seed as i64)), recent_ms: vec![i64::MIN, seed as i64, i64::MAX] },
        forgotten: all.map(|means| Forgotten { span, means, at_ms: 7 }).into(),
    }
}

fn columns() -> Vec<ColumnSummary> {
    let column = |name: &str, kind, mean, distinct| ColumnSummary {
        name: name.into(),
        kind,
        observed: 10.5,
        missing: 0.25,
        mean,
        standard_deviation: mean,
        distinct,
    };
    vec![column("load", "number", Some(-0.5), None), column("host", "category", None, Some(7))]
}

fn chunks(partition: i32, seed: u64, chunk_bytes: usize) -> Vec<Vec<u8>> {
    let messages = encode_snapshot(&header(partition), &site(seed), &columns(), chunk_bytes);
    messages.into_iter().map(|(_, message)| message).collect()
}

/// All snapshots that `chunks` make whole; the log must end with none open.
fn assemble<'a>(chunks: impl IntoIterator<Item = &'a Vec<u8>>) -> Result<Vec<Snapshot>, WireError> {
    let mut assembler = Assembler::default();
    let mut whole = Vec::new();
    for chunk in chunks {
        whole.extend(assembler.push(chunk)?.map(|bytes| decode_snapshot(&bytes)).transpose()?);
    }
    assembler.finish().map(|()| whole)
}

fn whole(seed: u64) -> Vec<u8> {
    let chunks = chunks(3, seed, MAX_CHUNK_BYTES);
    Assembler::default().push(&chunks[0]).unwrap().unwrap()
}

#[test]
fn snapshots_read_back_bit_for_bit_however_they_are_cut() {
    let model = Rememberer(u64::MAX - 1);
    for chunk_bytes in [0, 1, 100, 1_000, MAX_CHUNK_BYTES, usize::MAX] {
        let chunks = chunks(3, 42, chunk_bytes);
        for order in [chunks.iter().collect::<Vec<_>>(), chunks.iter().rev().collect()] {
            let [snapshot] = &assemble(order).unwrap()[..] else { panic!("one snapshot") };
            assert_eq!((&snapshot.header, &snapshot.columns), (&header(3), &columns()));
            let restored = snapshot.site(&model).unwrap();
            assert_eq!(restored, site(42));
            let bits = |memory: &Memory| memory.sums.iter().map(|sum| sum.to_bits()).collect::<Vec<_>>();
            assert_eq!(bits(&restored.evidence), bits(&site(42).evidence));
        }
    }
}

#[test]
fn what_knows_nothing_yet_reads_back() {
    let model = Rememberer(u64::MAX - 1);
    let site = Site::new(model.nothing(), Offset(0));
    let messages = encode_snapshot(&header(0), &site, &[], 100);
    let snapshot = assemble(messages.iter().map(|(_, message)| message)).unwrap().remove(0);
    assert_eq!(snapshot.site(&model).unwrap(), site);
}

#[test]
fn keys_tell_their_place_and_chunks_stay_within_their_limit() {
    let messages = encode_snapshot(&header(3), &site(1), &[], 100);
    assert!(messages.len() > 3);
    for (index, (key, message)) in messages.iter().enumerate() {
        assert_eq!(*key, format!("möd/el/3/{index}"));
        assert_eq!(parse_snapshot_key(key.as_bytes()), Some(("möd/el", Partition(3), index as u32)));
        assert_eq!(*key, snapshot_key("möd/el", Partition(3), index as u32));
        assert!(message.len() < 100 + 60);
    }
    for key in [&b"m/1"[..], b"m/x/1", b"m/1/-1", b"\xff/1/1", b""] {
        assert_eq!(parse_snapshot_key(key), None);
    }
    let archived = archive_key("möd/el", Partition(3), Offset(70), 1);
    assert_eq!(archived, "möd/el/3@70/1");
    assert_eq!(parse_archive_key(archived.as_bytes()), Some(("möd/el", Partition(3), Offset(70), 1)));
    assert_eq!(parse_snapshot_key(archived.as_bytes()), None);
    assert_eq!(parse_archive_key(b"m/3/1"), None);
    // Larger than a chunk may be, whatever is asked for.
    let mut large = site(1);
    large.evidence.sums = vec![1.5; 200_000];
    let messages = encode_snapshot(&header(3), &large, &[], usize::MAX);
    assert_eq!(messages.len(), 200_000 * 8 / MAX_CHUNK_BYTES + 1);
    assert!(messages.iter().all(|(_, message)| message.len() < MAX_CHUNK_BYTES + 60));
}

#[test]
fn a_changed_byte_anywhere_is_refused() {
    for chunk_bytes in [700, MAX_CHUNK_BYTES] {
        let chunks = chunks(3, 42, chunk_bytes);
        assert_eq!(assemble(&chunks).unwrap().len(), 1);
        for changed in 0..chunks.len() {
            for at in 0..chunks[changed].len() {
                for mask in [0x01, 0x08, 0x80, 0xff] {
                    let mut chunks = chunks.clone();
                    chunks[changed][at] ^= mask;
                    assert!(assemble(&chunks).is_err(), "chunk {changed}, byte {at}, mask {mask:x}");
                }
            }
        }
    }
}

#[test]
fn a_missing_chunk_is_named() {
    let chunks = chunks(3, 42, 1_000);
    let count = chunks.len() as u32;
    for missing in 0..chunks.len() {
        let rest = chunks.iter().enumerate().filter(|(index, _)| *index != missing).map(|(_, chunk)| chunk);
        let expected =
            WireError::MissingChunk { model_id: "möd/el".into(), partition: Partition(3), index: missing as u32, count };
        assert_eq!(assemble(rest), Err(expected));
    }
}

#[test]
fn chunks_of_two_snapshots_are_never_mixed() {
    let (old, new) = (chunks(3, 1, 700), chunks(3, 2, 700));
    let count = old.len();
    assert!(count > 2 && new.len() == count);
    // Any mixture of the two is incomplete.
    for choice in 1..(1_u32 << count) - 1 {
        let mixed = (0..count).map(|index| if choice >> index & 1 == 1 { &old[index] } else { &new[index] });
        assert!(matches!(assemble(mixed), Err(WireError::MissingChunk { .. })), "{choice:b}");
    }
    // Compaction has eaten into the old one: only the new one comes out.
    let read = assemble(old[1..].iter().chain(&new)).unwrap();
    assert_eq!(read.iter().map(|snapshot| snapshot.events).collect::<Vec<_>>(), [2]);
    // A log that was not compacted gives both, in order.
    let read = assemble(old.iter().chain(&new)).unwrap();
    assert_eq!(read.iter().map(|snapshot| snapshot.events).collect::<Vec<_>>(), [1, 2]);
    // Partitions and models go side by side.
    let other = chunks(4, 9, 700);
    let read = assemble(old.iter().zip(&other).flat_map(|(left, right)| [left, right])).unwrap();
    let places: Vec<_> = read.iter().map(|snapshot| snapshot.header.partition.0).collect();
    assert_eq!(places, [3, 4]);
}

#[test]
fn a_snapshot_under_anothers_name_is_refused() {
    let messages = chunk::cut("möd/el", Partition(4), &whole(1), MAX_CHUNK_BYTES);
    let error = Assembler::default().push(&messages[0].1).unwrap_err().to_string();
    assert!(error.contains("holds a snapshot of `möd/el`, partition 3"), "{error}");
}

#[test]
fn other_models_and_versions_are_refused_by_name() {
    let snapshot = decode_snapshot(&whole(1)).unwrap();
    assert!(matches!(snapshot.site(&Rememberer(5)), Err(WireError::Fingerprint { expected: 5, .. })));
    let mut other = snapshot.clone();
    other.header.model_kind = "mixture".into();
    assert!(matches!(other.site(&Rememberer(u64::MAX - 1)), Err(WireError::ModelKind { found, .. }) if found == "mixture"));
    let mut other = snapshot;
    other.tensors.remove(1);
    let error = other.site(&Rememberer(u64::MAX - 1)).unwrap_err().to_string();
    assert_eq!(error, "snapshot of `möd/el`, partition 3: tensor `births` is missing");

    let version = |message, found| WireError::Version { message, found };
    let later = proto::Snapshot { schema_version: 2, ..Default::default() }.encode_to_vec();
    assert_eq!(decode_snapshot(&later), Err(version("Snapshot", 2)));
    let later = proto::SnapshotChunk { schema_version: 9, ..Default::default() }.encode_to_vec();
    assert_eq!(Assembler::default().push(&later), Err(version("SnapshotChunk", 9)));
}

#[test]
fn tensors_and_calibrators_that_cannot_be_are_refused_by_name() {
    type Spoil<'a> = &'a dyn Fn(&mut proto::Snapshot);
    let refused = |spoil: Spoil<'_>| {
        let mut snapshot = proto::Snapshot::decode(&whole(1)[..]).unwrap();
        spoil(&mut snapshot);
        decode_snapshot(&snapshot.encode_to_vec()).unwrap_err().to_string()
    };
    let cases: [(Spoil<'_>, &str); 22] = [
        (&|it| it.evidence[0].dtype = 9, "tensor `sums`: dtype 9 is unknown"),
        (&|it| it.evidence[0].dtype = 0, "tensor `sums`: dtype 0 is unknown"),
        (&|it| it.evidence[0].shape = vec![2, 2], "tensor `sums`: 6 elements do not fill shape [2, 2]"),
        (&|it| it.evidence[0].shape = vec![u64::MAX, u64::MAX], "do not fill shape"),
        (&|it| it.evidence[0].data.truncate(47), "tensor `sums`: its 47 bytes are not whole elements"),
        (&|it| it.evidence[2].data.truncate(20), "tensor `words`: its 20 bytes are not whole elements"),
        (&|it| it.evidence[2].data[8] = 0xff, "tensor `words`"),
        (&|it| it.evidence[1].name = "sums".into(), "tensor `sums` occurs twice"),
        (&|it| it.calibrator = None, "field `calibrator`: is missing"),
        (&|it| it.calibrator.as_mut().unwrap().weights[3] = -1.0, "field `calibrator`: expected finite means"),
        (&|it| it.calibrator.as_mut().unwrap().means[0] = f64::NAN, "field `calibrator`: expected finite means"),
        (&|it| it.calibrator.as_mut().unwrap().weights.fill(f64::MAX), "field `calibrator`: expected finite means"),
        (&|it| it.columns[0].kind = "colour".into(), "column `load` is of kind `colour`, expected one of"),
        (&|it| it.forgotten[1].means = 9, "field `forgotten`: means 9 are unknown, expected 1 to 4"),
        (&|it| it.forgotten[1].to = 0, "field `forgotten`: offsets 1..0 are none"),
        (&|it| it.covers_to = -1, "field `covers_to`: found -1, expected 0 to 4611686018427387904"),
        (&|it| it.covers_to = (1 << 62) + 1, "field `covers_to`: found 4611686018427387905, expected 0 to 4611686018427387904"),
        (&|it| it.events = 7, "field `events`: found 7, expected at most covers_to = 6"),
        (&|it| it.recent_ms = vec![0; 16], "field `recent_ms`: found 16 times, expected at most 15"),
        (&|it| it.step = 7, "field `step`: found 7, expected at most covers_to = 6"),
        (&|it| it.evidence[0].shape = vec![1 << 60, 2], "tensor `sums`: 6 elements do not fill shape [1152921504606846976, 2]"),
        (
            &|it| it.evidence.resize(40_000, proto::Tensor::default()),
            "40002 tensors and column summaries, expected at most 32768",
        ),
    ];
    for (spoil, expected) in cases {
        let error = refused(spoil);
        assert!(error.contains(expected), "{error}");
    }
}

/// A length that is a lie is found out before memory is taken for it.
#[test]
fn sizes_are_limited_whatever_is_said_of_them() {
    let chunks = chunks(3, 42, 1_000);
    let whole: usize = whole(42).len();
    let assemble = |max_bytes: usize| {
        let mut assembler = Assembler::with_limit(max_bytes);
        chunks.iter().map(|chunk| assembler.push(chunk)).collect::<Result<Vec<_>, _>>()
    };
    assert!(assemble(whole).unwrap().last().unwrap().is_some());
    let error = assemble(whole - 1).unwrap_err().to_string();
    let expected =
        format!("snapshot of `möd/el`, partition 3: {whole} bytes, expected at most {}; make the model smaller", whole - 1);
    assert!(error.starts_with(&expected), "{error}");

    let chunk = |count, bytes| {
        let data = vec![7; bytes];
        proto::SnapshotChunk { schema_version: 1, index: 0, count, data, model_id: "m".into(), ..Default::default() }
            .encode_to_vec()
    };
    let refused = |count, bytes| Assembler::default().push(&chunk(count, bytes)).unwrap_err().to_string();
    assert_eq!(Assembler::default().push(&chunk(16_384, MAX_CHUNK_BYTES)), Ok(None));
    assert!(refused(16_385, 1).contains("16385 chunks, expected at most 16384"));
    assert!(refused(u32::MAX, 1).contains("4294967295 chunks"));
    assert!(refused(2, MAX_CHUNK_BYTES + 1).contains("524289 bytes in a chunk, expected at most 524288"));

    assert_eq!(check_chunk_count("m", Partition(0), 2048), Ok(()));
    let error = check_chunk_count("m", Partition(0), 2049).unwrap_err().to_string();
    assert!(error.contains("2049 chunks, expected at most 2048"), "{error}");
}
