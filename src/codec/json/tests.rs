use std::fmt::Write as _;

use serde_json::Value;

use super::*;
use crate::features::Column;

const CATEGORY: Kind = Kind::Category { capacity: 16 };

/// Columns written as `path kind`, the path dotted.
fn schema(columns: &[(&str, Kind)]) -> Schema {
    let column = |(path, kind): &(&str, Kind)| Column {
        name: (*path).into(),
        path: path.split('.').map(String::from).collect(),
        kind: *kind,
    };
    Schema::new(columns.iter().map(column).collect())
}

/// One of every kind, flat and nested.
fn mixed() -> Schema {
    schema(&[
        ("n", Kind::Number),
        ("c", CATEGORY),
        ("k", Kind::Count),
        ("b", Kind::Boolean),
        ("t", Kind::Timestamp),
        ("in.n", Kind::Number),
        ("in.deep.n", Kind::Number),
        ("in.deep.c", CATEGORY),
        ("été \"x\"", Kind::Number),
    ])
}

fn decode_with(schema: &Schema, payload: &[u8]) -> Result<(Decoded, Rows), Fault> {
    let mut rows = Rows::new(schema.width());
    JsonDecoder::new(schema, Limits::default()).decode(payload, &mut rows).map(|decoded| (decoded, rows))
}

fn decode(text: &str) -> Result<(Decoded, Rows), Fault> {
    decode_with(&mixed(), text.as_bytes())
}

/// Cells of a decoded event, texts in place of their indexes.
fn cells(rows: &Rows, schema: &Schema) -> Vec<String> {
    let view = rows.view();
    let columns = schema.columns().iter().zip(view.row(0));
    let show = |(column, cell): (&Column, &f64)| match column.kind {
        Kind::Category { .. } => view.text(*cell).map_or("missing".into(), |text| format!("{text:?}")),
        _ if cell.is_nan() => "missing".into(),
        _ => format!("{:016x}", cell.to_bits()),
    };
    columns.map(show).collect()
}

/// A field's key as JSON, and how its values are made.
type Member<'a> = (&'a str, &'a dyn Fn(&mut Dice) -> String);

