//! Any bytes are a filter, or are refused with an error that has a message; never a panic, and never beyond the limits.
#![no_main]

use dvse_server::rest::{FilterLimits, filter_from_json};
use dvse_types::{Condition, Filter};
use libfuzzer_sys::fuzz_target;

const LIMITS: FilterLimits = FilterLimits { depth_max: 8, conditions_max: 64 };

fuzz_target!(|json: &[u8]| {
    match filter_from_json(json, LIMITS) {
        Ok(filter) => {
            let (depth, conditions) = measure(&filter);
            assert!(depth <= LIMITS.depth_max && conditions <= LIMITS.conditions_max);
        }
        Err(error) => assert!(!error.message().is_empty()),
    }
});

/// The levels of a filter and its conditions.
fn measure(filter: &Filter) -> (usize, usize) {
    let lists = [&filter.must, &filter.should, &filter.must_not];
    let min_should = filter.min_should.iter().flat_map(|inner| &inner.conditions);
    let (mut depth, mut conditions) = (0, 0);
    for condition in lists.into_iter().flatten().chain(min_should) {
        conditions += 1;
        match condition {
            Condition::Nested { filter, .. } => {
                let (inner_depth, inner) = measure(filter);
                depth = depth.max(inner_depth);
                conditions += inner;
            }
            // A condition that asks for `is_empty: false` is a filter the reader made: it has one condition more and no
            // level in the text.
            Condition::Filter(filter) if is_negation(filter) => {}
            Condition::Filter(filter) => {
                let (inner_depth, inner) = measure(filter);
                depth = depth.max(inner_depth);
                conditions += inner;
            }
            _ => {}
        }
    }
    (depth + 1, conditions)
}

fn is_negation(filter: &Filter) -> bool {
    let alone = filter.must.is_empty() && filter.should.is_empty() && filter.min_should.is_none();
    alone && matches!(filter.must_not.as_slice(), [Condition::IsEmpty(_) | Condition::IsNull(_)])
}
