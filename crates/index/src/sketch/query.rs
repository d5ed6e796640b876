//! A query made ready to be compared with sketches.

use dvse_simd::Isa;

use super::layout::{Layout, factors};
use super::transform::{ProjectScratch, Transform, largest_magnitude, low_byte, round};

/// A query by lane, in bytes, and the constants that make estimates out of products.
///
/// The estimate of the squared distance to a row of factors `a`, `f` is `constant + a − f · unit · (codes · lanes − center)`.
#[derive(Debug, Default)]
pub(crate) struct SketchQuery {
    pub(crate) layout: Option<Layout>,
    pub(crate) lanes: Vec<i8>,
    pub(crate) constant: f32,
    /// What an integer of a lane is worth.
    pub(crate) unit: f32,
    /// The product a code of all centers would have.
    pub(crate) center: f32,
    /// The query's distance from the mean, by which the noise of estimates grows.
    pub(crate) radius: f32,
    /// How many times as long the query is made before it is compared.
    pub(crate) scale: f32,
    scratch: ProjectScratch,
    codes: Vec<u8>,
    /// What [`SketchQuery::prepare_once`] made ready last.
    ready: Option<(u64, Space)>,
    vector: Vec<f32>,
}

/// What the product of a query and a row is to estimate.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Space {
    /// The squared Euclidean distance.
    Euclidean,
    /// Twice what the inner product lacks of the largest possible, `2 (|q| · norm_max − ⟨q, x⟩)`: never negative, ordered as
    /// inner products are, and a squared distance between vectors of one length in a space of one dimension more.
    Product {
        /// The largest norm of a row.
        norm_max: f32,
    },
    /// The squared distance of two rows on the sphere that a [`Lift`](super::transform::Lift) puts them on: what rows are
    /// linked by that are searched by [`Space::Product`].
    Sphere,
}

/// By how much a query is made longer where rows lie on a sphere: to its radius, so that neither drowns in the rounding of
/// the other.
#[inline(always)]
pub(crate) fn query_scale<I: Isa>(isa: I, transform: &Transform, space: Space, vector: &[f32]) -> f32 {
    match (transform.lift(), space) {
        (Some(lift), Space::Product { .. }) => {
            let scale = lift.radius / isa.dot(vector, vector).sqrt();
            if scale.is_normal() { scale } else { 1.0 }
        }
        _ => 1.0,
    }
}

impl SketchQuery {
    /// Makes a vector ready.
    #[inline(always)]
    pub(crate) fn prepare<I: Isa>(&mut self, isa: I, transform: &Transform, space: Space, vector: &[f32]) {
        self.ready = None;
        let stretch = query_scale(isa, transform, space, vector);
        let norm = transform.project(isa, vector, stretch, space == Space::Sphere, &mut self.scratch);
        let layout = transform.layout();
        let projected = &self.scratch.projected;
        let largest = largest_magnitude(projected);
        let scale = largest / 127.0;
        let inverse = if scale > 0.0 { 1.0 / scale } else { 0.0 };
        self.lanes.clear();
        self.lanes.resize(layout.lanes(), 0);
        let mut sum = 0;
        for (lane, y) in self.lanes.iter_mut().zip(projected) {
            *lane = low_byte(round(y * inverse)) as i8;
            sum += i32::from(*lane);
        }
        self.layout = Some(layout);
        self.unit = scale;
        self.center = layout.center() * sum as f32;
        self.radius = norm.sqrt();
        self.scale = stretch;
        self.constant = match space {
            Space::Euclidean | Space::Sphere => norm,
            Space::Product { norm_max } => {
                let vector = &vector[..transform.dim()];
                let length = isa.dot(vector, vector).sqrt();
                let constant = 2.0 * stretch * (length * norm_max - isa.dot(vector, transform.mean()));
                // What a lifted row's factor has more than one of products: its squared length, and the mean's.
                constant - transform.lift().map_or(0.0, |_| transform.mean_depth())
            }
        };
    }

    /// Makes a vector ready unless it is: segments that share a transform are searched one after the other.
    #[inline(always)]
    pub(crate) fn prepare_once<I: Isa>(
        &mut self,
        isa: I,
        transform: &Transform,
        space: Space,
        vector: &[f32],
    ) {
        let wanted = Some((transform.id(), space));
        if self.ready != wanted || self.vector != vector {
            self.prepare(isa, transform, space, vector);
            self.ready = wanted;
            self.vector.clear();
            self.vector.extend_from_slice(vector);
        }
    }

    /// Makes a sketch ready to be compared with others: coarser than the vector it is of, but nothing has to be
    /// projected. For sketches of [`Space::Euclidean`] or [`Space::Sphere`].
    #[inline(always)]
    pub(crate) fn prepare_sketch(&mut self, transform: &Transform, sketch: &[u8]) {
        self.ready = None;
        let layout = transform.layout();
        self.codes.clear();
        self.codes.resize(layout.lanes(), 0);
        layout.unpack(sketch, &mut self.codes);
        self.lanes.clear();
        self.lanes.resize(layout.lanes(), 0);
        let max = i32::from(layout.code_max());
        let mut sum = 0;
        for ((lane, code), used) in self.lanes.iter_mut().zip(&self.codes).zip(transform.used()) {
            // Lanes over factors and lanes without a value say nothing.
            let value = if *used { 2 * i32::from(*code) - max } else { 0 };
            *lane = value as i8;
            sum += value;
        }
        let [norm, factor] = factors(sketch);
        self.layout = Some(layout);
        // Lanes are twice the decoded value, and a factor is twice what a decoded value is worth.
        self.unit = factor / 4.0;
        self.center = layout.center() * sum as f32;
        self.radius = norm.max(0.0).sqrt();
        self.scale = 1.0;
        self.constant = norm;
    }
}

#[cfg(test)]
mod tests;
