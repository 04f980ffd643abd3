//! Formatting of numbers for people: one place, so that the terminal, `docs/results.md` and the page agree.

use super::Estimate;

/// Stands for a number that doesn't exist.
pub(crate) const UNDEFINED: &str = "undefined";

/// An AUROC, average precision or calibration error: `0.712`.
pub(crate) fn auroc(value: f64) -> String {
    fixed(value, 3)
}

/// An AUROC with its interval: `0.712 [0.690, 0.734]`.
pub(crate) fn auroc_estimate(estimate: &Estimate) -> String {
    with_interval(auroc(estimate.value), &auroc_interval(estimate))
}

/// The interval of an AUROC or of an absolute difference alone: `[-0.021, 0.012]`.
pub(crate) fn auroc_interval(estimate: &Estimate) -> String {
    interval(estimate, 3, 1.0)
}

/// The ends of an interval inside a sentence: `-0.021 to 0.012`.
pub(crate) fn auroc_range(estimate: &Estimate) -> String {
    format!("{} to {}", fixed(estimate.low, 3), fixed(estimate.high, 3))
}

/// A difference of two AUROCs: `+0.012`; what rounds to nothing has no sign.
pub(crate) fn difference(value: f64) -> String {
    signed(value, 3)
}

/// A difference with its interval: `-0.004 [-0.021, 0.012]`.
pub(crate) fn difference_estimate(estimate: &Estimate) -> String {
    with_interval(difference(estimate.value), &auroc_interval(estimate))
}

/// A relative difference, given as a share: `0.017` becomes `+1.7 %`.
pub(crate) fn relative(value: f64) -> String {
    percent_sign(signed(100.0 * value, 1))
}

/// The interval of a relative difference in percent: `[-0.1, 3.5]`.
pub(crate) fn relative_interval(estimate: &Estimate) -> String {
    interval(estimate, 1, 100.0)
}

/// A relative difference with its interval: `+1.7 % [-0.1, 3.5]`.
pub(crate) fn relative_estimate(estimate: &Estimate) -> String {
    with_interval(relative(estimate.value), &relative_interval(estimate))
}

/// A share of a whole: `0.083` becomes `8.3 %`.
pub(crate) fn share(value: f64) -> String {
    percent_sign(fixed(100.0 * value, 1))
}

/// A confidence level: `95 %`, `99.9 %`.
pub(crate) fn confidence(level: f64) -> String {
    let percent = fixed(100.0 * level, 1);
    percent_sign(percent.strip_suffix(".0").map_or(percent.clone(), str::to_owned))
}

/// A level of significance: `0.05`, `0.001`.
pub(crate) fn level(alpha: f64) -> String {
    let text = fixed(alpha, 4);
    text.trim_end_matches('0').to_owned()
}

/// A p-value: `0.35`, `0.004`, `<0.001`, `>0.99`. Near 0.05 there is a third decimal, so that rounding never changes sides.
pub(crate) fn p_value(p: f64) -> String {
    match p {
        p if !p.is_finite() => UNDEFINED.to_owned(),
        p if p < 0.001 => "<0.001".to_owned(),
        p if p > 0.99 => ">0.99".to_owned(),
        p if p < 0.01 || (0.045..0.055).contains(&p) => fixed(p, 3),
        p => fixed(p, 2),
    }
}

/// A p-value inside a sentence: `p = 0.03`, `p < 0.001`.
pub(crate) fn p_in_words(p: f64) -> String {
    let text = p_value(p);
    match text.split_at_checked(1) {
        Some((relation @ ("<" | ">"), number)) => format!("p {relation} {number}"),
        _ if text == UNDEFINED => format!("p {UNDEFINED}"),
        _ => format!("p = {text}"),
    }
}

/// A count with separated thousands: `112,120`.
pub(crate) fn count(number: usize) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A count with its noun: `1 patient`, `1,618 patients`.
pub(crate) fn counted(number: usize, noun: &str) -> String {
    format!("{} {noun}{}", count(number), if number == 1 { "" } else { "s" })
}

/// A wall time given in seconds: `12.3 s`, `12 min 05 s`, `3 h 05 min`.
pub(crate) fn duration(seconds: f64) -> String {
    if !seconds.is_finite() || seconds < 0.0 {
        return UNDEFINED.to_owned();
    }
    let whole = seconds.round() as u64;
    match whole {
        0..100 => format!("{seconds:.1} s"),
        100..7200 => format!("{} min {:02} s", whole / 60, whole % 60),
        _ => format!("{} h {:02} min", whole / 3600, whole % 3600 / 60),
    }
}

/// A learning rate or another small positive number: `3e-4`, `0.01`.
pub(crate) fn small(value: f64) -> String {
    match value {
        value if !value.is_finite() => UNDEFINED.to_owned(),
        value if value != 0.0 && value.abs() < 0.001 => format!("{value:e}"),
        value => value.to_string(),
    }
}

/// The same text with a true minus sign instead of the hyphen, which is as wide as the plus. Text that people
/// copy into a script (terminal, Markdown) keeps the hyphen.
pub(crate) fn typographic(text: &str) -> String {
    text.replace('-', "\u{2212}")
}

