//! The learned part of a sketch: a mean, a projection and a step.

use dvse_simd::{AlignedBuf, Isa};

use super::layout::Layout;

/// Rows of a block of the projection's matrix, see [`Isa::project`].
const BLOCK: usize = 64;

/// Values of a projected vector are read with so many bits and a sign.
const READ_MAX: f32 = 63.0;

/// The mean of the data, the directions it is projected on, and the step of the codes.
///
/// The matrix is kept in bytes with a scale a row, and vectors are read in 7 bits: about a hundredth of noise beside
/// a code's own tenth, for a quarter of the memory traffic. All products are of integers, so a vector has the same
/// sketch on every machine. Data of few dimensions is coded finer, so there vectors are read twice, the second time
/// what the first left over.
#[derive(Debug, Clone)]
pub(crate) struct Transform {
    layout: Layout,
    dim: usize,
    /// How far apart the values of two neighbouring codes are.
    step: f32,
    mean: Vec<f32>,
    /// `[lanes / 64][padded dim / 4][64][4]`, see [`Isa::project`].
    matrix: AlignedBuf<i8>,
    /// What an integer of a lane's row is worth.
    scales: Vec<f32>,
    /// The sum of a lane's row.
    sums: Vec<i32>,
    /// Which lanes stand for a value.
    used: Vec<bool>,
    /// For inner products.
    lift: Option<Lift>,
    /// Equal for equal transforms, and for no others that are likely to meet.
    id: u64,
}

/// One coordinate more, by which rows of uneven length lie on a sphere: there the nearest to a query are those of the
/// largest inner product (Bachrach2014). It is `√(radius² − |x|²)` for a row, 0 for one longer than the radius,
/// and 0 for a query, which is scaled to the radius.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Lift {
    /// The radius of the sphere, above 0.
    pub(crate) radius: f32,
    /// The mean of the coordinate over rows.
    pub(crate) mean: f32,
    /// What the coordinate adds to each lane. In floats and not in the matrix: it may be far larger than the others, and
    /// those are read in steps of the largest.
    pub(crate) column: Vec<f32>,
}

impl Lift {
    /// The coordinate of a row.
    #[inline(always)]
    fn coordinate(&self, squared_norm: f32) -> f32 {
        (self.radius * self.radius - squared_norm).max(0.0).sqrt()
    }
}

/// Memory a projection needs.
#[derive(Debug, Default)]
pub(crate) struct ProjectScratch {
    centered: Vec<f32>,
    bytes: Vec<u8>,
    products: Vec<i32>,
    /// The projected vector by lane.
    pub(crate) projected: Vec<f32>,
}

impl Transform {
    /// A transform from its directions: `rows` holds one row of `dim` floats for each value of the layout (fewer
    /// leave the last values 0).
    pub(crate) fn new(layout: Layout, mean: Vec<f32>, rows: &[f32], step: f32) -> Transform {
        let dim = mean.len();
        let padded = dim.next_multiple_of(4);
        let mut transform = Transform {
            layout,
            dim,
            step,
            mean,
            matrix: AlignedBuf::zeroed(layout.lanes() * padded),
            scales: vec![0.0; layout.lanes()],
            sums: vec![0; layout.lanes()],
            used: Vec::new(),
            lift: None,
            id: 0,
        };
        for (value, row) in rows.chunks_exact(dim.max(1)).enumerate().take(layout.values()) {
            let lane = layout.lane(value);
            let largest = row.iter().fold(0.0_f32, |largest, x| largest.max(x.abs()));
            let scale = if largest > 0.0 { largest / 127.0 } else { 0.0 };
            transform.scales[lane] = scale;
            for (column, x) in row.iter().enumerate() {
                let byte = if scale > 0.0 { (x / scale).round() as i8 } else { 0 };
                let at = matrix_place(lane, column, padded);
                transform.matrix[at] = byte;
                transform.sums[lane] += i32::from(byte);
            }
        }
        transform.used = used_lanes(&transform.scales);
        transform.id = transform.content_id();
        transform
    }

    /// A transform from the parts that were kept: see [`Transform::parts`]. `None` when their sizes do not fit.
    pub(crate) fn from_parts(
        layout: Layout,
        step: f32,
        mean: &[f32],
        scales: &[f32],
        matrix: &[u8],
    ) -> Option<Transform> {
        let padded = mean.len().next_multiple_of(4);
        if mean.is_empty() || scales.len() != layout.lanes() || matrix.len() != layout.lanes() * padded {
            return None;
        }
        let matrix: AlignedBuf<i8> = AlignedBuf::copy_of(bytemuck::cast_slice(matrix));
        let mut sums = vec![0; layout.lanes()];
        for (lane, sum) in sums.iter_mut().enumerate() {
            *sum =
                (0..padded).map(|column| i32::from(matrix[matrix_place(lane, column, padded)])).sum::<i32>();
        }
        let (mean, scales) = (mean.to_vec(), scales.to_vec());
        let used = used_lanes(&scales);
        let mut transform =
            Transform { layout, dim: mean.len(), step, mean, matrix, scales, sums, used, lift: None, id: 0 };
        transform.id = transform.content_id();
        Some(transform)
    }

