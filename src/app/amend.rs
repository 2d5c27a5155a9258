//! `surprisal forget` and `surprisal rollback`: the posterior without some events, or as it was.

use std::sync::Arc;

use super::service::decoder;
use super::{AppError, ModelOf, loop_settings, say, stream_settings};
use crate::cli::{ForgetArgs, RollbackArgs, SnapshotName};
use crate::config::Config;
use crate::engine::Means;
use crate::pipeline::SystemClock;
use crate::pipeline::amend::{Amended, Amender, Amendment};
use crate::record::{Offset, Partition, Span};
use crate::stream::Stream;
use crate::stream::kafka::{self, KafkaStream};

/// Takes events out of the posterior.
pub fn forget(config: &Config, arguments: &ForgetArgs, model_of: ModelOf<'_>) -> Result<(), AppError> {
    let partition = arguments.partition.map(Partition);
    let (amendment, empty) = match (partition, arguments.from, arguments.to, arguments.since, arguments.until) {
        (Some(partition), Some(from), Some(to), ..) => {
            (Amendment::ForgetOffsets { partition, span: Span { from: Offset(from), to: Offset(to) } }, to <= from)
        }
        (partition, _, _, Some(since_ms), Some(until_ms)) => {
            (Amendment::ForgetTimes { partition, since_ms, until_ms }, until_ms <= since_ms)
        }
        _ => unreachable!("the command line has either"),
    };
    if empty {
        return Err(AppError::Unusable("there is nothing between the two ends: the second has to come after the first".into()));
    }
    amend(config, &amendment, arguments.dry_run, model_of)
}

/// Sets the posterior back to an earlier snapshot.
pub fn roll_back(config: &Config, arguments: &RollbackArgs, model_of: ModelOf<'_>) -> Result<(), AppError> {
    let amendment = match arguments.to {
        SnapshotName::One { partition, covers_to } => {
            Amendment::RollBack { partition: Partition(partition), covers_to: Offset(covers_to) }
        }
        SnapshotName::Time(to_ms) => Amendment::RollBackAll { to_ms },
    };
    amend(config, &amendment, arguments.dry_run, model_of)
}

fn amend(config: &Config, amendment: &Amendment, dry: bool, model_of: ModelOf<'_>) -> Result<(), AppError> {
    let Config { model: model_config, schema, kafka, .. } = config;
    let model = model_of(&config.modelled(), model_config)?;
    // A static member stays in the group when it has left.
    let settings = kafka::Settings { static_membership: false, ..stream_settings(&model_config.id, kafka) };
    let members = kafka::members(&settings)?;
    if !members.is_empty() {
        return Err(AppError::Unusable(format!(
            "the group `{}` has members: {}; stop all instances first, and wait {:?} for one that was killed or is a static member",
            kafka.group,
            members.join(", "),
            kafka.session_timeout
        )));
    }
    let partitions = kafka::check(&settings)?.event_partitions as usize;
    let mut stream = KafkaStream::connect(settings, Arc::new(decoder(schema, kafka)), schema.width())?;
    let amender = Amender {
        model: &model,
        schema,
        setup: config.setup(),
        settings: &loop_settings(&model_config.id, kafka),
        stream: &mut stream,
        clock: &SystemClock::default(),
        partitions,
    };
    let amended = amender.amend(amendment, dry);
    stream.close();
    for amended in amended? {
        say(line(&amended))?;
    }
    if dry {
        say("nothing was changed: this is what would be")?;
    }
    Ok(())
}

/// What has become of a partition, in a line.
fn line(amended: &Amended) -> String {
    let Amended { partition, forgotten, events_before, events, covers_to, committed } = *amended;
    let span = forgotten.span;
    let done = match forgotten.means {
        Means::Unlearnt => "they were not learnt yet, and will not be".into(),
        Means::Subtracted => {
            format!("the evidence of {} events is subtracted, {events} are left", events_before.saturating_sub(events))
        }
        Means::Relearnt => format!(
            "back to {events} of {events_before} events; the next start learns offsets {covers_to} to {committed} again, without them"
        ),
        Means::RolledBack => format!("back to {events} of {events_before} events"),
    };
    format!("partition {partition}: offsets {span} are forgotten: {done}")
}