/// [`typographic`] for prose: only a hyphen right before a digit and not inside a word is a minus, so `real-only` keeps its own.
pub(crate) fn typographic_prose(text: &str) -> String {
    let mut before = ' ';
    let mut characters = text.chars().peekable();
    let mut changed = String::with_capacity(text.len());
    while let Some(character) = characters.next() {
        let is_minus = character == '-' && !before.is_alphanumeric() && characters.peek().is_some_and(char::is_ascii_digit);
        changed.push(if is_minus { '\u{2212}' } else { character });
        before = character;
    }
    changed
}

/// `value` with `decimals` places; never `-0.000`, never `NaN`.
pub(crate) fn fixed(value: f64, decimals: usize) -> String {
    if !value.is_finite() {
        return UNDEFINED.to_owned();
    }
    let text = format!("{value:.decimals$}");
    match text.strip_prefix('-') {
        Some(digits) if digits.chars().all(|digit| matches!(digit, '0' | '.')) => digits.to_owned(),
        _ => text,
    }
}

/// As [`fixed`], with a plus if the rounded number is positive.
pub(crate) fn signed(value: f64, decimals: usize) -> String {
    let text = fixed(value, decimals);
    if text.chars().any(|character| ('1'..='9').contains(&character)) && !text.starts_with('-') {
        format!("+{text}")
    } else {
        text
    }
}

fn interval(estimate: &Estimate, decimals: usize, scale: f64) -> String {
    if estimate.low.is_finite() && estimate.high.is_finite() {
        format!("[{}, {}]", fixed(scale * estimate.low, decimals), fixed(scale * estimate.high, decimals))
    } else {
        "[no interval]".to_owned()
    }
}

fn with_interval(value: String, interval: &str) -> String {
    if value == UNDEFINED { value } else { format!("{value} {interval}") }
}

fn percent_sign(number: String) -> String {
    if number == UNDEFINED { number } else { format!("{number} %") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn estimate(value: f64, low: f64, high: f64) -> Estimate {
        Estimate { value, low, high }
    }

    // The expected texts are the house's formats: AUROC to 3 decimals, differences signed, relative in percent to 1 decimal.
    #[test]
    fn aurocs() {
        assert_eq!(auroc(0.5), "0.500");
        assert_eq!(auroc(0.712_49), "0.712");
        assert_eq!(auroc(1.0), "1.000");
        assert_eq!(auroc_estimate(&estimate(0.712, 0.69, 0.734)), "0.712 [0.690, 0.734]");
    }

    #[test]
    fn differences_have_a_sign_unless_they_round_to_nothing() {
        assert_eq!(difference(0.0123), "+0.012");
        assert_eq!(difference(-0.0041), "-0.004");
        assert_eq!(difference(-0.0004), "0.000");
        assert_eq!(difference(0.0004), "0.000");
        assert_eq!(difference_estimate(&estimate(-0.004, -0.021, 0.012)), "-0.004 [-0.021, 0.012]");
        assert_eq!(relative_estimate(&estimate(0.017, -0.001, 0.035)), "+1.7 % [-0.1, 3.5]");
    }

    #[test]
    fn what_does_not_exist_is_said() {
        assert_eq!(auroc(f64::NAN), UNDEFINED);
        assert_eq!(difference(f64::INFINITY), UNDEFINED);
        assert_eq!(relative(f64::NAN), UNDEFINED);
        assert_eq!(auroc_estimate(&estimate(f64::NAN, 0.1, 0.2)), UNDEFINED);
        assert_eq!(auroc_estimate(&estimate(0.7, f64::NAN, 0.8)), "0.700 [no interval]");
        assert_eq!(duration(f64::NAN), UNDEFINED);
        assert_eq!(p_in_words(f64::NAN), "p undefined");
    }

    #[test]
    fn only_minus_signs_become_minus_signs() {
        assert_eq!(typographic("-0.004 [-0.021, 0.012]"), "−0.004 [−0.021, 0.012]");
        assert_eq!(
            typographic_prose("real-only, synth-2: -0.004 [-0.021, 0.012]"),
            "real-only, synth-2: −0.004 [−0.021, 0.012]"
        );
    }

    #[test]
    fn p_values_never_change_sides_by_rounding() {
        let cases = [
            (0.03, "0.03"),
            (0.0004, "<0.001"),
            (0.0042, "0.004"),
            (0.0487, "0.049"),
            (0.0512, "0.051"),
            (0.354, "0.35"),
            (1.0, ">0.99"),
        ];
        for (p, expected) in cases {
            assert_eq!(p_value(p), expected, "{p}");
        }
        assert_eq!(p_in_words(0.0004), "p < 0.001");
        assert_eq!(p_in_words(0.03), "p = 0.03");
    }

    #[test]
    fn counts_times_and_levels() {
        assert_eq!(count(0), "0");
        assert_eq!(count(999), "999");
        assert_eq!(count(112_120), "112,120");
        assert_eq!(count(7_978_856), "7,978,856");
        assert_eq!(counted(1, "patient"), "1 patient");
        assert_eq!(duration(12.34), "12.3 s");
        assert_eq!(duration(725.0), "12 min 05 s");
        assert_eq!(duration(11_100.0), "3 h 05 min");
        assert_eq!(confidence(0.95), "95 %");
        assert_eq!(confidence(0.999), "99.9 %");
        assert_eq!(share(0.083), "8.3 %");
        assert_eq!(level(1.0 - 0.95), "0.05");
        assert_eq!(level(1.0 - 0.999), "0.001");
        assert_eq!(small(3e-4), "3e-4");
        assert_eq!(small(0.01), "0.01");
    }
}
