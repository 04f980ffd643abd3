//! 02_text_encoders.

use super::{Case, Outputs};

pub fn compute(_: &Case) -> Option<Outputs> {
    None
}