    /// With a coordinate more; `None` where its column is not one of the layout.
    pub(crate) fn with_lift(self, lift: Lift) -> Option<Transform> {
        if lift.column.len() != self.layout.lanes() {
            return None;
        }
        let mut transform = Transform { lift: Some(lift), ..self };
        transform.id = transform.content_id();
        Some(transform)
    }

    /// The coordinate more, if rows have it.
    pub(crate) fn lift(&self) -> Option<&Lift> {
        self.lift.as_ref()
    }

    /// Mean, scales by lane, and matrix: what [`Transform::from_parts`] takes.
    pub(crate) fn parts(&self) -> (&[f32], &[f32], &[u8]) {
        (&self.mean, &self.scales, bytemuck::cast_slice(&self.matrix))
    }

    /// Equal for equal transforms: segments that share one project a query once.
    pub(crate) fn id(&self) -> u64 {
        self.id
    }

    fn content_id(&self) -> u64 {
        let (mean, scales, matrix) = self.parts();
        let lift: &[f32] = self.lift.as_ref().map_or(&[], |lift| &lift.column);
        let sphere = self.lift.as_ref().map_or([0.0; 2], |lift| [lift.radius, lift.mean]);
        let parts: [&[u8]; 6] = [
            bytemuck::bytes_of(&self.step),
            bytemuck::cast_slice(mean),
            bytemuck::cast_slice(scales),
            matrix,
            bytemuck::bytes_of(&sphere),
            bytemuck::cast_slice(lift),
        ];
        let mut id = 0xcbf2_9ce4_8422_2325_u64;
        for word in parts.into_iter().flat_map(|part| part.chunks(8)) {
            let mut bytes = [0; 8];
            bytes[..word.len()].copy_from_slice(word);
            id = (id ^ u64::from_le_bytes(bytes)).wrapping_mul(0x0000_0100_0000_01b3).rotate_left(23);
        }
        id
    }

    pub(crate) fn layout(&self) -> Layout {
        self.layout
    }

    pub(crate) fn dim(&self) -> usize {
        self.dim
    }

    pub(crate) fn step(&self) -> f32 {
        self.step
    }

    pub(crate) fn mean(&self) -> &[f32] {
        &self.mean
    }

    /// How far the mean of lifted rows lies below their sphere, as a difference of squares; 0 where they are not lifted.
    pub(crate) fn mean_depth(&self) -> f32 {
        let Some(lift) = &self.lift else { return 0.0 };
        let flat: f64 = self.mean.iter().map(|x| f64::from(*x) * f64::from(*x)).sum();
        let (radius, mean) = (f64::from(lift.radius), f64::from(lift.mean));
        // Factored, since both may be far larger than their difference.
        ((radius - mean) * (radius + mean) - flat) as f32
    }

    /// Which lanes stand for a value; the others are over factors or without a row.
    pub(crate) fn used(&self) -> &[bool] {
        &self.used
    }

    /// Memory taken.
    pub(crate) fn bytes(&self) -> u64 {
        (self.matrix.len() + 4 * (self.mean.len() + self.scales.len() + self.sums.len())) as u64
    }

    /// Projects a vector (padding ignored), times `scale`, into `scratch.projected`, by lane; returns its squared distance
    /// from the mean. As a row it is lifted where there is a coordinate more; as a query it is not.
    #[inline(always)]
    pub(crate) fn project<I: Isa>(
        &self,
        isa: I,
        vector: &[f32],
        scale: f32,
        as_row: bool,
        scratch: &mut ProjectScratch,
    ) -> f32 {
        let padded = self.dim.next_multiple_of(4);
        let ProjectScratch { centered, bytes, products, projected } = scratch;
        centered.clear();
        centered.resize(padded, 0.0);
        bytes.clear();
        bytes.resize(padded, 0);
        products.clear();
        products.resize(self.layout.lanes(), 0);
        projected.clear();
        projected.resize(self.layout.lanes(), 0.0);
        for ((to, x), mean) in centered.iter_mut().zip(vector).zip(&self.mean) {
            *to = x * scale - mean;
        }
        let mut norm = isa.dot(centered, centered);
        let readings = if self.layout.code_max() > 15 { 2 } else { 1 };
        for _ in 0..readings {
            let largest = largest_magnitude(centered);
            if largest <= 0.0 {
                break;
            }
            let scale = largest / READ_MAX;
            read_bytes(centered, scale, bytes);
            isa.project(&self.matrix, bytes, products);
            for (((to, product), sum), lane_scale) in
                projected.iter_mut().zip(products.iter()).zip(&self.sums).zip(&self.scales)
            {
                *to += (product - 64 * sum) as f32 * (scale * lane_scale);
            }
        }
        if let Some(lift) = &self.lift {
            let coordinate = if as_row { lift.coordinate(squared_norm(&vector[..self.dim])) } else { 0.0 };
            let more = coordinate - lift.mean;
            norm += more * more;
            for (to, column) in projected.iter_mut().zip(&lift.column) {
                *to += more * column;
            }
        }
        norm
    }

