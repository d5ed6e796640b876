//! What a collection is made of.

use std::collections::BTreeMap;

use crate::vector::{DIM_MAX, InvalidVector, NORM_SQUARED_MAX};
use crate::{Metric, NamedVectors, PayloadPath, VectorName};

/// The definition of a collection. What can change later: payload indexes, index parameters, and where vectors are kept.
#[derive(Debug, Clone, PartialEq)]
pub struct CollectionSchema {
    /// The vector fields by name; the unnamed one has the empty name. May be empty: a collection of payloads.
    pub vectors: BTreeMap<VectorName, VectorParams>,
    /// The payload fields that are indexed.
    pub payload_indexes: BTreeMap<PayloadPath, FieldKind>,
}

/// The definition of one vector field.
#[derive(Debug, Clone, PartialEq)]
pub struct VectorParams {
    /// The number of elements, 1 to [`DIM_MAX`].
    pub dim: usize,
    /// How two vectors are compared.
    pub metric: Metric,
    /// How the field is indexed.
    pub index: IndexSpec,
    /// Whether the vectors of sealed segments are left on the disk: the system reads single ones as they are asked for, and
    /// none ahead.
    pub on_disk: bool,
    /// The model whose vectors these are: its name, `name@revision` or `name@revision#hash`. What embeds text for this field has to be
    /// that model.
    pub model: Option<String>,
}

/// The kind of index over a vector field, with its parameters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IndexSpec {
    /// Every query reads every vector: exact.
    Flat,
    /// Hierarchical navigable small world graph.
    Hnsw(HnswSpec),
    /// The same graph without upper layers.
    Nsw(HnswSpec),
    /// Inverted lists with product codes.
    IvfPq(IvfPqSpec),
}

impl IndexSpec {
    /// The name used in requests and answers.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            IndexSpec::Flat => "flat",
            IndexSpec::Hnsw(_) => "hnsw",
            IndexSpec::Nsw(_) => "nsw",
            IndexSpec::IvfPq(_) => "ivf_pq",
        }
    }

    /// A set of fewer rows than this is searched exactly.
    #[must_use]
    pub fn full_scan_rows(&self) -> usize {
        match self {
            IndexSpec::Flat => usize::MAX,
            IndexSpec::Hnsw(spec) | IndexSpec::Nsw(spec) => spec.full_scan_rows,
            IndexSpec::IvfPq(spec) => spec.full_scan_rows,
        }
    }
}

/// Parameters of a graph (HNSW: Malkov and Yashunin 2018).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HnswSpec {
    /// Links a row on the upper layers; the base layer, the only one of a flat graph, has twice as many. 2 to 128.
    pub m: usize,
    /// How many candidates an insertion considers. 4 to 4096.
    pub ef_construction: usize,
    /// A set of fewer rows than this is searched exactly.
    pub full_scan_rows: usize,
    /// What a walk reads of a row.
    pub quantization: Quantization,
    /// What the rows that a walk found are compared by.
    pub rerank: Rerank,
    /// Whether links, codes and half rows are read from their files as they lie, instead of from memory.
    pub on_disk: bool,
}

/// What the rows that a walk found by their codes are compared by. The answer is the same, distances are of single precision.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Rerank {
    /// Whole rows.
    #[default]
    Single,
    /// Rows in half precision, which leave few to be compared whole.
    Half,
}

impl Rerank {
    /// The name used in requests and answers.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Rerank::Single => "f32",
            Rerank::Half => "f16",
        }
    }

    /// The one of a name, if there is one.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Rerank> {
        [Rerank::Single, Rerank::Half].into_iter().find(|rerank| rerank.name() == name)
    }
}

/// What a walk over a graph reads of a row before the nearest are compared exactly.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Quantization {
    /// The row itself.
    None,
    /// A sketch: one or two cache lines that hold the directions in which the rows of the segment vary most.
    #[default]
    Sketch,
    /// 8 bits a value, with a scale and an offset of each vector's own.
    Scalar8,
    /// `RaBitQ` (Gao and Long 2024): a few bits a value of the vector turned at random.
    RaBitQ {
        /// Bits a value: 1, 2, 4 or 8.
        bits: u8,
    },
}

impl Quantization {
    /// The numbers of bits that [`Quantization::RaBitQ`] may have.
    pub const RABITQ_BITS: [u8; 4] = [1, 2, 4, 8];
}

impl Default for HnswSpec {
    fn default() -> Self {
        // M and ef_construction as measured in docs/adr/0003-hnsw.md. Below a few thousand rows an exact scan is as
        // fast as a graph walk and never misses.
        HnswSpec {
            m: 16,
            ef_construction: 128,
            full_scan_rows: 2_000,
            quantization: Quantization::Sketch,
            rerank: Rerank::Single,
            on_disk: false,
        }
    }
}

