//! `rules`, `rule`.

use multibee::{Multibee, Rule, RuleEntry};
use serde_json::{Map, Value, json};

use crate::args;
use crate::exit::Exit;
use crate::kind;
use crate::output::Output;
use crate::text;

pub(super) fn list(db: &Multibee, output: &mut Output) -> anyhow::Result<Exit> {
    for entry in db.rules()? {
        let RuleEntry { prefix, rule, is_strategy_known, is_kind_known, device, time } = &entry;
        let mut object = Map::new();
        text::insert(&mut object, "prefix", prefix);
        object.insert("strategy".into(), rule.strategy.as_str().into());
        object.insert("type".into(), rule.kind.into());
        object.insert("known".into(), (*is_strategy_known && *is_kind_known).into());
        object.insert("device".into(), device.to_string().into());
        object.insert("timeMs".into(), time.millis().into());
        let known = |is_known: bool| if is_known { "" } else { " (not known here)" };
        let line = format!(
            "{}\t{}{}\t{}{}",
            text::shown(prefix),
            rule.strategy,
            known(*is_strategy_known),
            kind::name(rule.kind),
            known(*is_kind_known)
        );
        output.print(&Value::Object(object), &line)?;
    }
    Ok(Exit::Ok)
}

/// What is not said stays as it is.
pub(super) fn set(db: &Multibee, rule: args::Rule, output: &mut Output) -> anyhow::Result<Exit> {
    let args::Rule { prefix, strategy, kind, clear } = rule;
    if clear {
        if !db.clear_rule(&prefix)? {
            eprintln!("multibee: {prefix}: no rule");
            return Ok(Exit::NotFound);
        }
    } else {
        let rules = db.rules()?.into_iter();
        let old = rules.filter(|entry| entry.prefix == prefix).map(|entry| entry.rule).next();
        let old = old.unwrap_or_default();
        let strategy = strategy.unwrap_or(old.strategy);
        db.set_rule(&prefix, Rule { strategy, kind: kind.unwrap_or(old.kind) })?;
    }
    if output.is_json() {
        output.print(&json!({ "prefix": prefix, "cleared": clear }), "")?;
    }
    Ok(Exit::Ok)
}
