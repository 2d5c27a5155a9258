//! Forgetting that the stream chooses: copies of a model that differ only in their half-life, averaged by how well each predicts.
//!
//! Member i learns as the model itself does, but of its evidence only `2^(−n/hᵢ)` is left with each block of n events, beside what
//! the block's own pace takes; `h` is [`HALF_LIVES`]. With sᵢ its surprisal of an event, and s* the least of them, members are
//! averaged by their prequential evidence (Raftery, Kárný & Ettler 2010, section 3; Koop & Korobilis 2012):
//!
//! - `−ln p(x) = −ln Σ wᵢ exp(−sᵢ)`, `wᵢ ∝ exp(ℓᵢ)`;
//! - `ℓᵢ ← 2^(−n/500) ℓᵢ + Σ_block max(s* − sᵢ, −10)`.
//!
//! ℓ adds over partitions, like all evidence. It is forgotten itself, since which memory is right changes as well; and an event's
//! say is at most 10 nats, so that one far out does not decide. Half-lives are a factor of eight apart: forgetting costs a steady
//! stream in proportion to 1/h and a drifting one in proportion to h, so that at the farthest from the best h, a factor of √8, the
//! loss is 1.6 times the least.
//!
//! **Units.** A surprisal is with respect to a number's spread as its posterior knows it, and members remember different spreads.
//! So before they are compared all are converted to the units of the member that forgets least, by [`Model::scales`].

use std::collections::BTreeMap;

use xxhash_rust::xxh3::xxh3_64;

use super::{
    Block, ColumnSummary, Contribution, Evidence, Expected, Explanation, Learnt, Model, NotFinite, Part, Prediction, Surprisal,
};
use crate::checkpoint::{CheckpointError, Reader, Tensor, TooLarge};
use crate::features::{Rows, RowsView, Schema};
use crate::inference::elbo::log_sum_exp;
use crate::inference::rule::Pace;
use crate::noise::Noise;

/// How many members there are.
const MEMBERS: usize = HALF_LIVES.len();

/// Half-lives of the members in events, the longest last.
pub const HALF_LIVES: [f64; 4] = [250.0, 2000.0, 16_000.0, f64::INFINITY];

/// The member that forgets least.
const LASTING: usize = MEMBERS - 1;

/// Events after which an event's say in the weights is half.
const SAY_HALF_LIFE: f64 = 500.0;

/// The most that an event has to say of a member, in nats.
const MOST_SAY: f64 = 10.0;

/// Events learnt in one step, unless something else is asked for: a 32nd of what the member of the shortest half-life remembers, as
/// it is everywhere.
pub const USUAL_BLOCK: usize = 8;

/// Events learnt in one step at most.
pub const MAX_BLOCK: usize = 32;

/// A number whose spread is to a member less than this share of what it is to the lasting one stands still: its density there grows
/// without bound, and counts as if the spread were this.
const STANDSTILL: f64 = 1e-4;

/// The stream of noise that tells of which member a drawn event is.
const CHOICE: u32 = u32::MAX;

const LN_WEIGHTS: &str = "inferred.ln_weights";

/// A model whose half-life is inferred from the stream.
#[derive(Clone, Debug)]
pub struct Inferred<M> {
    model: M,
    schema: Schema,
}

/// What data say to each member, and of each.
#[derive(Clone, Debug, PartialEq)]
pub struct InferredEvidence<E> {
    /// In the order of [`HALF_LIVES`].
    members: Vec<E>,
    /// ℓ `[members]`: never above 0.
    ln_weights: [f64; MEMBERS],
}

impl<E: Evidence> Evidence for InferredEvidence<E> {
    fn add(&mut self, other: &Self) {
        self.members.iter_mut().zip(&other.members).for_each(|(ours, theirs)| ours.add(theirs));
        self.ln_weights.iter_mut().zip(&other.ln_weights).for_each(|(ours, theirs)| *ours += theirs);
    }

