//! Scalar functions that kernels apply to every element, with their slopes.

use crate::elementwise::erf::erf;
use crate::elementwise::exp::exp;

/// A function of one number, as straight-line code that a compiler turns into vector instructions.
pub(crate) trait Function: 'static {
    /// `f(x)`
    fn value(x: f32) -> f32;
    /// `f'(x)`
    fn slope(x: f32) -> f32;
}

/// `x`
pub(crate) struct Identity;
/// `max(x, 0)`
pub(crate) struct Relu;
/// `x / (1 + e^-x)`
pub(crate) struct Silu;
/// `x Φ(x)`
pub(crate) struct Gelu;
/// `x / (1 + e^-1.702x)`
pub(crate) struct QuickGelu;

impl Function for Identity {
    #[inline(always)]
    fn value(x: f32) -> f32 {
        x
    }

    #[inline(always)]
    fn slope(_: f32) -> f32 {
        1.0
    }
}

impl Function for Relu {
    /// NaN stays NaN.
    #[inline(always)]
    fn value(x: f32) -> f32 {
        if x < 0.0 { 0.0 } else { x }
    }

    #[inline(always)]
    fn slope(x: f32) -> f32 {
        if x > 0.0 { 1.0 } else { 0.0 }
    }
}

impl Function for Silu {
    #[inline(always)]
    fn value(x: f32) -> f32 {
        x / (1.0 + exp(-x))
    }

    #[inline(always)]
    fn slope(x: f32) -> f32 {
        let sigmoid = 1.0 / (1.0 + exp(-x));
        sigmoid * (1.0 + x * (1.0 - sigmoid))
    }
}

impl Function for Gelu {
    #[inline(always)]
    fn value(x: f32) -> f32 {
        x * normal_cdf(x)
    }

    #[inline(always)]
    fn slope(x: f32) -> f32 {
        /// `1 / sqrt(2 pi)`, the height of the normal density.
        const HEIGHT: f32 = 0.398_942_3;
        normal_cdf(x) + x * HEIGHT * exp(-0.5 * x * x)
    }
}

impl Function for QuickGelu {
    #[inline(always)]
    fn value(x: f32) -> f32 {
        x / (1.0 + exp(-QUICK * x))
    }

    #[inline(always)]
    fn slope(x: f32) -> f32 {
        let sigmoid = 1.0 / (1.0 + exp(-QUICK * x));
        sigmoid * (1.0 + QUICK * x * (1.0 - sigmoid))
    }
}

/// Of [`QuickGelu`].
pub(crate) const QUICK: f32 = 1.702;

/// `Φ(x)`
#[inline(always)]
fn normal_cdf(x: f32) -> f32 {
    0.5 * (1.0 + erf(x * std::f32::consts::FRAC_1_SQRT_2))
}

/// A function of every element.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    /// `x`
    Identity,
    /// `max(x, 0)`
    Relu,
    /// `x / (1 + e^-x)` (Elfwing et al. 2017)
    Silu,
    /// `x Φ(x)` by the error function (Hendrycks and Gimpel 2016)
    Gelu,
    /// `x / (1 + e^-1.702x)`, CLIP's approximation of GELU
    QuickGelu,
}

/// Runs a generic function for the type of an [`Activation`].
macro_rules! by_function {
    ($activation:expr, $function:ident => $call:expr) => {
        match $activation {
            $crate::elementwise::function::Activation::Identity => {
                type $function = $crate::elementwise::function::Identity;
                $call
            }
            $crate::elementwise::function::Activation::Relu => {
                type $function = $crate::elementwise::function::Relu;
                $call
            }
            $crate::elementwise::function::Activation::Silu => {
                type $function = $crate::elementwise::function::Silu;
                $call
            }
            $crate::elementwise::function::Activation::Gelu => {
                type $function = $crate::elementwise::function::Gelu;
                $call
            }
            $crate::elementwise::function::Activation::QuickGelu => {
                type $function = $crate::elementwise::function::QuickGelu;
                $call
            }
        }
    };
}
pub(crate) use by_function;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Difference of values a step apart, in 64 bits where the function is one of them.
    fn slope_is_the_change_of_the_value<F: Function>(x: f32) -> Result<(), TestCaseError> {
        // Rounding of values up to 8 in 32 bits, divided by the step; and the third derivative times its square.
        const STEP: f32 = 1.0 / 64.0;
        const CLOSE: f32 = 2e-4;
        let change = (F::value(x + STEP) - F::value(x - STEP)) / (2.0 * STEP);
        prop_assert!((change - F::slope(x)).abs() < CLOSE, "at {x}: {change}, {}", F::slope(x));
        Ok(())
    }

    proptest! {
        #[test]
        fn slopes_are_those_of_the_values(x in -8f32..8.0) {
            slope_is_the_change_of_the_value::<Identity>(x)?;
            slope_is_the_change_of_the_value::<Silu>(x)?;
            slope_is_the_change_of_the_value::<Gelu>(x)?;
            slope_is_the_change_of_the_value::<QuickGelu>(x)?;
            if x.abs() > 0.02 {
                slope_is_the_change_of_the_value::<Relu>(x)?;
            }
        }
    }

    #[test]
    fn values_are_those_of_torch() {
        // torch 2.15.0, f64: gelu(x), x * sigmoid(1.702 * x), silu(x)
        let at = [1.0, -1.0, 3.0, -0.5];
        let expected = [
            (Gelu::value as fn(f32) -> f32, [0.841344746, -0.158655254, 2.995950306, -0.154268770]),
            (QuickGelu::value, [0.845795765, -0.154204235, 2.981928691, -0.149611563]),
            (Silu::value, [0.731058579, -0.268941421, 2.857722380, -0.188770334]),
        ];
        for (value, expected) in expected {
            for (x, expected) in at.into_iter().zip(expected) {
                // Two units in the last place of values around 3.
                assert!((f64::from(value(x)) - expected).abs() < 5e-7, "{x}: {} {expected}", value(x));
            }
        }
        assert!(Relu::value(f32::NAN).is_nan());
        assert_eq!([Relu::value(-1.0), Relu::value(2.0), Relu::slope(0.0)], [0.0, 2.0, 0.0]);
    }
}
