//! What turns a product of whole numbers into an estimate of a distance, and by how much that may be wrong.
//!
//! All quantisers share one form. For a row with codes c and a query rounded to whole numbers k,
//!
//! > estimate = constant + added + scale · unit · (⟨c, k⟩ − center) + dim (m_q − m_x)²   or   … − dim · m_q · m_x,
//!
//! the last term by scalar codes alone. The estimate is wrong by at most error · radius + spread · rounding, and as
//! errors point anywhere in as many directions as there are values, most often by √dim less.

use dvse_types::Metric;

/// Bytes of the factors that follow the codes of a row.
pub(crate) const FACTOR_BYTES: usize = 16;

/// Bytes of the mean behind them, which scalar codes have.
pub(crate) const MEAN_BYTES: usize = 4;

/// The numbers of a row.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct Factors {
    /// The row's own part of the distance.
    pub(crate) added: f32,
    /// What a unit of the product of codes and query is worth.
    pub(crate) scale: f32,
    /// How much of the query's length the codes may misjudge.
    pub(crate) error: f32,
    /// How much of the query's rounding they may magnify.
    pub(crate) spread: f32,
    /// The mean of the row's values; 0 for codes that have none.
    pub(crate) mean: f32,
}

impl Factors {
    pub(crate) fn write(&self, to: &mut [u8]) {
        let numbers = [self.added, self.scale, self.error, self.spread, self.mean];
        for (to, number) in to.chunks_exact_mut(4).zip(numbers) {
            to.copy_from_slice(&number.to_le_bytes());
        }
    }

    /// Reads what [`Factors::write`] wrote to as many bytes.
    #[inline(always)]
    pub(crate) fn read(from: &[u8]) -> Factors {
        let number = |at: usize| match from.get(4 * at..).and_then(<[u8]>::first_chunk::<4>) {
            Some(bytes) => f32::from_le_bytes(*bytes),
            None => 0.0,
        };
        Factors {
            added: number(0),
            scale: number(1),
            error: number(2),
            spread: number(3),
            mean: if from.len() > FACTOR_BYTES { number(4) } else { 0.0 },
        }
    }

    /// Whether they can be those of a row.
    pub(crate) fn are_sound(&self) -> bool {
        [self.added, self.scale, self.mean].iter().all(|number| number.is_finite())
            && [self.error, self.spread].iter().all(|number| number.is_finite() && *number >= 0.0)
    }
}

/// The numbers of a query.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct QueryFactors {
    /// The query's own part of the distance.
    pub(crate) constant: f32,
    /// What a rounded value is worth.
    pub(crate) unit: f32,
    /// What the codes' middle adds to a product.
    pub(crate) center: f32,
    /// The length of what was rounded.
    pub(crate) radius: f32,
    /// The length of what rounding left out.
    pub(crate) rounding: f32,
    /// The sum of the rounded values.
    pub(crate) sum: f32,
    /// Directions that errors may point in.
    pub(crate) freedom: f32,
    /// The mean of the query's values, and how means enter: by the square of their difference and as a product.
    pub(crate) mean: f32,
    pub(crate) mean_square: f32,
    pub(crate) mean_product: f32,
}

impl QueryFactors {
    /// Rounds a query to −127..=127, into `values` of `lanes` elements.
    #[inline(always)]
    pub(crate) fn round(query: &[f32], lanes: usize, values: &mut Vec<i8>) -> QueryFactors {
        let most = query.iter().fold(0.0_f32, |most, value| most.max(value.abs()));
        let (unit, per_unit) = if most > 0.0 { (most / 127.0, 127.0 / most) } else { (0.0, 0.0) };
        // Of values so small that their inverse is infinite nothing is left but their length.
        let per_unit = if per_unit.is_finite() { per_unit } else { 0.0 };
        values.clear();
        values.resize(lanes, 0);
        let (mut radius, mut rounding, mut sum) = (0.0_f64, 0.0_f64, 0_i64);
        for (value, rounded) in query.iter().zip(values.iter_mut()) {
            let whole = (value * per_unit).round().clamp(-127.0, 127.0);
            let left = f64::from(*value) - f64::from(unit) * f64::from(whole);
            radius += f64::from(*value) * f64::from(*value);
            rounding += left * left;
            *rounded = whole as i8;
            sum += i64::from(*rounded);
        }
        QueryFactors {
            unit,
            radius: finite(radius.sqrt()),
            rounding: finite(rounding.sqrt()),
            sum: sum as f32,
            ..QueryFactors::default()
        }
    }

    /// The estimate for a row whose codes have the product `sum` with the rounded query.
    #[inline(always)]
    pub(crate) fn estimate(&self, row: &Factors, sum: i32) -> f32 {
        let apart = self.mean - row.mean;
        let means = self.mean_square * apart * apart + self.mean_product * row.mean;
        let estimate =
            self.constant + row.added + row.scale * (self.unit * (sum as f32 - self.center)) + means;
        if estimate < f32::MAX { estimate } else { f32::MAX }
    }

    /// By how much an estimate can be wrong at most, but for the rounding of floats.
    #[cfg(test)]
    pub(crate) fn error_max(&self, row: &Factors) -> f32 {
        row.error * self.radius + row.spread * self.rounding
    }

    /// One standard deviation of what an estimate is wrong by, where errors point anywhere.
    #[inline(always)]
    pub(crate) fn deviation(&self, row: &Factors) -> f32 {
        let (coded, rounded) = (row.error * self.radius, row.spread * self.rounding);
        ((coded * coded + rounded * rounded) / self.freedom).sqrt()
    }
}

/// How often a product enters a distance.
pub(crate) fn weight_of(metric: Metric) -> f64 {
    if metric == Metric::L2 { 2.0 } else { 1.0 }
}

/// As a float, within the range of floats.
pub(crate) fn finite(number: f64) -> f32 {
    number.clamp(f64::from(f32::MIN), f64::from(f32::MAX)) as f32
}
