//! What was retrieved, for reports, and why nothing could be.

use std::path::PathBuf;

use roentgen_augment::AugmentError;
use roentgen_classifier::ClassifierError;
use serde::{Deserialize, Serialize};

use crate::evaluation::RowsError;
use crate::evaluation::retrieval::RetrievalError;
use crate::report::Estimate;

/// Precision by category.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct QueryReport {
    /// Queries of the categories that are defined.
    pub queries: usize,
    /// Candidates.
    pub candidates: usize,
    /// How many of the most similar candidates are looked at.
    pub ks: Vec<usize>,
    /// One entry per category.
    pub categories: Vec<CategoryPrecision>,
    /// Mean over the defined categories at each `k`, with the bootstrap interval over the queries' patients; `None` where `k` exceeds the
    /// candidates.
    pub macro_precision: Vec<Option<Estimate>>,
    /// The same by chance.
    pub chance: Option<f64>,
    /// What is doubtful, a sentence each.
    pub notes: Vec<String>,
}

/// One category.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CategoryPrecision {
    /// Its name.
    pub category: String,
    /// Queries of it.
    pub queries: usize,
    /// Candidates that have it.
    pub candidates: usize,
    /// Share of the `k` most similar candidates that have it, mean over queries, at each `k`; `None` where undefined.
    pub precision: Vec<Option<f64>>,
    /// Why it is undefined.
    pub undefined: Option<String>,
}

/// Precision and recall by label set.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LabelSetReport {
    /// Queries that have a candidate with the same labels.
    pub queries: usize,
    /// Queries that have none, and are left out.
    pub without_candidate: usize,
    /// Candidates.
    pub candidates: usize,
    /// How many of the most similar candidates are looked at.
    pub ks: Vec<usize>,
    /// Share of the `k` most similar candidates that have the query's labels, mean over queries at each `k`, with the bootstrap interval
    /// over the queries' patients; `None` where `k` exceeds the candidates, and without queries.
    pub precision: Vec<Option<Estimate>>,
    /// The same by chance.
    pub precision_by_chance: Option<f64>,
    /// The most that it can be: some queries have fewer than `k` candidates with their labels.
    pub precision_limit: Vec<Option<f64>>,
    /// Share of the queries with a candidate of the same labels among the first `k`; undefined where precision is.
    pub recall: Vec<Option<Estimate>>,
    /// The same by chance.
    pub recall_by_chance: Vec<Option<f64>>,
    /// Median of the ranks of the first such candidate, from 1.
    pub median_rank: Option<f64>,
    /// Mean of one over that rank.
    pub mean_reciprocal_rank: Option<f64>,
}

/// Why nothing was retrieved.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum QueryError {
    /// Embeddings that can't be compared.
    #[error(transparent)]
    Retrieval(#[from] RetrievalError),
    /// A `.npy` file.
    #[error(transparent)]
    Npy(#[from] AugmentError),
    /// Another file of embeddings.
    #[error(transparent)]
    Tensors(#[from] ClassifierError),
    /// The embeddings of a file.
    #[error("{}: {source}", path.display())]
    Rows {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: RowsError,
    },
    /// A file without embeddings, or with several.
    #[error("{} has {found}; expected one tensor of two dimensions, a row per image or text", path.display())]
    NoMatrix {
        /// The file.
        path: PathBuf,
        /// What it has.
        found: String,
    },
    /// Labels or patients that are not one per row.
    #[error("{found} {what} for {expected}; give one each, in the same order")]
    Count {
        /// What there are too few or too many of.
        what: &'static str,
        /// Their number.
        found: usize,
        /// What they must match.
        expected: String,
    },
    /// A category beyond the last.
    #[error("query {query} is of category {category} of {categories}, counted from 0")]
    NoCategory {
        /// The query.
        query: usize,
        /// Its category.
        category: usize,
        /// Number of categories.
        categories: usize,
    },
    /// Ranks to look at.
    #[error("k is {found:?}; give numbers above 0, such as 5, 10, 50 and 100")]
    NoRanks {
        /// What was given.
        found: Vec<usize>,
    },
    /// Too few images of a category for a protocol.
    #[error(
        "{category} has {found} images of which nothing else is known to be present, {expected} are needed for {queries} queries and \
         {candidates} candidates of other patients; ask for fewer, or leave the category out"
    )]
    TooFew {
        /// The category.
        category: String,
        /// Images that are of this category alone.
        found: usize,
        /// Images needed.
        expected: usize,
        /// Queries of each category.
        queries: usize,
        /// Candidates of each category.
        candidates: usize,
    },
}
