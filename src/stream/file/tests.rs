use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;

use super::*;

/// A file of that name in a folder that lives as long as the test.
struct Sample {
    _folder: tempfile::TempDir,
    path: PathBuf,
}

fn file(name: &str, content: impl AsRef<[u8]>) -> Sample {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    let mut file = File::create(&path).unwrap();
    if name.ends_with(".gz") {
        let mut encoder = GzEncoder::new(file, Compression::fast());
        encoder.write_all(content.as_ref()).unwrap();
        encoder.finish().unwrap();
    } else {
        file.write_all(content.as_ref()).unwrap();
    }
    Sample { _folder: folder, path }
}

fn column(path: &str, kind: Kind) -> Column {
    Column { name: path.into(), path: path.split('.').map(Into::into).collect(), kind }
}

const CATEGORY: Kind = Kind::Category { capacity: 1024 };

fn mixed() -> Schema {
    Schema::new(vec![
        column("n", Kind::Number),
        column("host", CATEGORY),
        column("k", Kind::Count),
        column("up", Kind::Boolean),
        column("at", Kind::Timestamp),
    ])
}

fn runs(path: &Path, schema: &Schema, label: Option<&str>, max_rows: usize) -> Result<Vec<Labelled>, FileError> {
    let mut events = FileEvents::open(path, schema, label)?;
    std::iter::from_fn(|| events.next_run(max_rows).transpose()).collect()
}

/// Everything that a run says of its events: row, time, label, cells as text.
fn shown(labelled: &[Labelled], schema: &Schema) -> Vec<String> {
    let mut lines = Vec::new();
    for Labelled { run, labels } in labelled {
        assert_eq!((run.heads.len(), run.heads.len()), (labels.len(), run.rows.len()));
        for (index, (head, label)) in run.heads.iter().zip(labels).enumerate() {
            let view = run.events();
            let cells = schema.columns().iter().zip(view.row(index)).map(|(column, cell)| match column.kind {
                Kind::Category { .. } => view.text(*cell).unwrap_or("-").to_owned(),
                _ => cell.to_string(),
            });
            let cells = cells.collect::<Vec<_>>().join(" ");
            lines.push(format!("{} {:?} {label:?}: {cells}", head.offset, head.timestamp_ms));
        }
    }
    lines
}

const CSV: &str = "\u{feff}n,label,host,k,up,at
1.5,0,a,3,true,2024-02-29T12:34:56Z
 -2e3 ,1,\"b, \"\"c\"\"\",NA,0,1709210096

NaN,true,null,,,
4,,NA,7.0,TRUE,1709210096789
";

const JSON_LINES: &str = r#"{"n":1.5,"label":0,"host":"a","k":3,"up":true,"at":"2024-02-29T12:34:56Z"}
{"n":-2e3,"label":1,"host":"b, \"c\"","up":false,"at":1709210096}

{"label":true}
{"n":4,"label":null,"k":7.0,"up":true,"at":1709210096789}"#;

const EXPECTED: [&str; 4] = [
    "0 Some(1709210096000) Some(false): 1.5 a 3 1 1709210096000",
    "1 Some(1709210096000) Some(true): -2000 b, \"c\" NaN 0 1709210096000",
    "2 None Some(true): NaN - NaN NaN NaN",
    "3 Some(1709210096789) None: 4 - 7 1 1709210096789",
];

#[test]
fn every_format_gives_the_same_events_in_any_batching() {
    for (name, content) in [
        ("events.csv", CSV),
        ("events.csv.gz", CSV),
        ("events.CSV", CSV),
        ("events.jsonl", JSON_LINES),
        ("events.jsonl.gz", JSON_LINES),
        ("events.json", JSON_LINES),
    ] {
        let sample = file(name, content);
        for max_rows in [1, 3, 100] {
            let labelled = runs(&sample.path, &mixed(), Some("label"), max_rows).unwrap();
            assert_eq!(shown(&labelled, &mixed()), EXPECTED, "{name}");
            assert!(labelled.iter().all(|labelled| labelled.run.len() <= max_rows));
            let ends: Vec<_> = labelled.iter().map(|labelled| (labelled.run.from.0, labelled.run.next.0)).collect();
            assert!(ends.windows(2).all(|pair| pair[0].1 == pair[1].0), "runs follow one another: {ends:?}");
            assert_eq!((ends[0].0, ends[ends.len() - 1].1), (0, 4));
        }
        let labelled = runs(&sample.path, &mixed(), None, 100).unwrap();
        assert!(labelled[0].labels.iter().all(Option::is_none));
    }
}