/// SplitMix64.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % sides
    }

    fn pick<'a>(&mut self, choices: &[&'a str]) -> &'a str {
        choices[self.roll(choices.len() as u64) as usize]
    }

    fn space(&mut self) -> &'static str {
        self.pick(&["", "", "", " ", "\n\t", "  \r\n"])
    }

    /// A number of any form.
    fn number(&mut self) -> String {
        match self.roll(7) {
            0 => format!("{}", self.roll(1000)),
            1 => format!("-{}", self.roll(u64::MAX)),
            2 => format!("{}", self.roll(u64::MAX)),
            3 => format!("{}.{:05}", self.roll(1000), self.roll(100_000)),
            4 => format!("-{}.{}{}{}", self.roll(10), self.roll(u64::MAX), self.pick(&["e", "E-", "e+"]), self.roll(290)),
            5 => loop {
                let value = f64::from_bits(self.roll(u64::MAX));
                if value.is_finite() {
                    break format!("{value:e}");
                }
            },
            _ => self
                .pick(&["0", "-0", "-0.0", "1e0", "5e-324", "1.7976931348623157e308", "123456789012345678901234567890"])
                .into(),
        }
    }

    fn count(&mut self) -> String {
        format!("{}{}", self.roll(10_000), self.pick(&["", ".0", "e2", ".000"]))
    }

    fn text(&mut self) -> String {
        let pieces = ["a", "Ω", "😀", " ", r#"\""#, r"\\", r"\n", r"\u00e9", r"\ud83d\ude00", "{", "]", ",", r"\/"];
        let text: String = (0..self.roll(8)).map(|_| self.pick(&pieces)).collect();
        format!("\"{text}\"")
    }

    /// Anything, for fields outside the schema.
    fn anything(&mut self, depth: u64) -> String {
        match self.roll(if depth == 0 { 4 } else { 6 }) {
            0 => self.number(),
            1 => self.text(),
            2 => self.pick(&["true", "false"]).into(),
            3 => "null".into(),
            4 => format!("[{}]", (0..self.roll(4)).map(|_| self.anything(depth - 1)).collect::<Vec<_>>().join(",")),
            _ => {
                let fields = (0..self.roll(4)).map(|_| format!("{}:{}", self.text(), self.anything(depth - 1)));
                format!("{{{}}}", fields.collect::<Vec<_>>().join(","))
            }
        }
    }

    /// An object with some of `fields`, some of them twice, in some order, between others.
    fn object(&mut self, fields: &[Member<'_>]) -> String {
        let mut members = Vec::new();
        for (key, value) in fields {
            for _ in 0..[0, 1, 1, 1, 1, 2][self.roll(6) as usize] {
                let value = if self.roll(8) == 0 { "null".into() } else { value(self) };
                members.push(format!("{key}{}:{}{value}", self.space(), self.space()));
            }
        }
        for _ in 0..self.roll(3) {
            members.push(format!("{}:{}", self.pick(&["\"x\"", "\"nn\"", "\"\"", r#""\u0000""#]), self.anything(3)));
        }
        for index in (1..members.len()).rev() {
            members.swap(index, self.roll(index as u64 + 1) as usize);
        }
        let mut text = format!("{}{{", self.space());
        for (index, member) in members.iter().enumerate() {
            let _ = write!(text, "{}{}{member}{}", if index == 0 { "" } else { "," }, self.space(), self.space());
        }
        text + "}" + self.space()
    }
}

/// The same event by the slow way: a tree of values, then lookups.
fn oracle(text: &str, schema: &Schema) -> (Option<i64>, Vec<String>) {
    let event: Value = serde_json::from_str(text).unwrap();
    let mut timestamp_ms = None;
    let cells = schema.columns().iter().map(|column| {
        let value = column.path.iter().try_fold(&event, |value, key| value.get(key)).unwrap_or(&Value::Null);
        match column.kind {
            _ if value.is_null() => "missing".into(),
            Kind::Timestamp => {
                let milliseconds = value.as_i64().unwrap() * 1000;
                timestamp_ms = Some(milliseconds);
                format!("{:016x}", (milliseconds as f64).to_bits())
            }
            Kind::Category { .. } => format!("{:?}", value.as_str().map_or(value.to_string(), String::from)),
            Kind::Boolean => format!("{:016x}", f64::from(value.as_bool().unwrap()).to_bits()),
            Kind::Number | Kind::Count => format!("{:016x}", value.as_f64().unwrap().to_bits()),
        }
    });
    let cells = cells.collect();
    (timestamp_ms, cells)
}

/// An event that fits [`mixed`], with other fields in between.
fn event(dice: &mut Dice) -> String {
    let number = |dice: &mut Dice| dice.number();
    let category = |dice: &mut Dice| match dice.roll(3) {
        0 => dice.number(),
        1 => dice.pick(&["true", "false"]).into(),
        _ => dice.text(),
    };
    let deep = |dice: &mut Dice| dice.object(&[("\"n\"", &number), ("\"c\"", &category)]);
    let inner = |dice: &mut Dice| dice.object(&[("\"n\"", &number), ("\"deep\"", &deep)]);
    dice.object(&[
        ("\"n\"", &number),
        (r#""\u0063""#, &category),
        ("\"k\"", &|dice| dice.count()),
        ("\"b\"", &|dice| dice.pick(&["true", "false"]).into()),
        ("\"t\"", &|dice| dice.roll(2_000_000_000).to_string()),
        ("\"in\"", &inner),
        (r#""été \"x\"""#, &number),
    ])
}

#[test]
fn ten_thousand_events_decode_as_a_tree_of_values_says() {
    let schema = mixed();
    let decoder = JsonDecoder::new(&schema, Limits::default());
    let mut dice = Dice(1);
    for _ in 0..10_000 {
        let text = event(&mut dice);
        let mut rows = Rows::new(schema.width());
        let decoded = decoder.decode(text.as_bytes(), &mut rows).unwrap_or_else(|fault| panic!("{fault:?}\n{text}"));
        assert_eq!((decoded.timestamp_ms, cells(&rows, &schema)), oracle(&text, &schema), "{text}");
    }
}

/// Whatever comes is a row or a dead letter with a reason that fits.
#[test]
fn spoilt_events_never_break_the_decoder() {
    const SPOIL: &[u8] = b"\"{}[],:e-0\\nu \xff\xc3";
    let schema = mixed();
    let decoder = JsonDecoder::new(&schema, Limits::default());
    let (mut dice, mut faults) = (Dice(3), [0; 3]);
    for _ in 0..20_000 {
        let mut payload = event(&mut dice).into_bytes();
        for _ in 0..=dice.roll(3) {
            let at = dice.roll(payload.len() as u64) as usize;
            match dice.roll(4) {
                0 => payload[at] = SPOIL[dice.roll(SPOIL.len() as u64) as usize],
                1 => drop(payload.remove(at)),
                2 => payload.insert(at, SPOIL[dice.roll(SPOIL.len() as u64) as usize]),
                _ => payload.truncate(at.max(1)),
            }
            if payload.is_empty() {
                payload.push(b'{');
            }
        }
        let mut rows = Rows::new(schema.width());
        let decoded = decoder.decode(&payload, &mut rows);
        let shown = String::from_utf8_lossy(&payload);
        assert_eq!(rows.len(), usize::from(decoded.is_ok()), "{shown}");
        let value = serde_json::from_slice::<Value>(&payload);
        let Err(fault) = decoded else { continue };
        match fault.reason {
            Reason::InvalidUtf8 => assert!(std::str::from_utf8(&payload).is_err(), "{shown}"),
            Reason::InvalidJson => assert!(value.is_err(), "{fault:?}\n{shown}"),
            Reason::NotAnObject => assert!(!value.is_ok_and(|value| value.is_object()), "{shown}"),
            Reason::WrongType | Reason::OutOfRange => assert!(fault.detail.starts_with("field `"), "{fault:?}"),
            Reason::Empty | Reason::TooLarge | Reason::TooDeep => panic!("{fault:?}\n{shown}"),
        }
        let kind = match fault.reason {
            Reason::InvalidJson => 0,
            Reason::InvalidUtf8 => 1,
            _ => 2,
        };
        faults[kind] += 1;
    }
    assert!(faults.iter().all(|count| *count > 100), "the faults are of every kind: {faults:?}");
}

#[test]
fn numbers_are_rounded_to_the_nearest() {
    let mut dice = Dice(2);
    let schema = schema(&[("n", Kind::Number)]);
    for _ in 0..20_000 {
        let number = dice.number();
        let (_, rows) = decode_with(&schema, format!("{{\"n\":{number}}}").as_bytes()).unwrap();
        let expected: f64 = number.parse().unwrap();
        // JSON's integer -0 is the integer zero to some readers; its sign means nothing here.
        assert!(rows.view().row(0)[0].to_bits() == expected.to_bits() || number == "-0", "{number}");
    }
}

#[test]
fn absent_and_null_are_missing() {
    for text in ["{}", r#"{"n":null,"c":null,"k":null,"b":null,"t":null,"in":null}"#, r#"{"in":{"deep":null}}"#] {
        let (decoded, rows) = decode(text).unwrap();
        assert_eq!(decoded.timestamp_ms, None);
        assert!(rows.view().row(0).iter().all(|cell| cell.is_nan()), "{text}");
    }
}

#[test]
fn the_last_of_duplicate_keys_wins() {
    let (decoded, rows) = decode(r#"{"n":1,"n":2,"t":1,"t":null,"in":{"n":3},"in":{"deep":{"n":4}}}"#).unwrap();
    let row = rows.view().row(0);
    assert_eq!((row[0], row[6], decoded.timestamp_ms), (2.0, 4.0, None));
    assert!(row[5].is_nan());
}

#[test]
fn each_kind_of_timestamp_tells_the_same_time() {
    for value in ["1709210096", "1709210096000", "1709210096.0", "\"2024-02-29T12:34:56Z\"", "\"2024-02-29 13:34:56+01:00\""] {
        let (decoded, rows) = decode(&format!("{{\"t\":{value}}}")).unwrap();
        assert_eq!(decoded.timestamp_ms, Some(1_709_210_096_000), "{value}");
        assert_eq!(rows.view().row(0)[4], 1_709_210_096_000.0, "{value}");
    }
}

#[test]
fn the_first_timestamp_column_is_the_events_time() {
    let schema = schema(&[("a", Kind::Timestamp), ("b", Kind::Timestamp)]);
    let time = |text: &str| decode_with(&schema, text.as_bytes()).unwrap().0.timestamp_ms;
    assert_eq!(time(r#"{"a":1,"b":2}"#), Some(1_000));
    assert_eq!(time(r#"{"b":2}"#), None);
}

/// Every fault leaves the rows as they were and says where, what and what would be right.
#[test]
fn faults_name_the_place_the_value_and_the_cure() {
    let cases: &[(&str, Reason, &str)] = &[
        ("", Reason::Empty, "no value"),
        (" ", Reason::InvalidJson, "EOF"),
        ("hello", Reason::InvalidJson, "hello"),
        (r#"{"n":1"#, Reason::InvalidJson, "EOF"),
        (r#"{"n":1} x"#, Reason::InvalidJson, "trailing characters"),
        (r#"{"n":1}{"n":1}"#, Reason::InvalidJson, "trailing characters"),
        (r#"{"n":NaN}"#, Reason::InvalidJson, "NaN"),
        (r#"{"n":Infinity}"#, Reason::InvalidJson, "Infinity"),
        (r#"{"n":01}"#, Reason::InvalidJson, "01"),
        (r#"{"n":1,}"#, Reason::InvalidJson, "trailing comma"),
        (r#"{"x":[1,}"#, Reason::InvalidJson, "expected value"),
        (r#"{"c":"\ud800"}"#, Reason::InvalidJson, "unexpected end of hex escape"),
        (r#"{"c":"\udc00\n"}"#, Reason::InvalidJson, "lone leading surrogate"),
        ("{\"c\":\"\u{1}\"}", Reason::InvalidJson, "control character"),
        ("[1]", Reason::NotAnObject, "found [1], expected a JSON object"),
        ("3", Reason::NotAnObject, "found 3"),
        (" \"n\"", Reason::NotAnObject, "found \"n\""),
        ("null", Reason::NotAnObject, "found null"),
        (r#"{"n":"7"}"#, Reason::WrongType, "field `n`: found \"7\", expected a number"),
        (r#"{"n":true}"#, Reason::WrongType, "field `n`: found true, expected a number"),
        (r#"{"n":[1, 2]}"#, Reason::WrongType, "field `n`: found [1, 2]}, expected a number"),
        (r#"{"n": {"é":1}}"#, Reason::WrongType, r#"field `n`: found {"é":1}}, expected a number"#),
        (r#"{"c":{}}"#, Reason::WrongType, "field `c`: found {}}, expected text, a number or a boolean"),
        (r#"{"k":"many"}"#, Reason::WrongType, "field `k`: found \"many\", expected a whole number"),
        (r#"{"b":1}"#, Reason::WrongType, "field `b`: found 1, expected true or false"),
        (r#"{"t":"yesterday"}"#, Reason::WrongType, "field `t`: found \"yesterday\", expected a time"),
        (r#"{"in":3}"#, Reason::WrongType, "field `in`: found 3, expected an object"),
        (r#"{"in":[]}"#, Reason::WrongType, "field `in`: found []}, expected an object"),
        (r#"{"in":{"deep":{"n":"é"}}}"#, Reason::WrongType, "field `in.deep.n`: found \"é\", expected a number"),
        (r#"{"k":-1}"#, Reason::OutOfRange, "field `k`: found -1, expected a whole number from zero up"),
        (r#"{"k":1.5}"#, Reason::OutOfRange, "field `k`: found 1.5"),
        (r#"{"n":1e999}"#, Reason::OutOfRange, "field `n`: found 1e999, expected a number within the range"),
        ("{\n\"in\": {\"n\": -1e999 }}", Reason::OutOfRange, "field `in.n`: found -1e999"),
        (r#"{"t":1e300}"#, Reason::OutOfRange, "field `t`: found 1e+300, expected a time"),
    ];
    for (text, reason, detail) in cases {
        let mut rows = Rows::from_cells(9, vec![0.0; 9]);
        let fault = JsonDecoder::new(&mixed(), Limits::default()).decode(text.as_bytes(), &mut rows).unwrap_err();
        assert_eq!(fault.reason, *reason, "{text}: {fault:?}");
        assert!(fault.detail.contains(detail), "{text}: {}", fault.detail);
        assert_eq!(rows.view().cells(), [0.0; 9], "{text}");
    }
}

#[test]
fn skipped_fields_may_hold_any_json() {
    let (_, rows) = decode(r#"{"x":1e999,"y":[[[{"n":5}]]],"n":1}"#).unwrap();
    assert_eq!(rows.view().row(0)[0], 1.0);
}

#[test]
fn long_values_are_cut() {
    let fault = decode(&format!("{{\"n\":\"{}\"}}", "é".repeat(1_000_000 / 4))).unwrap_err();
    assert!(fault.detail.chars().count() < 150 && fault.detail.contains('…'));
    let fault = decode(&format!("{{\"n\":[{}]}}", "\"😀\",".repeat(100))).unwrap_err();
    assert_eq!(fault.reason, Reason::WrongType);
    assert!(fault.detail.chars().count() < 150 && fault.detail.contains("found [\"😀\""), "{}", fault.detail);
    // A reader that quotes all of a text would make a dead letter that is larger than what it is about.
    let fault = decode(&format!("\"{}\" oops", "x".repeat(500_000))).unwrap_err();
    assert_eq!(fault.reason, Reason::InvalidJson);
    assert!(fault.detail.chars().count() < 250 && fault.detail.contains("invalid type: string"), "{}", fault.detail);
}

#[test]
fn bytes_that_are_too_many_or_not_text_are_refused() {
    let limits = Limits { max_bytes: 10, ..Limits::default() };
    let decode = |payload: &[u8]| JsonDecoder::new(&mixed(), limits).decode(payload, &mut Rows::new(9));
    assert!(decode(br#"{"n":  12}"#).is_ok());
    let fault = decode(br#"{"n":   12}"#).unwrap_err();
    assert_eq!((fault.reason, fault.detail.as_str()), (Reason::TooLarge, "11 bytes, expected at most 10"));
    let fault = decode(b"{\"\xff\":1}").unwrap_err();
    assert_eq!(fault.reason, Reason::InvalidUtf8);
    assert!(fault.detail.starts_with("byte 2 is 0xff"), "{}", fault.detail);
}

#[test]
fn a_text_to_be_kept_is_limited() {
    let text = |count: usize| format!("{{\"c\":\"{}\",\"x\":\"{}\"}}", "é".repeat(count), "x".repeat(5_000));
    assert!(decode(&text(512)).is_ok(), "1024 bytes, and a longer one in a field that nobody reads");
    let fault = decode(&text(513)).unwrap_err();
    assert_eq!(fault.reason, Reason::OutOfRange);
    assert!(
        fault.detail.starts_with("field `c`: found \"ééé") && fault.detail.contains("at most 1024 bytes"),
        "{}",
        fault.detail
    );
}

#[test]
fn depth_is_limited_everywhere_and_never_taken_for_bad_json() {
    let nested = |key: &str, depth: usize, open: &str, close: &str| {
        format!("{{\"{key}\":{}1{}}}", open.repeat(depth - 1), close.repeat(depth - 1))
    };
    for max_depth in [1, 64, 127, 1000] {
        let limits = Limits { max_depth, ..Limits::default() };
        let decode = |text: &str| JsonDecoder::new(&mixed(), limits).decode(text.as_bytes(), &mut Rows::new(9));
        let deepest = max_depth.min(127);
        for (open, close) in [("[", "]"), ("{\"in\":", "}")] {
            assert!(decode(&nested("x", deepest, open, close)).is_ok());
            for depth in [deepest + 1, 5_000, 100_000] {
                for key in ["x", "n", "in"] {
                    assert_eq!(decode(&nested(key, depth, open, close)).unwrap_err().reason, Reason::TooDeep);
                }
            }
        }
    }
    // A schema as deep as the limit reads its field.
    let path = vec!["a"; 127].join(".");
    let text = format!("{}1.5{}", "{\"a\":".repeat(127), "}".repeat(127));
    let mut rows = Rows::new(1);
    let limits = Limits { max_depth: 127, ..Limits::default() };
    JsonDecoder::new(&schema(&[(&path, Kind::Number)]), limits).decode(text.as_bytes(), &mut rows).unwrap();
    assert_eq!(rows.view().cells(), [1.5]);
}

#[test]
fn a_field_may_be_a_value_or_an_object_by_turns() {
    let schema = schema(&[("a", CATEGORY), ("a.n", Kind::Number)]);
    let (_, rows) = decode_with(&schema, br#"{"a":"x"}"#).unwrap();
    assert_eq!(cells(&rows, &schema), ["\"x\"", "missing"]);
    let (_, rows) = decode_with(&schema, br#"{"a":{"n":2}}"#).unwrap();
    assert_eq!(cells(&rows, &schema), ["missing", "4000000000000000"]);
}