/// Parameters of inverted lists with product codes (Jégou, Douze and Schmid 2011).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IvfPqSpec {
    /// Lists, up to 65 536; 0 takes about the square root of the rows of a segment.
    pub lists: usize,
    /// Values of a vector that one code of 4 bits stands for, 1 to 64 and such that there are at most
    /// [`CODES_MAX`] codes; 0 takes 4, or as few as there may be.
    pub values_per_code: usize,
    /// Lists a search looks into; 0 goes by the candidates it keeps. Takes effect at once.
    pub nprobe: usize,
    /// Rows a search compares exactly; 0 goes by the candidates it keeps. Takes effect at once.
    pub rerank: usize,
    /// A set of fewer rows than this is searched exactly.
    pub full_scan_rows: usize,
}

impl Default for IvfPqSpec {
    fn default() -> Self {
        // As measured in docs/adr/0009-ivf-pq.md. Training lists for fewer rows is not worth it.
        IvfPqSpec { lists: 0, values_per_code: 0, nprobe: 0, rerank: 0, full_scan_rows: 2_000 }
    }
}

impl IvfPqSpec {
    /// The values a code stands for in vectors of a dimension.
    #[must_use]
    pub fn values_per_code_of(&self, dim: usize) -> usize {
        match self.values_per_code {
            0 => dim.div_ceil(CODES_MAX).max(4),
            asked => asked,
        }
    }
}

/// Product codes a vector can have at most.
pub const CODES_MAX: usize = 1_040;

/// The kind of values a payload index holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FieldKind {
    /// Strings, compared whole.
    Keyword,
    /// Integers.
    Integer,
    /// Numbers.
    Float,
    /// Truth values.
    Bool,
    /// RFC 3339 texts.
    Datetime,
    /// UUIDs in text form; like `Keyword`, but spellings of one UUID are one value.
    Uuid,
}

impl FieldKind {
    /// The name used in requests, answers and files.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            FieldKind::Keyword => "keyword",
            FieldKind::Integer => "integer",
            FieldKind::Float => "float",
            FieldKind::Bool => "bool",
            FieldKind::Datetime => "datetime",
            FieldKind::Uuid => "uuid",
        }
    }

    /// The kind of a name, if there is one.
    #[must_use]
    pub fn from_name(name: &str) -> Option<FieldKind> {
        [
            FieldKind::Keyword,
            FieldKind::Integer,
            FieldKind::Float,
            FieldKind::Bool,
            FieldKind::Datetime,
            FieldKind::Uuid,
        ]
        .into_iter()
        .find(|kind| kind.name() == name)
    }
}

/// A schema that cannot be.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum InvalidSchema {
    /// A parameter is out of its range.
    #[error("{field} is {value}; it must be {min} to {max}")]
    OutOfRange {
        /// The parameter.
        field: String,
        /// What it is.
        value: usize,
        /// The smallest value allowed.
        min: usize,
        /// The largest value allowed.
        max: usize,
    },
    /// There are more vector fields or payload indexes than a collection can have.
    #[error("a collection can have at most {max} {what}, got {got}")]
    TooMany {
        /// What there is too much of.
        what: &'static str,
        /// How many there are.
        got: usize,
        /// How many there can be.
        max: usize,
    },
}

/// How many vector fields a collection can have.
pub const VECTOR_FIELDS_MAX: usize = 64;
/// How many payload indexes a collection can have.
pub const PAYLOAD_INDEXES_MAX: usize = 256;

impl CollectionSchema {
    /// A collection with one unnamed vector field, indexed by HNSW with default parameters.
    #[must_use]
    pub fn single(dim: usize, metric: Metric) -> CollectionSchema {
        let index = IndexSpec::Hnsw(HnswSpec::default());
        let params = VectorParams { dim, metric, index, on_disk: false, model: None };
        CollectionSchema {
            vectors: BTreeMap::from([(VectorName::new(), params)]),
            payload_indexes: BTreeMap::new(),
        }
    }

