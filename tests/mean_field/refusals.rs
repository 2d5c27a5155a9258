//! Models that can't be are refused when they are made, by name.

use candle_core::{Result, Tensor};
use surprisal::features::{Column, Kind, Schema};
use surprisal::models::mean_field::{Draws, Events, LogJoint, MeanField, MeanFieldConfig, Parameter};

/// `x ~ N(centre, 1)`, wrong in one way.
#[derive(Debug)]
struct Wrong {
    columns: &'static [&'static str],
    parameters: Vec<Parameter>,
    likelihood: fn(&Draws, &Events) -> Result<Tensor>,
}

impl LogJoint for Wrong {
    fn name(&self) -> &'static str {
        "wrong"
    }

    fn columns(&self) -> Vec<&str> {
        self.columns.to_vec()
    }

    fn parameters(&self) -> Vec<Parameter> {
        self.parameters.clone()
    }

    fn log_likelihood(&self, theta: &Draws, events: &Events) -> Result<Tensor> {
        (self.likelihood)(theta, events)
    }
}

fn right() -> Wrong {
    Wrong {
        columns: &["x"],
        parameters: vec![Parameter::real("centre", 1, 0.0, 1.0)],
        likelihood: |theta, events| events["x"].broadcast_sub(&theta["centre"])?.sqr()? * -0.5,
    }
}

fn made(joint: Wrong, config: MeanFieldConfig) -> std::result::Result<(), String> {
    let column = |name: &str, kind| Column { name: name.into(), path: vec![name.into()], kind };
    let schema = Schema::new(vec![column("x", Kind::Number), column("at", Kind::Timestamp)]);
    MeanField::new(&schema, joint, config).map(|_| ()).map_err(|error| error.to_string())
}

#[test]
fn models_that_cannot_be_are_refused_by_name() {
    assert_eq!(made(right(), MeanFieldConfig::default()), Ok(()));
    let parameters = |parameters: &[Parameter]| Wrong { parameters: parameters.to_vec(), ..right() };
    let cases = [
        (
            Wrong { columns: &["x", "y"], ..right() },
            "`wrong` reads the column \"y\", but the columns are \"x\", \"at\"; add it to the columns, or change `LogJoint::columns`",
        ),
        (
            Wrong { columns: &["at"], ..right() },
            "`wrong` reads the column \"at\", but that is a timestamp; add it to the columns, or change `LogJoint::columns`",
        ),
        (
            parameters(&[Parameter::positive("centre", 1, 0.0, 1.0)]),
            "`wrong`, parameter \"centre\": the prior's median is 0; it must be above 0",
        ),
        (
            parameters(&[Parameter::unit("centre", 1, 1.5, 1.0)]),
            "`wrong`, parameter \"centre\": the prior's median is 1.5; it must be between 0 and 1",
        ),
        (
            parameters(&[Parameter::real("centre", 1, 0.0, 0.0)]),
            "`wrong`, parameter \"centre\": the prior's sd is 0; it must be above 0",
        ),
        (
            parameters(&[Parameter::real("centre", 0, 0.0, 1.0)]),
            "`wrong`, parameter \"centre\": its length is 0; it must be at least 1",
        ),
        (
            parameters(&[Parameter::real("centre", 1, 0.0, 1.0), Parameter::real("centre", 1, 0.0, 1.0)]),
            "`wrong`, parameter \"centre\": two parameters have this name; names must differ",
        ),
        (
            parameters(&[Parameter::real("centre", 257, 0.0, 1.0)]),
            "`wrong`, parameter \"centre\": all lengths sum up to 257; there must be 1 to 256",
        ),
        (parameters(&[]), "`wrong`, parameter \"\": all lengths sum up to 0; there must be 1 to 256"),
        (
            Wrong { likelihood: |theta, events| events["x"].broadcast_sub(&theta["centre"])?.t()?.contiguous(), ..right() },
            "`wrong`: the likelihood of 3 events under 2 draws fails: its shape is [3, 2]; it must be [2, 3], draws first and events last",
        ),
        (
            Wrong { likelihood: |theta, events| events["x"].broadcast_sub(&theta["centre"].detach()), ..right() },
            "`wrong`: the likelihood of 3 events under 2 draws fails: it has no gradient by \"centre\"; it must be made of `theta` by candle \
             operations",
        ),
        (
            Wrong { likelihood: |theta, events| &events["x"] - &theta["centre"], ..right() },
            "`wrong`: the likelihood of 3 events under 2 draws fails: shape mismatch in sub, lhs: [1, 3], rhs: [2, 1]",
        ),
    ];
    for (joint, message) in cases {
        assert_eq!(made(joint, MeanFieldConfig::default()), Err(message.into()));
    }
    for (config, message) in [
        (MeanFieldConfig { pairs: 0, ..Default::default() }, "the mean field's pairs is 0; it must be from 1 to 4096"),
        (MeanFieldConfig { steps: 0, ..Default::default() }, "the mean field's steps is 0; it must be from 1 to 1000"),
        (
            MeanFieldConfig { scoring_pairs: 0, ..Default::default() },
            "the mean field's scoring_pairs is 0; it must be from 1 to 4096",
        ),
        (MeanFieldConfig { tolerance: f64::NAN, ..Default::default() }, "the mean field's tolerance is NaN; it must be above 0"),
        (MeanFieldConfig { longest_step: 0.0, ..Default::default() }, "the mean field's longest_step is 0; it must be above 0"),
        (
            MeanFieldConfig { first_events: 65537, ..Default::default() },
            "the mean field's first_events is 65537; it must be at most 65536",
        ),
    ] {
        assert_eq!(made(right(), config), Err(message.into()));
    }
}

#[test]
#[should_panic(expected = "no parameter is named \"center\" in `LogJoint::parameters`")]
fn a_misspelt_parameter_is_named() {
    let likelihood = |theta: &Draws, _: &Events| theta["center"].sqr();
    let _ = made(Wrong { likelihood, ..right() }, MeanFieldConfig::default());
}

#[test]
#[should_panic(expected = "no column is named \"y\" in `LogJoint::columns`")]
fn a_misspelt_column_is_named() {
    let likelihood = |_: &Draws, events: &Events| events["y"].sqr();
    let _ = made(Wrong { likelihood, ..right() }, MeanFieldConfig::default());
}
