//! TOML tables: one over another, and keys set from the command line.

use toml::{Table, Value};

use super::ConfigError;

/// `over` on top of `base`: tables are merged key by key, everything else is replaced.
pub(super) fn merged(mut base: Table, over: Table) -> Table {
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

/// Sets `KEY=VALUE`, the value as in TOML; one that is no TOML is taken for a text.
pub(super) fn set(table: &mut Table, overrides: &[String]) -> Result<(), ConfigError> {
    for text in overrides {
        let Some((key, value)) = text.split_once('=') else {
            return Err(ConfigError::value("--set", text, "KEY=VALUE, such as schedule.steps=100"));
        };
        let value = toml::from_str::<Table>(&format!("value = {value}"))
            .ok()
            .and_then(|mut parsed| parsed.remove("value"))
            .unwrap_or_else(|| Value::String(value.to_owned()));
        let mut names: Vec<&str> = key.trim().split('.').collect();
        let last = names.pop().unwrap_or_default();
        let mut place = &mut *table;
        for name in names {
            let inner = place.entry(name).or_insert_with(|| Value::Table(Table::new()));
            place = match inner {
                Value::Table(inner) => inner,
                _ => return Err(ConfigError::value("--set", text, format!("a key: `{name}` is no table"))),
            };
        }
        place.insert(last.to_owned(), value);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

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
        assert!(set(&mut found, &["seed.x=1".to_owned()]).unwrap_err().to_string().contains("no table"));
    }
}
