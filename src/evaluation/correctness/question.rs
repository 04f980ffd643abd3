//! Outputs that are named after a value of a column: `Sex=F`, `View=AP`, `Age>=60`.

/// What an output of that name asks of an image.
#[derive(Clone, Debug, PartialEq)]
pub struct Question {
    /// The column, in small letters.
    pub column: String,
    /// What its value must be.
    pub answer: Answer,
}

/// The values for which the answer is yes.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// This value, in small letters.
    Is(String),
    /// This number or more (`>=`), or more (`>`).
    AtLeast(f64, bool),
    /// This number or less (`<=`), or less (`<`).
    AtMost(f64, bool),
}

impl Question {
    /// The question that an output of this name asks; `None` for names of findings.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        let at = name.find(['=', '<', '>'])?;
        let column = name[..at].trim().to_lowercase();
        let number = |text: &str| text.trim().parse::<f64>().ok().filter(|number| number.is_finite());
        let rest = &name[at..];
        let answer = if let Some(rest) = rest.strip_prefix(">=") {
            Answer::AtLeast(number(rest)?, true)
        } else if let Some(rest) = rest.strip_prefix("<=") {
            Answer::AtMost(number(rest)?, true)
        } else if let Some(rest) = rest.strip_prefix('>') {
            Answer::AtLeast(number(rest)?, false)
        } else if let Some(rest) = rest.strip_prefix('<') {
            Answer::AtMost(number(rest)?, false)
        } else {
            Answer::Is(plain(&column, rest.strip_prefix('=')?))
        };
        let whole = !column.is_empty() && answer != Answer::Is(String::new());
        whole.then_some(Self { column, answer })
    }

    /// 1 or 0 for a known value, NaN for one that is unknown or no number where a number is asked for.
    #[must_use]
    pub fn target(&self, value: Option<&str>) -> f64 {
        let Some(value) = value.map(|value| plain(&self.column, value)).filter(|value| !value.is_empty()) else {
            return f64::NAN;
        };
        let number = || value.parse::<f64>().ok().filter(|number| number.is_finite());
        let yes = match &self.answer {
            Answer::Is(wanted) => Some(value == *wanted),
            Answer::AtLeast(limit, with) => number().map(|number| number > *limit || *with && number == *limit),
            Answer::AtMost(limit, with) => number().map(|number| number < *limit || *with && number == *limit),
        };
        yes.map_or(f64::NAN, |yes| f64::from(u8::from(yes)))
    }
}

/// A value in small letters, and the short word where a column has two.
fn plain(column: &str, value: &str) -> String {
    let value = value.trim().to_lowercase();
    let short = match (column, value.as_str()) {
        ("sex" | "gender", "female") => "f",
        ("sex" | "gender", "male") => "m",
        ("view", "lateral" | "ll") => "l",
        _ => return value,
    };
    short.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outputs_ask_for_values() {
        let ask = |name: &str, value: &str| Question::parse(name).unwrap().target(Some(value));
        assert_eq!([ask("Sex=F", "female"), ask("sex = Female", "F"), ask("Sex=F", "M")], [1.0, 1.0, 0.0]);
        assert_eq!([ask("View=PA", "pa"), ask("View=L", "LATERAL")], [1.0, 1.0]);
        assert_eq!(
            [ask("Age>=60", "60"), ask("Age>60", "60"), ask("Age<40", "39.5"), ask("Age<=40", "40")],
            [1.0, 0.0, 1.0, 1.0]
        );
        assert!(ask("Age>=60", "old").is_nan() && Question::parse("Sex=F").unwrap().target(None).is_nan());
        for name in ["Effusion", "=F", "Sex=", "Age>=old", "Age<"] {
            assert_eq!(Question::parse(name), None, "{name}");
        }
    }
}