    fn scale(&mut self, factor: f64) {
        self.members.iter_mut().for_each(|member| member.scale(factor));
        self.ln_weights.iter_mut().for_each(|weight| *weight *= factor);
    }

    /// Of the member that forgets least.
    fn events(&self) -> f64 {
        self.members[LASTING].events()
    }

    fn tensors(&self) -> Vec<Tensor> {
        let mut tensors = vec![Tensor::f64(LN_WEIGHTS, &[MEMBERS], self.ln_weights.into())];
        for (index, member) in self.members.iter().enumerate() {
            let named = |tensor: Tensor| Tensor { name: prefix(index) + &tensor.name, ..tensor };
            tensors.extend(member.tensors().into_iter().map(named));
        }
        tensors
    }
}

/// What the names of a member's tensors begin with.
fn prefix(member: usize) -> String {
    format!("member.{member}.")
}

/// `ln w` for ℓ.
fn normalised(ln_weights: [f64; MEMBERS]) -> [f64; MEMBERS] {
    let total = log_sum_exp(&ln_weights);
    ln_weights.map(|weight| weight - total)
}

/// The member of the greatest weight; of several the one that forgets least.
fn likeliest(ln_weights: &[f64; MEMBERS]) -> usize {
    (0..MEMBERS).max_by(|one, other| ln_weights[*one].total_cmp(&ln_weights[*other])).unwrap_or(LASTING)
}

/// The half-life that members with these half-lives and weights have together, `1 / Σ (wᵢ/hᵢ)`: rates of forgetting are averaged,
/// of which never is 0.
pub fn half_life(memory: &[(f64, f64)]) -> Option<f64> {
    (!memory.is_empty()).then(|| memory.iter().map(|(half_life, weight)| weight / half_life).sum::<f64>().recip())
}

/// q(θ) of each member, and the members' weights.
#[derive(Clone, Debug)]
pub struct InferredPosterior<P> {
    members: Vec<P>,
    /// `ln w` `[members]`.
    ln_weights: [f64; MEMBERS],
    /// Of each member, `ln` of its scale over the lasting member's, of the cells where they differ.
    exchange: Vec<Vec<(usize, f64)>>,
}

impl<P> InferredPosterior<P> {
    /// w `[members]`.
    fn weights(&self) -> [f64; MEMBERS] {
        self.ln_weights.map(f64::exp)
    }

    fn likeliest(&self) -> &P {
        &self.members[likeliest(&self.ln_weights)]
    }

    /// What is to be added to a surprisal of `row` by `member` for its units to be the lasting member's: a nat for each factor of
    /// e.
    fn exchange<'a>(&'a self, member: usize, row: &'a [f64]) -> impl Iterator<Item = (usize, f64)> + 'a {
        self.exchange[member].iter().copied().filter(|(cell, _)| !row[*cell].is_nan())
    }

    /// `−ln Σ wᵢ exp(−sᵢ)`, and its standard deviation over member and θ by the law of total variance, `Σ wᵢ (sdᵢ² + (sᵢ − s̄)²)`,
    /// where no member is further than [`MOST_SAY`] from the best: that is how far they are told apart.
    fn mix(&self, members: &[Surprisal; MEMBERS]) -> Surprisal {
        let nats = members.map(|member| member.nats);
        let (best, worst) = (least(&nats), nats.into_iter().fold(f64::NEG_INFINITY, f64::max));
        let weights = self.weights();
        let gaps = nats.map(|nats| gap(nats, best));
        let mean: f64 = gaps.iter().zip(weights).map(|(gap, weight)| weight * gap).sum();
        let spread = gaps.iter().zip(weights).zip(members);
        let variance: f64 = spread.map(|((gap, weight), member)| weight * (member.sd.powi(2) + (gap - mean).powi(2))).sum();
        // Rounding leaves it among the members': where they agree, it is what they say.
        Surprisal { nats: self.together(&nats).clamp(best, worst), sd: variance.sqrt() }
    }

