//! Scores by as many cores as are worth it. A score doesn't depend on the rows beside it, so the bits are those of one core.

use crate::features::RowsView;
use crate::models::{Model, Surprisal};

/// Multiplications that are worth a core: a hundred microseconds or so, where it takes some ten to wake a thread.
const WORTH_A_CORE: usize = 1 << 21;

/// Rows of a core are a multiple of this, so that no vector is part empty.
const GRAIN: usize = 32;

/// The surprisals of `rows`.
pub fn score<M: Model>(model: &M, posterior: &M::Posterior, rows: RowsView<'_>) -> Vec<Surprisal> {
    let of = |rows: RowsView<'_>| {
        let mut surprisals = Vec::with_capacity(rows.len());
        model.score(posterior, rows, &mut surprisals);
        surprisals
    };
    let multiplications = model.multiplications();
    if multiplications == 0 {
        return of(rows);
    }
    let each = share(rows.len(), multiplications, rayon::current_num_threads());
    if each >= rows.len() {
        return of(rows);
    }
    // The first part is done here: nobody waits for a thread to wake.
    let mut parts = vec![Vec::new(); rows.len().div_ceil(each)];
    rayon::in_place_scope(|scope| {
        let mut parts = parts.iter_mut().zip((0..rows.len()).step_by(each));
        let first = parts.next();
        for (part, start) in parts {
            scope.spawn(move |_| *part = of(rows.slice(start..rows.len().min(start + each))));
        }
        if let Some((part, start)) = first {
            *part = of(rows.slice(start..start + each));
        }
    });
    parts.concat()
}

/// Of so many rows those that a core takes, where each costs so many multiplications.
fn share(rows: usize, multiplications: usize, cores: usize) -> usize {
    rows.div_ceil(cores).max(WORTH_A_CORE.div_ceil(multiplications)).next_multiple_of(GRAIN)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dist::testing::normal;
    use crate::features::{Column, Kind, Rows, Schema, Task};
    use crate::models::neural_network::{Network, NetworkConfig};

    #[test]
    fn several_cores_give_the_bits_of_one() {
        let column = |(name, kind): (&str, Kind)| Column { name: name.into(), path: vec![name.into()], kind };
        let schema = Schema::new([("x", Kind::Number), ("y", Kind::Boolean)].map(column).to_vec());
        let model = Network::new(&schema, &Task { target: 1, inputs: vec![0] }, NetworkConfig::default()).unwrap();
        assert_eq!([1, 2, 3, 7].map(|cores| share(500, model.multiplications(), cores)), [512, 256, 192, 96]);
        assert!(share(500, 100, 7) > 500, "what is cheap stays together");
        let cell = |at: u64| if at.is_multiple_of(2) { normal(at) } else { f64::from(u8::from(normal(at) > 0.0)) };
        let rows = Rows::from_cells(2, (0..1000).map(cell).collect());
        let posterior = model.posterior(&model.nothing()).unwrap();
        let by = |cores| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(cores).build().unwrap();
            pool.install(|| score(&model, &posterior, rows.view()))
        };
        let one = by(1);
        assert!(one.len() == 500 && one[0] != one[1]);
        for cores in [2, 3, 7] {
            assert_eq!(by(cores), one, "{cores} cores");
        }
    }
}