    /// Writes the sketch of a vector, to be compared by Euclidean distance or else by inner product.
    #[inline(always)]
    pub(crate) fn encode<I: Isa>(
        &self,
        isa: I,
        vector: &[f32],
        euclidean: bool,
        scratch: &mut EncodeScratch,
        sketch: &mut [u8],
    ) {
        let norm = self.project(isa, vector, 1.0, true, &mut scratch.project);
        let projected = &scratch.project.projected;
        let codes = &mut scratch.codes;
        codes.clear();
        codes.resize(self.layout.lanes(), 0);
        let (center, max) = (self.layout.center(), f32::from(self.layout.code_max()));
        let per_step = if self.step > 0.0 { 1.0 / self.step } else { 0.0 };
        let (mut aligned, mut length) = (0.0_f32, 0.0_f32);
        for ((code, y), used) in codes.iter_mut().zip(projected).zip(&self.used) {
            let value = round((y * per_step + center).clamp(0.0, max));
            *code = low_byte(value);
            // Lanes without a row hold nothing; their code must not count.
            let decoded = if *used { value - center } else { 0.0 };
            aligned += decoded * y;
            length += y * y;
        }
        // What the decoded vector falls short of along the true one is made good by the factor (RaBitQ, equation 20).
        let factor = if aligned > 0.0 { 2.0 * length / aligned } else { 0.0 };
        self.layout.pack(codes, sketch);
        let added = if euclidean {
            norm
        } else if let Some(lift) = &self.lift {
            // A row beyond the sphere is as much nearer to queries as it is longer.
            norm - (squared_norm(&vector[..self.dim]) - lift.radius * lift.radius).max(0.0)
        } else {
            // The query is centered too: its product with x − mean lacks that of the mean.
            let vector = &vector[..self.dim];
            2.0 * (isa.dot(&self.mean, &self.mean) - isa.dot(&self.mean, vector))
        };
        super::layout::set_factors(sketch, [added, factor]);
    }
}

/// Memory an encoding needs.
#[derive(Debug, Default)]
pub(crate) struct EncodeScratch {
    project: ProjectScratch,
    codes: Vec<u8>,
}

/// A lane without a row has no scale.
fn used_lanes(scales: &[f32]) -> Vec<bool> {
    scales.iter().map(|scale| *scale > 0.0).collect()
}

/// Added to a float below 2²² in size, leaves it rounded to whole numbers in the lowest bits.
const WHOLE: f32 = 12_582_912.0;

/// The nearest whole number of one below 2²² in size, ties to even. `f32::round_ties_even` is a call into the C library
/// where the compiler may not assume an instruction for it.
#[inline(always)]
pub(crate) fn round(value: f32) -> f32 {
    (value + WHOLE) - WHOLE
}

/// The lowest byte of a whole number below 2²² in size: a conversion without the checks that keep a loop scalar.
#[inline(always)]
pub(crate) fn low_byte(whole: f32) -> u8 {
    (whole + WHOLE).to_bits() as u8
}

/// Where the byte of a lane and column lies.
fn matrix_place(lane: usize, column: usize, padded: usize) -> usize {
    let block = lane / BLOCK * BLOCK * padded;
    block + column / 4 * (4 * BLOCK) + lane % BLOCK * 4 + column % 4
}

/// The squared length of a vector, summed in the same order on every machine: codes depend on it.
#[inline(always)]
pub(crate) fn squared_norm(values: &[f32]) -> f32 {
    let (chunks, rest) = values.as_chunks::<16>();
    let mut sums = [0.0_f32; 16];
    for chunk in chunks {
        for (sum, x) in sums.iter_mut().zip(chunk) {
            *sum += x * x;
        }
    }
    sums.iter().sum::<f32>() + rest.iter().map(|x| x * x).sum::<f32>()
}

/// The largest magnitude of some values.
#[inline(always)]
pub(crate) fn largest_magnitude(values: &[f32]) -> f32 {
    let (chunks, rest) = values.as_chunks::<16>();
    let mut largest = [0.0_f32; 16];
    for chunk in chunks {
        for (largest, x) in largest.iter_mut().zip(chunk) {
            *largest = largest.max(x.abs());
        }
    }
    let rest = rest.iter().fold(0.0_f32, |largest, x| largest.max(x.abs()));
    largest.into_iter().fold(rest, f32::max)
}

/// Reads values as multiples of `scale`, 64 standing for 0; what that leaves over stays in `values`.
#[inline(always)]
fn read_bytes(values: &mut [f32], scale: f32, bytes: &mut [u8]) {
    let inverse = 1.0 / scale;
    for (value, byte) in values.iter_mut().zip(bytes) {
        let read = round(*value * inverse);
        *byte = low_byte(read + 64.0);
        *value -= read * scale;
    }
}

#[cfg(test)]
mod tests;