    /// `−ln Σ wᵢ exp(−xᵢ)`.
    fn together(&self, nats: &[f64; MEMBERS]) -> f64 {
        let mut joint = self.ln_weights;
        joint.iter_mut().zip(nats).for_each(|(joint, nats)| *joint -= nats);
        -log_sum_exp(&joint)
    }
}

fn least(nats: &[f64; MEMBERS]) -> f64 {
    nats.iter().copied().fold(f64::INFINITY, f64::min)
}

/// By how much a member is worse than the best, as far as it may count. Where both are infinite it is the same for all members, and
/// says nothing.
fn gap(nats: f64, best: f64) -> f64 {
    (nats - best).min(MOST_SAY)
}

/// The average of the parts by their weights; none of parts that have no weight.
fn average<const N: usize>(parts: impl Iterator<Item = (f64, [f64; N])>) -> Option<[f64; N]> {
    let (mut total, mut sums) = (0.0, [0.0; N]);
    for (weight, part) in parts {
        total += weight;
        sums.iter_mut().zip(part).for_each(|(sum, part)| *sum += weight * part);
    }
    (total > 0.0).then(|| sums.map(|sum| sum / total))
}

/// What members, each with its weight, expect of a field together: numbers are averaged as in [`Inferred::predict`], and of values
/// it is the likeliest member's.
fn expected(parts: &[(f64, &Expected)]) -> Option<Expected> {
    let (_, likeliest) = parts.iter().max_by(|(one, _), (other, _)| one.total_cmp(other))?;
    let number = |expected: &Expected| match expected {
        Expected::Number { mean, lower, upper } => Some([*mean, *lower, *upper]),
        Expected::Value { .. } => None,
    };
    let together =
        number(likeliest).and_then(|_| average(parts.iter().filter_map(|(weight, part)| Some((*weight, number(part)?)))));
    Some(together.map_or_else(|| (*likeliest).clone(), |[mean, lower, upper]| Expected::Number { mean, lower, upper }))
}

impl<M: Model> Inferred<M> {
    /// `model` over `schema`, its half-life inferred. A model that forgets by itself, or averages what others have learnt, has no
    /// use for it.
    pub fn new(model: M, schema: &Schema) -> Result<Self, TooLarge> {
        let numbers: usize = model.nothing().tensors().iter().map(|tensor| tensor.data.len()).sum();
        TooLarge::check(MEMBERS * numbers, "a number as half-life, which needs a quarter of it, or fewer columns")?;
        Ok(Self { model, schema: schema.clone() })
    }

    fn believe(
        &self,
        ln_weights: [f64; MEMBERS],
        member: impl Fn(usize) -> Result<M::Posterior, NotFinite>,
    ) -> Result<InferredPosterior<M::Posterior>, NotFinite> {
        let ln_weights = normalised(ln_weights);
        if !ln_weights.iter().all(|weight| weight.is_finite()) {
            return Err(NotFinite { quantity: "a weight of a half-life".into() });
        }
        let members: Vec<M::Posterior> = (0..MEMBERS).map(member).collect::<Result<_, _>>()?;
        let lasting: BTreeMap<usize, f64> = self.model.scales(&members[LASTING]).into_iter().collect();
        let exchange = |member| {
            let scales = self.model.scales(member).into_iter();
            scales
                .filter_map(|(cell, scale)| Some((cell, scale / lasting.get(&cell)?)))
                .filter(|(_, ratio)| *ratio != 1.0)
                .map(|(cell, ratio)| (cell, ratio.max(STANDSTILL).ln()))
                .collect()
        };
        let exchange = members.iter().map(exchange).collect();
        Ok(InferredPosterior { members, ln_weights, exchange })
    }