#[test]
fn rows_that_cannot_be_decoded_are_dead_letters_with_their_number() {
    let rows: [&[u8]; 7] = [
        b"1,a,1,true,1",
        b"x,a,1,true,1",
        b"inf,a,1,true,1",
        b"1,a,-1,true,1",
        b"1,a,1,2,1",
        b"1,a,1,true,soon",
        b"1,\xff,1,true,1",
    ];
    let content = [&b"n,host,k,up,at"[..]].into_iter().chain(rows).collect::<Vec<_>>().join(&b'\n');
    let labelled = runs(&file("dead.csv", content).path, &mixed(), None, 100).unwrap().remove(0);
    let dead: Vec<_> = labelled.run.dead.iter().map(|dead| (dead.head.offset.0, dead.reason, &*dead.detail)).collect();
    assert_eq!(
        dead,
        [
            (1, Reason::WrongType, "row 1: field `n`: found \"x\", expected a number"),
            (2, Reason::OutOfRange, "row 2: field `n`: found \"inf\", expected a finite number"),
            (3, Reason::OutOfRange, "row 3: field `k`: found \"-1\", expected a whole number from zero up"),
            (4, Reason::WrongType, "row 4: field `up`: found \"2\", expected true or false"),
            (
                5,
                Reason::WrongType,
                "row 5: field `at`: found \"soon\", expected a time of the years 0 to 9999: seconds, ms, µs or ns since 1970, or text such as \
                 \"2024-02-29T12:00:00Z\""
            ),
            (6, Reason::InvalidUtf8, "row 6: field `host`: found \"\\xff\", expected UTF-8"),
        ]
    );
    assert_eq!((&labelled.run.dead[0].payload[..], labelled.run.dead[0].payload_bytes), (rows[1], rows[1].len()));
    assert_eq!((labelled.run.heads.len(), labelled.run.rows.len(), labelled.run.next), (1, 1, Offset(7)));
    assert_eq!(labelled.run.bytes, rows.iter().map(|row| row.len()).sum::<usize>());

    for label in [None, Some("label")] {
        let lines = "{\"n\":1}\nnonsense\n[1]\n{\"n\":2}\n{\"n\":\"x\"}";
        let labelled = runs(&file("dead.jsonl", lines).path, &mixed(), label, 100).unwrap().remove(0);
        let dead: Vec<_> = labelled.run.dead.iter().map(|dead| (dead.head.offset.0, dead.reason)).collect();
        assert_eq!(dead, [(1, Reason::InvalidJson), (2, Reason::NotAnObject), (4, Reason::WrongType)]);
        assert_eq!(labelled.run.dead[0].payload, b"nonsense");
        assert_eq!(shown(&[labelled], &mixed()).len(), 2);
    }
}

