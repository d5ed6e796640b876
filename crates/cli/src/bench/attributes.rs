//! Payloads made up for `bench filter`: numbers by which any share of the points can be asked for, wherever these points
//! lie.

use clap::ValueEnum;
use dvse_types::{Condition, FieldKind, FieldTest, Filter, Payload, PayloadPath, Range};
use serde_json::json;

use super::files::Inputs;
use super::machine::Draw;
use super::measure::row;
use super::truth::exact_distance;
use crate::failure::Result;

/// Where the points that pass lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Kind {
    /// Anywhere.
    Random,
    /// Around the query: nearest to the pivot that the query is nearest to.
    Correlated,
    /// Away from the query: farthest from the pivot that the query is nearest to.
    AntiCorrelated,
}

impl Kind {
    /// The name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Random => "random",
            Kind::Correlated => "correlated",
            Kind::AntiCorrelated => "anti-correlated",
        }
    }
}

/// Points of the base that the others are ordered by. Queries near different pivots get different filters.
const PIVOTS: usize = 8;

/// The rank of every row in some orders: at random, and by the distance to each pivot.
pub struct Attributes {
    /// For each order the rank of each row.
    ranks: Vec<Vec<u32>>,
    /// For each query the order of the pivot nearest to it.
    nearest: Vec<usize>,
    rows: usize,
}

impl Attributes {
    /// Draws the pivots and ranks all rows.
    pub fn new(inputs: &Inputs) -> Attributes {
        let base = &inputs.base;
        let mut draw = Draw(11);
        let pivots: Vec<usize> = (0..PIVOTS).map(|_| draw.below(base.rows)).collect();
        let far = |query: &[f32], number: usize| exact_distance(inputs.metric, query, row(base, number));
        let mut ranks = vec![ranks_by(base.rows, |_| draw.next() as f64)];
        ranks.extend(pivots.iter().map(|pivot| ranks_by(base.rows, |number| far(row(base, *pivot), number))));
        let nearest_to = |query: &[f32]| {
            let distances = pivots.iter().map(|pivot| far(query, *pivot));
            distances.enumerate().min_by(|a, b| a.1.total_cmp(&b.1)).map_or(1, |(pivot, _)| pivot + 1)
        };
        let nearest = inputs.queries.data.chunks_exact(inputs.queries.dim).map(nearest_to).collect();
        Attributes { ranks, nearest, rows: base.rows }
    }

    /// The fields that hold the ranks, all to be indexed.
    ///
    /// # Errors
    /// None that can be met: the names are paths.
    pub fn fields() -> Result<Vec<(PayloadPath, FieldKind)>> {
        (0..=PIVOTS).map(|order| Ok((name(order).parse()?, FieldKind::Integer))).collect()
    }

    /// The payload of a row.
    pub fn payload(&self, number: usize) -> Payload {
        self.ranks.iter().enumerate().map(|(order, ranks)| (name(order), json!(ranks[number]))).collect()
    }

    /// The filter that `passing` rows pass, for the query of a number.
    ///
    /// # Errors
    /// None that can be met: the names are paths.
    pub fn filter(&self, kind: Kind, passing: usize, query: usize) -> Result<Filter> {
        let order = if kind == Kind::Random { 0 } else { self.nearest[query] };
        let range = match kind {
            Kind::Random | Kind::Correlated => Range { lt: Some(passing as f64), ..Range::default() },
            Kind::AntiCorrelated => {
                Range { gte: Some(self.rows.saturating_sub(passing) as f64), ..Range::default() }
            }
        };
        let condition = Condition::Field { key: name(order).parse()?, test: FieldTest::Range(range) };
        Ok(Filter { must: vec![condition], ..Filter::default() })
    }
}

fn name(order: usize) -> String {
    if order == 0 { "random".to_owned() } else { format!("pivot{order}") }
}

/// The rank of each row when all are ordered by a key.
fn ranks_by(rows: usize, mut key: impl FnMut(usize) -> f64) -> Vec<u32> {
    let mut order: Vec<(f64, usize)> = (0..rows).map(|number| (key(number), number)).collect();
    order.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    let mut ranks = vec![0; rows];
    order.iter().enumerate().for_each(|(rank, (_, number))| ranks[*number] = rank as u32);
    ranks
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vectors::{Element, Matrix};
    use dvse_types::Metric;

    #[test]
    fn the_share_asked_for_passes_and_lies_where_it_is_said_to() {
        let column = |data: Vec<f32>| Matrix { rows: data.len(), dim: 1, data };
        let inputs = Inputs {
            base: column((0..100).map(|value| value as f32).collect()),
            queries: column(vec![0.0, 99.0]),
            element: Element::F32,
            lists: None,
            metric: Metric::L2,
        };
        let attributes = Attributes::new(&inputs);
        let passing = |kind, query| {
            let filter = attributes.filter(kind, 10, query).unwrap();
            let [Condition::Field { key, test: FieldTest::Range(range) }] = &filter.must[..] else {
                panic!("{filter:?}")
            };
            let rank = |number: &usize| attributes.payload(*number)[key.as_str()].as_f64().unwrap();
            (0..100).filter(|number| range.contains(rank(number))).collect::<Vec<usize>>()
        };
        for query in [0, 1] {
            assert_eq!(passing(Kind::Random, query), passing(Kind::Random, 0));
            for kind in [Kind::Random, Kind::Correlated, Kind::AntiCorrelated] {
                assert_eq!(passing(kind, query).len(), 10, "{kind:?}");
            }
            let mean = |kind| passing(kind, query).iter().sum::<usize>() as f64 / 10.0;
            let far = |kind| (mean(kind) - query as f64 * 99.0).abs();
            assert!(far(Kind::Correlated) < far(Kind::AntiCorrelated), "query {query}");
        }
    }
}