    /// Each member's surprisals of `rows`, in the units of the lasting one. What a member can't tell is impossible to it.
    fn scored(&self, posterior: &InferredPosterior<M::Posterior>, rows: RowsView<'_>) -> Vec<[Surprisal; MEMBERS]> {
        let mut found = vec![[Surprisal::default(); MEMBERS]; rows.len()];
        let mut surprisals = Vec::with_capacity(rows.len());
        for (index, member) in posterior.members.iter().enumerate() {
            surprisals.clear();
            self.model.score(member, rows, &mut surprisals);
            for (row, Surprisal { nats, sd }) in surprisals.iter().enumerate() {
                let nats = nats + posterior.exchange(index, rows.row(row)).map(|(_, ln)| ln).sum::<f64>();
                let impossible = Surprisal { nats: f64::INFINITY, sd: 0.0 };
                found[row][index] = if nats < f64::INFINITY { Surprisal { nats, sd: *sd } } else { impossible };
            }
        }
        found
    }
}

impl<M: Model> Model for Inferred<M> {
    type Evidence = InferredEvidence<M::Evidence>;
    type Posterior = InferredPosterior<M::Posterior>;

    fn kind(&self) -> &'static str {
        self.model.kind()
    }

    fn fingerprint(&self) -> u64 {
        xxh3_64(format!("inferred 1\n{}\n{HALF_LIVES:?}\n", self.model.fingerprint()).as_bytes())
    }

    fn nothing(&self) -> Self::Evidence {
        InferredEvidence { members: vec![self.model.nothing(); MEMBERS], ln_weights: [0.0; MEMBERS] }
    }

    fn restore(&self, tensors: &[Tensor]) -> Result<Self::Evidence, CheckpointError> {
        let mut ln_weights = [0.0; MEMBERS];
        ln_weights.copy_from_slice(Reader(tensors).f64(LN_WEIGHTS, &[MEMBERS])?);
        if let Some(at) = ln_weights.iter().position(|weight| *weight > 0.0) {
            let detail = format!("element {at} is {}, expected 0 or less", ln_weights[at]);
            return Err(CheckpointError::BadValue { name: LN_WEIGHTS.into(), detail });
        }
        let member = |index| {
            let prefix = prefix(index);
            let own = |tensor: &Tensor| Some(Tensor { name: tensor.name.strip_prefix(&prefix)?.into(), ..tensor.clone() });
            let own: Vec<Tensor> = tensors.iter().filter_map(own).collect();
            self.model.restore(&own).map_err(|error| error.within(&prefix))
        };
        Ok(InferredEvidence { members: (0..MEMBERS).map(member).collect::<Result<_, _>>()?, ln_weights })
    }

    fn posterior(&self, evidence: &Self::Evidence) -> Result<Self::Posterior, NotFinite> {
        self.believe(evidence.ln_weights, |member| self.model.posterior(&evidence.members[member]))
    }

    fn belief(&self, own: &Self::Evidence, others: &Self::Evidence) -> Result<Self::Posterior, NotFinite> {
        let mut ln_weights = own.ln_weights;
        ln_weights.iter_mut().zip(&others.ln_weights).for_each(|(own, others)| *own += others);
        self.believe(ln_weights, |member| self.model.belief(&own.members[member], &others.members[member]))
    }

    fn reconcile(&self, own: &Self::Evidence, others: &Self::Evidence, news: &Self::Evidence, site: &mut Self::Evidence) {
        for (index, member) in site.members.iter_mut().enumerate() {
            self.model.reconcile(&own.members[index], &others.members[index], &news.members[index], member);
        }
    }

    fn reconciles(&self) -> bool {
        self.model.reconciles()
    }

    fn judges(&self, row: &[f64]) -> bool {
        self.model.judges(row)
    }

    fn score(&self, posterior: &Self::Posterior, rows: RowsView<'_>, surprisals: &mut Vec<Surprisal>) {
        surprisals.extend(self.scored(posterior, rows).iter().map(|members| posterior.mix(members)));
    }

    /// The mixture's mean and P(Y ≤ y), and the average of the members' quantiles: an interval of its own mass where members agree,
    /// and somewhat narrower than the mixture's where they don't.
    fn predict(&self, posterior: &Self::Posterior, rows: RowsView<'_>) -> Option<Vec<Option<Prediction>>> {
        let members = posterior.members.iter().map(|member| self.model.predict(member, rows));
        let members: Vec<Vec<Option<Prediction>>> = members.collect::<Option<_>>()?;
        let weights = posterior.weights();
        let row = |row: usize| {
            let parts = members.iter().zip(weights).filter_map(|(member, weight)| Some((weight, member[row]?)));
            let told = |Prediction { expected, lower, upper, probability }| [expected, lower, upper, probability];
            let [expected, lower, upper, probability] = average(parts.map(|(weight, part)| (weight, told(part))))?;
            Some(Prediction { expected, lower, upper, probability })
        };
        Some((0..rows.len()).map(row).collect())
    }

    /// By the chain rule over the fields, from the least surprising to the likeliest member to the most: what field j adds is `−ln
    /// Σ rᵢ exp(−cᵢⱼ)`, with cᵢⱼ what it adds by member i's account, and rᵢ the weights after the fields before it. So it lies
    /// within what members say, and is just that where they agree; a field on which they don't bears what it costs to change one's
    /// mind about the memory. (The average `Σ rᵢ cᵢⱼ` falls short of the surprisal by KL(r ‖ w), which nobody could be charged
    /// with.)
    fn explain(&self, posterior: &Self::Posterior, row: RowsView<'_>) -> Option<Explanation> {
        let scored = *self.scored(posterior, row).first()?;
        let surprisal = Some(posterior.mix(&scored).nats).filter(|nats| nats.is_finite())?;
        let mut accounts = Vec::with_capacity(MEMBERS);
        for (index, member) in posterior.members.iter().enumerate() {
            // What is impossible to a member it can't account for, nor has it a say.
            match self.model.explain(member, row) {
                Some(account) => accounts.push((index, account)),
                None if scored[index].nats.is_finite() => return None,
                None => {}
            }
        }
        let lead =
            accounts.iter().max_by(|(a, _), (b, _)| posterior.ln_weights[*a].total_cmp(&posterior.ln_weights[*b]))?.1.clone();
        let leading = |name: &str| lead.contributions.iter().any(|one| one.column == name);
        let mut names: Vec<&str> = Vec::new();
        for one in accounts.iter().flat_map(|(_, account)| &account.contributions) {
            if !leading(&one.column) && !names.contains(&one.column.as_str()) {
                names.push(&one.column);
            }
        }
        names.extend(lead.contributions.iter().rev().map(|one| one.column.as_str()));
        let mut left = [f64::INFINITY; MEMBERS];
        accounts.iter().for_each(|(member, _)| left[*member] = 0.0);
        let (mut told, mut contributions) = (0.0, Vec::with_capacity(names.len()));
        for (at, name) in names.iter().enumerate() {
            let mut parts = Vec::new();
            for (member, account) in &accounts {
                let exchanged = posterior.exchange(*member, row.row(0));
                let units =
                    exchanged.filter(|(cell, _)| self.schema.columns()[*cell].name == *name).map(|(_, ln)| ln).sum::<f64>();
                let own = account.contributions.iter().find(|one| one.column == *name);
                left[*member] += units + own.map_or(0.0, |own| own.nats);
                let weight = posterior.ln_weights[*member].exp();
                parts.extend(own.and_then(|own| Some((weight, own.expected.as_ref()?))));
            }
            // Taken from the surprisal as it was published, so that together they are it.
            let now = if at + 1 == names.len() { surprisal } else { posterior.together(&left) };
            contributions.push(Contribution { column: (*name).into(), nats: now - told, expected: expected(&parts) });
            told = now;
        }
        contributions.reverse();
        contributions.sort_by(|one, other| other.nats.total_cmp(&one.nats));
        Some(Explanation { contributions, nearest: lead.nearest })
    }

    /// Weighs the members by the block, and teaches each by its own posterior. Progress is the likeliest member's.
    fn learn(
        &self,
        posterior: &Self::Posterior,
        site: &Self::Evidence,
        block: Block<'_>,
    ) -> Result<Learnt<Self::Evidence>, NotFinite> {
        let Pace { retention, weight } = block.pace;
        let events = block.rows.len() as f64;
        let kept = |half_life: f64| retention * (-events / half_life).exp2();
        let mut ln_weights = site.ln_weights.map(|ln_weight| kept(SAY_HALF_LIFE) * ln_weight);
        for (row, members) in self.scored(posterior, block.rows).iter().enumerate() {
            let nats = members.map(|member| member.nats);
            let (best, believed) = (least(&nats), weight * block.believed(row));
            ln_weights.iter_mut().zip(nats).for_each(|(ln_weight, nats)| *ln_weight -= believed * gap(nats, best));
        }
        let member = |index: usize| {
            let pace = Pace { retention: kept(HALF_LIVES[index]), weight };
            self.model.learn(&posterior.members[index], &site.members[index], Block { pace, ..block })
        };
        let learnt: Vec<Learnt<M::Evidence>> = (0..MEMBERS).map(member).collect::<Result<_, _>>()?;
        let progress = learnt[likeliest(&posterior.ln_weights)].progress;
        let members = learnt.into_iter().map(|learnt| learnt.evidence).collect();
        Ok(Learnt { evidence: InferredEvidence { members, ln_weights }, progress })
    }

    fn reorganise(&self, rest: &Self::Evidence, site: &mut Self::Evidence) {
        rest.members.iter().zip(&mut site.members).for_each(|(rest, member)| self.model.reorganise(rest, member));
    }

    /// That of member and θ together: `Σ wᵢ KL(qᵢ ‖ p) + KL(w ‖ uniform)`.
    fn divergence(&self, posterior: &Self::Posterior) -> Option<f64> {
        let (weights, uniform) = (posterior.weights(), -(MEMBERS as f64).ln());
        let parts = posterior.members.iter().zip(weights).zip(posterior.ln_weights);
        let parts = parts.map(|((member, weight), ln)| Some(weight * (self.model.divergence(member)? + ln - uniform)));
        parts.sum()
    }

    fn sample(&self, posterior: &Self::Posterior, noise: Noise, count: usize) -> Option<Rows> {
        let members = posterior.members.iter().map(|member| self.model.sample(member, noise, count));
        let members: Vec<Rows> = members.collect::<Option<_>>()?;
        let (weights, categories) = (posterior.weights(), self.schema.categories());
        let mut rows = Rows::new(self.schema.width());
        for event in 0..count {
            let mut left = noise.uniform(event as u64, CHOICE, 0);
            let chosen = weights.iter().position(|weight| {
                left -= weight;
                left < 0.0
            });
            rows.extend(members[chosen.unwrap_or(LASTING)].view().slice(event..event + 1), &categories);
        }
        Some(rows)
    }

    fn scales(&self, posterior: &Self::Posterior) -> Vec<(usize, f64)> {
        self.model.scales(&posterior.members[LASTING])
    }

    fn memory(&self, posterior: &Self::Posterior) -> Vec<(f64, f64)> {
        HALF_LIVES.into_iter().zip(posterior.weights()).collect()
    }

    fn active(&self, posterior: &Self::Posterior) -> usize {
        self.model.active(posterior.likeliest())
    }

    fn columns(&self, evidence: &Self::Evidence) -> Vec<ColumnSummary> {
        self.model.columns(&evidence.members[likeliest(&evidence.ln_weights)])
    }

    fn parts(&self, posterior: &Self::Posterior) -> Vec<Part> {
        self.model.parts(posterior.likeliest())
    }
}

#[cfg(test)]
mod tests;