#[test]
fn broken_files_are_refused_with_the_line_and_the_cure() {
    let schema = Schema::new(vec![column("a", Kind::Number)]);
    let refused = |name: &str, content: &[u8], label| {
        let sample = file(name, content);
        let folder = format!("{}/", sample.path.parent().unwrap().display());
        runs(&sample.path, &schema, label, 10).unwrap_err().to_string().replace(&folder, "")
    };
    assert_eq!(refused("e.csv", b"a,b\n1,2\n\n1\n", None), "e.csv, line 4: 1 cells, but the header names 2");
    assert_eq!(refused("e.csv", b"a,b\n1,2,3\n", None), "e.csv, line 2: 3 cells, but the header names 2");
    assert_eq!(
        refused("e.csv", b"1,2.5\n1,2\n", None),
        "e.csv, line 1: `1,2.5` looks like data; the first line must name the columns"
    );
    assert_eq!(refused("e.csv", b"", None), "e.csv, line 1: the file is empty; the first line must name the columns");
    assert_eq!(refused("e.csv", b"a,\n1,2\n", None), "e.csv, line 1: column 2 has no name; the first line must name the columns");
    assert!(refused("e.csv", b"a,a\n1,2\n", None).contains("two columns are named `a`"));
    assert_eq!(refused("e.csv", b"b,c\n1,2\n", None), "e.csv: no column `a`; the header has b, c");
    assert_eq!(refused("e.csv", b"a,c\n1,2\n", Some("y")), "e.csv: no column `y`; the header has a, c");
    assert_eq!(
        refused("e.csv", b"a,y\n1,0\n1,maybe\n", Some("y")),
        "e.csv, row 1: label `y` is \"maybe\", expected 0, 1, true, false or nothing"
    );
    assert!(refused("e.jsonl", b"{\"a\":1,\"y\":2}", Some("y")).contains("e.jsonl, row 0: label `y` is \"2\""));
    assert!(refused("e.csv", b"a,y\n1,0\n", Some("a")).contains("column `a` is the label"));
    assert!(refused("e.parquet", b"", None).contains("unknown format"));
    assert!(refused("e.gz", b"", None).contains("unknown format"));
    let whole = std::fs::read(file("e.csv.gz", "a\n1\n2\n".repeat(100)).path).unwrap();
    let cut = file("plain", &whole[..whole.len() / 2]);
    let path = cut.path.with_file_name("cut.csv.gz");
    std::fs::rename(&cut.path, &path).unwrap();
    assert!(matches!(runs(&path, &schema, None, 10), Err(FileError::Io { .. })));
    assert!(matches!(runs(Path::new("/nowhere/e.csv"), &schema, None, 10), Err(FileError::Io { .. })));
}

fn kinds(schema: &Schema) -> Vec<(&str, &'static str)> {
    schema.columns().iter().map(|column| (&*column.name, column.kind.name())).collect()
}

#[test]
fn columns_are_inferred_from_what_is_present() {
    let csv = "n,small,up,at,host,mixed,empty,label\n\
               1.5,0,true,2024-02-29,a,1,,0\n\
               NA,1,FALSE,2024-02-29 01:02:03,b,x,NaN,1\n\
               1e3,2,,,,2,null,0\n";
    let sample = file("e.csv", csv);
    let expected = [
        ("n", "number"),
        ("small", "number"),
        ("up", "boolean"),
        ("at", "timestamp"),
        ("host", "category"),
        ("mixed", "category"),
        ("empty", "category"),
    ];
    let schema = infer_schema(&sample.path, Some("label"), 1000).unwrap();
    assert_eq!(kinds(&schema), expected);
    assert_eq!(kinds(&infer_schema(&sample.path, None, 1000).unwrap())[7], ("label", "number"));
    // What was inferred reads the file: all three rows, none dead.
    assert_eq!(shown(&runs(&sample.path, &schema, Some("label"), 10).unwrap(), &schema).len(), 3);
    // Only the sample is looked at: in the first row `mixed` is a number.
    assert_eq!(kinds(&infer_schema(&sample.path, Some("label"), 1).unwrap())[5], ("mixed", "number"));
}

#[test]
fn nested_columns_are_inferred_by_path() {
    let lines = r#"{"a":{"n":1,"t":"2024-02-29T00:00:00Z"},"list":[1],"y":{"label":true},"b":true}
nonsense
{"a":{"n":null,"host":"x"},"b":null,"c":1}
{"c":"1"}"#;
    let sample = file("e.jsonl.gz", lines);
    let schema = infer_schema(&sample.path, Some("y.label"), 1000).unwrap();
    let expected = [("a.n", "number"), ("a.t", "timestamp"), ("b", "boolean"), ("a.host", "category"), ("c", "category")];
    assert_eq!(kinds(&schema), expected);
    assert_eq!(schema.columns()[0].path, ["a", "n"]);
    assert_eq!(
        shown(&runs(&sample.path, &schema, Some("y.label"), 10).unwrap(), &schema),
        [
            "0 Some(1709164800000) Some(true): 1 1709164800000 1 - -",
            "2 None None: NaN NaN NaN x 1",
            "3 None None: NaN NaN NaN - 1"
        ]
    );
}

#[test]
fn a_file_of_labels_alone_has_nothing_to_model() {
    let sample = file("e.csv", "label\n1\n0\n".replace("label", "y"));
    assert!(matches!(infer_schema(&sample.path, Some("y"), 10), Err(FileError::NoColumns { .. })));
}
