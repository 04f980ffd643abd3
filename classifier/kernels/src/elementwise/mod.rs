//! Functions of every element.

pub(crate) mod activation;
pub(crate) mod add;
pub(crate) mod cast;
pub(crate) mod erf;
pub(crate) mod exp;
pub(crate) mod function;
pub(crate) mod geglu;
