//! Rows as numbers: what a regression or a network sees of the columns that it is given.
//!
//! A number stands for itself, a count for `ln(1 + x)`, a boolean for 0 or 1; missing values stay NaN, for the model to deal with. A
//! category becomes a short row of 0s and 1s: its text is hashed to [`HASHES`] of the column's buckets, so no vocabulary has to be
//! learnt, kept or merged, and two texts are the same only if they share all of them (Weinberger et al. 2009). A missing category is
//! all zeros.

use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::{Kind, RowsView, Schema};

/// Buckets that stand for one text.
pub const HASHES: u64 = 2;

/// Buckets of a category column at most.
pub const MOST_BUCKETS: usize = 32;

/// Columns in the order of their cells, turned into numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Design {
    inputs: Vec<Input>,
    names: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Input {
    /// Cells one after another that stand for themselves.
    Plain {
        cell: usize,
        count: usize,
    },
    Count {
        cell: usize,
    },
    Category {
        cell: usize,
        buckets: usize,
    },
}

impl Design {
    /// The design of the columns at `cells`. A timestamp has no place in it.
    pub fn new(schema: &Schema, cells: impl IntoIterator<Item = usize>) -> Self {
        let (mut inputs, mut names) = (Vec::new(), Vec::new());
        for cell in cells {
            let column = &schema.columns()[cell];
            match column.kind {
                Kind::Number | Kind::Boolean => match inputs.last_mut() {
                    Some(Input::Plain { cell: first, count }) if *first + *count == cell => *count += 1,
                    _ => inputs.push(Input::Plain { cell, count: 1 }),
                },
                Kind::Count => inputs.push(Input::Count { cell }),
                Kind::Category { capacity } => {
                    let buckets = (4 * capacity).min(MOST_BUCKETS);
                    inputs.push(Input::Category { cell, buckets });
                    names.extend((0..buckets).map(|bucket| format!("{} #{bucket}", column.name)));
                    continue;
                }
                Kind::Timestamp => continue,
            }
            names.push(column.name.clone());
        }
        Self { inputs, names }
    }

    /// Numbers in a row.
    pub fn width(&self) -> usize {
        self.names.len()
    }

    /// What each number is called.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// Appends each row's numbers to `out`: `[rows, width]`, row-major, NaN where missing.
    pub fn extend(&self, rows: RowsView<'_>, out: &mut Vec<f64>) {
        let (start, width) = (out.len(), self.width());
        out.resize(start + rows.len() * width, 0.0);
        for index in 0..rows.len() {
            self.fill(rows, index, &mut out[start + index * width..start + (index + 1) * width]);
        }
    }

    /// Writes the numbers of row `index` to `out` `[width]`, NaN where missing.
    pub fn fill(&self, rows: RowsView<'_>, index: usize, out: &mut [f64]) {
        let row = rows.row(index);
        let mut at = 0;
        for input in &self.inputs {
            match *input {
                Input::Plain { cell, count } => {
                    out[at..at + count].copy_from_slice(&row[cell..cell + count]);
                    at += count;
                }
                Input::Count { cell } => {
                    out[at] = row[cell].ln_1p();
                    at += 1;
                }
                Input::Category { cell, buckets } => {
                    let out = &mut out[at..at + buckets];
                    out.fill(0.0);
                    if let Some(text) = rows.text(row[cell]) {
                        for seed in 0..HASHES {
                            out[(xxh3_64_with_seed(text.as_bytes(), seed) % buckets as u64) as usize] = 1.0;
                        }
                    }
                    at += buckets;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::features::{Column, Rows};

    #[test]
    fn columns_become_numbers() {
        let kinds = [
            ("load", Kind::Number),
            ("at", Kind::Timestamp),
            ("retries", Kind::Count),
            ("host", Kind::Category { capacity: 2 }),
            ("ok", Kind::Boolean),
        ];
        let column = |(name, kind): (&str, Kind)| Column { name: name.into(), path: vec![name.into()], kind };
        let schema = Schema::new(kinds.map(column).to_vec());
        let design = Design::new(&schema, 0..5);
        assert_eq!(design.width(), 11);
        assert_eq!(design.names()[2], "host #0");
        let mut rows = Rows::new(5);
        for host in [Some("web-1"), Some("web-2"), None, Some("web-1")] {
            let (cells, texts) = rows.push_missing();
            cells[0] = 2.5;
            cells[2] = 3.0;
            if let Some(host) = host {
                cells[3] = texts.push(host) as f64;
            }
        }
        let mut out = Vec::new();
        design.extend(rows.view(), &mut out);
        let row = |index: usize| &out[11 * index..11 * (index + 1)];
        assert_eq!(row(0)[..2], [2.5, 4.0_f64.ln()]);
        assert!(row(0)[10].is_nan());
        let buckets = |index: usize| &row(index)[2..10];
        assert!((1.0..=2.0).contains(&buckets(0).iter().sum()));
        assert_eq!(buckets(0), buckets(3));
        assert_ne!(buckets(0), buckets(1));
        assert_eq!(buckets(2), [0.0; 8]);
    }
}