    /// Checks every parameter against its range.
    ///
    /// # Errors
    /// The first parameter that is out of range.
    pub fn validate(&self) -> Result<(), InvalidSchema> {
        let too_many = |what, got, max| InvalidSchema::TooMany { what, got, max };
        if self.vectors.len() > VECTOR_FIELDS_MAX {
            return Err(too_many("vector fields", self.vectors.len(), VECTOR_FIELDS_MAX));
        }
        if self.payload_indexes.len() > PAYLOAD_INDEXES_MAX {
            return Err(too_many("payload indexes", self.payload_indexes.len(), PAYLOAD_INDEXES_MAX));
        }
        for (name, params) in &self.vectors {
            let field = |part: &str| {
                if name.is_empty() { format!("vectors.{part}") } else { format!("vectors.{name}.{part}") }
            };
            check_range(field("size"), params.dim, 1, DIM_MAX)?;
            match params.index {
                IndexSpec::Flat => {}
                IndexSpec::Hnsw(spec) | IndexSpec::Nsw(spec) => {
                    check_range(field("hnsw_config.m"), spec.m, 2, 128)?;
                    check_range(field("hnsw_config.ef_construct"), spec.ef_construction, 4, 4_096)?;
                }
                IndexSpec::IvfPq(spec) => {
                    let finest = params.dim.div_ceil(CODES_MAX).max(1);
                    let values = spec.values_per_code_of(params.dim);
                    check_range(field("ivf_pq_config.lists"), spec.lists, 0, 1 << 16)?;
                    check_range(field("ivf_pq_config.values_per_code"), values, finest, finest.max(64))?;
                }
            }
        }
        Ok(())
    }

    /// Checks a vector against the field of its name: the name, the length, that every element is finite, and
    /// that its length suits the metric. Gives the field's parameters.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn check_vector(&self, name: &str, vector: &[f32]) -> Result<&VectorParams, InvalidVector> {
        let Some(params) = self.vectors.get(name) else {
            let known = self.vectors.keys().cloned().collect();
            return Err(InvalidVector::UnknownName { name: name.to_owned(), known });
        };
        if vector.len() != params.dim {
            return Err(InvalidVector::Dimension {
                name: name.to_owned(),
                expected: params.dim,
                got: vector.len(),
            });
        }
        if is_ordinary(vector) {
            return Ok(params);
        }
        let norm_squared = norm_squared(vector);
        // The squares of finite elements are far from the end of `f64`, so their sum says whether all are finite.
        if !norm_squared.is_finite()
            && let Some(position) = vector.iter().position(|value| !value.is_finite())
        {
            let value = vector[position];
            return Err(InvalidVector::NotFinite { name: name.to_owned(), position, value });
        }
        if norm_squared > NORM_SQUARED_MAX {
            return Err(InvalidVector::TooLong {
                name: name.to_owned(),
                norm_squared,
                max: NORM_SQUARED_MAX,
            });
        }
        if params.metric == Metric::Cosine && norm_squared == 0.0 {
            return Err(InvalidVector::ZeroLength { name: name.to_owned() });
        }
        Ok(params)
    }

    /// Checks all vectors of a point, see [`CollectionSchema::check_vector`].
    ///
    /// # Errors
    /// What is wrong with the first that is wrong.
    pub fn check_vectors(&self, vectors: &NamedVectors) -> Result<(), InvalidVector> {
        vectors.iter().try_for_each(|(name, vector)| self.check_vector(name, vector).map(|_| ()))
    }
}

/// Whether a sum in single precision says already that there is nothing wrong with a vector: nearly always.
fn is_ordinary(vector: &[f32]) -> bool {
    let mut sums = [0.0_f32; 16];
    let (whole, rest) = vector.as_chunks::<16>();
    for chunk in whole {
        for (sum, value) in sums.iter_mut().zip(chunk) {
            *sum += value * value;
        }
    }
    let sum = sums.iter().sum::<f32>() + rest.iter().map(|value| value * value).sum::<f32>();
    // A NaN or an infinity among the elements makes the sum one; it is off by far less than these limits leave.
    (f32::MIN_POSITIVE..(NORM_SQUARED_MAX / 2.0) as f32).contains(&sum)
}

/// In eight sums, which a processor adds side by side where one would wait for itself.
fn norm_squared(vector: &[f32]) -> f64 {
    let mut sums = [0.0_f64; 8];
    let (eights, rest) = vector.as_chunks::<8>();
    for eight in eights {
        for (sum, value) in sums.iter_mut().zip(eight) {
            *sum += f64::from(*value) * f64::from(*value);
        }
    }
    sums.iter().sum::<f64>() + rest.iter().map(|value| f64::from(*value) * f64::from(*value)).sum::<f64>()
}

fn check_range(field: String, value: usize, min: usize, max: usize) -> Result<(), InvalidSchema> {
    if (min..=max).contains(&value) {
        Ok(())
    } else {
        Err(InvalidSchema::OutOfRange { field, value, min, max })
    }
}
