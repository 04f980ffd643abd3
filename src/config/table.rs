//! TOML tables: one over another, keys set from the command line, and where a key is.

use toml::de::{DeTable, DeValue};
use toml::{Spanned, Table, Value};

use super::ConfigError;

/// `over` on top of `base`: tables are merged key by key, everything else is replaced.
pub(crate) fn merged(mut base: Table, over: Table) -> Table {
    for (key, value) in over {
        let value = match (base.remove(&key), value) {
            (Some(Value::Table(below)), Value::Table(above)) if !is_choice(&key, &below, &above) => {
                Value::Table(merged(below, above))
            }
            (_, value) => value,
        };
        base.insert(key, value);
    }
    base
}

/// Whether a table names one of several kinds: two kinds can't be merged.
fn is_choice(key: &str, below: &Table, above: &Table) -> bool {
    matches!(key, "strategy" | "split" | "shape") && below.keys().ne(above.keys())
}

/// Names in a key with all its tables; no run file has as many.
const DEEPEST: usize = 16;

/// Sets `KEY=VALUE`, the value as in TOML; one that is not TOML is taken as a string.
pub(crate) fn set(table: &mut Table, overrides: &[String]) -> Result<(), ConfigError> {
    for text in overrides {
        let Some((key, value)) = text.split_once('=') else {
            return Err(ConfigError::value("--set", text, "KEY=VALUE, such as schedule.steps=100"));
        };
        let value = toml::from_str::<Table>(&format!("value = {value}"))
            .ok()
            .and_then(|mut parsed| parsed.remove("value"))
            .unwrap_or_else(|| Value::String(value.to_owned()));
        let mut names: Vec<&str> = key.trim().split('.').collect();
        if names.len() > DEEPEST || names.iter().any(|name| name.is_empty()) {
            return Err(ConfigError::value("--set", text, "KEY=VALUE, such as schedule.steps=100"));
        }
        let last = names.pop().unwrap_or_default();
        let mut place = &mut *table;
        for name in names {
            let inner = place.entry(name).or_insert_with(|| Value::Table(Table::new()));
            place = match inner {
                Value::Table(inner) => inner,
                _ => return Err(ConfigError::value("--set", text, format!("a key: `{name}` is not a table"))),
            };
        }
        place.insert(last.to_owned(), value);
    }
    Ok(())
}

/// The line, counted from 1, on which `text` sets `key`, or on which the innermost part of it that `text` has begins.
///
/// Keys are those of [`ConfigError::Value`]: `training.steps`, `arms.NAME.pool`, `arms.NAME.phases[1].epochs`.
pub(crate) fn line_of(text: &str, key: &str) -> Option<usize> {
    let document = DeTable::parse(text).ok()?;
    let offset = find(document.get_ref(), key)?;
    Some(1 + text.get(..offset)?.matches('\n').count())
}

/// Where `key` begins. Names of findings may have dots in them, so keys are not cut at dots but compared with the names that are there.
fn find(table: &DeTable<'_>, key: &str) -> Option<usize> {
    table.iter().find_map(|(name, value)| {
        let begin = name.span().start;
        match key.strip_prefix(name.get_ref().as_ref())? {
            "" => Some(begin),
            rest => match rest.strip_prefix('.') {
                Some(inner) => Some(inside(value, inner).unwrap_or(begin)),
                None => rest.starts_with('[').then(|| indexed(value, rest).unwrap_or(begin)),
            },
        }
    })
}

fn inside(value: &Spanned<DeValue<'_>>, key: &str) -> Option<usize> {
    match value.get_ref() {
        DeValue::Table(table) => find(table, key),
        // Arms go by their names. These may have dots in them, so the longest that fits is meant.
        DeValue::Array(items) => {
            let named = |item: &Spanned<DeValue<'_>>| {
                let table = item.get_ref().as_table()?;
                let name = table.get("name")?.get_ref().as_str()?;
                let rest = key.strip_prefix(name)?;
                let inner = rest.is_empty().then_some("").or_else(|| rest.strip_prefix('.'))?;
                Some((name.len(), find(table, inner).unwrap_or(item.span().start)))
            };
            items.iter().filter_map(named).max_by_key(|(length, _)| *length).map(|(_, begin)| begin)
        }
        _ => None,
    }
}

/// `rest` begins with `[INDEX]`.
fn indexed(value: &Spanned<DeValue<'_>>, rest: &str) -> Option<usize> {
    let (index, rest) = rest.strip_prefix('[')?.split_once(']')?;
    let item = value.get_ref().as_array()?.get(index.parse::<usize>().ok()?)?;
    let inner = rest.strip_prefix('.').and_then(|rest| inside(item, rest));
    Some(inner.unwrap_or(item.span().start))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_keys() {
        let text = "seeds = [1]\n[training]\n# words\nsteps = 0\n[[arms]]\nname = \"a\"\n[[arms]]\nname = \"a.b\"\n\
                    phases = [\n  { epochs = 1 },\n  { epochs = 0 },\n]\n";
        let line = |key: &str| line_of(text, key);
        assert_eq!((line("seeds"), line("training.steps"), line("training.rate")), (Some(1), Some(4), Some(2)));
        assert_eq!((line("arms.a.pool"), line("arms.a.b.pool"), line("arms.a.b.name")), (Some(5), Some(7), Some(8)));
        assert_eq!((line("arms.a.b.phases[1].epochs"), line("arms.a.b.phases[9]")), (Some(11), Some(9)));
        assert_eq!((line("gate.attempts"), line_of("= =", "a")), (None, None));
    }

    fn table(text: &str) -> Table {
        toml::from_str(text).unwrap()
    }

    #[test]
    fn tables_are_merged_and_choices_replaced() {
        let base = table("a = 1\nb = 2\n[t]\nx = 1\ny = [1, 2]\n[strategy.denoise]\nunet = \"full\"");
        let over = table("b = 3\n[t]\ny = [3]\n[strategy.reconstruct]\nencoder = true");
        let expected = table("a = 1\nb = 3\n[t]\nx = 1\ny = [3]\n[strategy.reconstruct]\nencoder = true");
        assert_eq!(merged(base, over), expected);
    }

    #[test]
    fn keys_are_set_with_their_tables() {
        let mut found = table("seed = 1\n[schedule]\nsteps = 5");
        let overrides = ["schedule.steps=7", "seed=2", "ema.decay=0.5", "title=a b"].map(str::to_owned);
        set(&mut found, &overrides).unwrap();
        assert_eq!(found, table("seed = 2\ntitle = \"a b\"\n[schedule]\nsteps = 7\n[ema]\ndecay = 0.5"));
        assert!(set(&mut found, &["seed".to_owned()]).unwrap_err().to_string().contains("KEY=VALUE"));
        assert!(set(&mut found, &["seed.x=1".to_owned()]).unwrap_err().to_string().contains("is not a table"));
        // A table in a table, 60,000 deep, would overflow the stack.
        assert!(set(&mut found, &[format!("{}x=1", "a.".repeat(60_000))]).unwrap_err().to_string().contains("KEY=VALUE"));
        assert!(set(&mut found, &["=1".to_owned()]).is_err());
    }
}
