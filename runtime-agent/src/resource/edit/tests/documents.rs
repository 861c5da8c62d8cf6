//! Documents for the editors of JSON, YAML and TOML.

use super::*;

/// A YAML or JSON value, and a text that has it.
fn value() -> impl Strategy<Value = Value> {
    let scalar = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i32>().prop_map(|i| Value::Int(i.into())),
        (-1000i32..1000).prop_map(|i| Value::Float(ir::Finite::new(f64::from(i) / 8.0).unwrap())),
        "[a-zé0-9:#\\-{}\\[\\], \"'\\\\\n\t~|>&*!%@]{0,8}".prop_map(|s| Value::from(s.as_str())),
        prop::sample::select(vec![
            "yes",
            "no",
            "null",
            "1e3",
            "0x1f",
            "1:30",
            "- a",
            "...",
            "---",
            "2001-01-01",
            "on",
            "~",
            "é"
        ])
        .prop_map(Value::from),
    ];
    scalar.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::List),
            prop::collection::btree_map(key(), inner, 0..4)
                .prop_map(|m| Value::Map(m.into_iter().map(|(k, v)| (k.into(), v)).collect())),
        ]
    })
}

fn key() -> impl Strategy<Value = String> {
    prop::sample::select(vec!["a", "b", "c", "d-e", "yes", "1", "x y", "é", "q:", "", "#k"])
        .prop_map(str::to_owned)
}

pub(super) fn document() -> impl Strategy<Value = Value> {
    prop::collection::btree_map(key(), value(), 0..4)
        .prop_map(|m| Value::Map(m.into_iter().map(|(k, v)| (k.into(), v)).collect()))
}

/// Whether all but one stretch of a text is as it was.
pub(super) fn one_stretch(old: &str, new: &str) -> (usize, usize) {
    let head = old.bytes().zip(new.bytes()).take_while(|(a, b)| a == b).count();
    let (old, new) = (old.get(head..).unwrap_or_default(), new.get(head..).unwrap_or_default());
    let tail = old.bytes().rev().zip(new.bytes().rev()).take_while(|(a, b)| a == b).count();
    (old.len().saturating_sub(tail), new.len().saturating_sub(tail))
}

pub(super) fn edit<F: super::super::structured::Format>(
    text: &str,
    name: &str,
    value: Value,
) -> Result<String, String> {
    use super::super::Edit;
    let d = with(F::KIND, &[(name, value)]);
    super::super::structured::Structured::<F>::edit(&d, text).map(|e| e.text).map_err(|e| e.to_string())
}

/// Merging a document and then another, each twice.
pub(super) fn merged<F: super::super::structured::Format>(
    first: &Value,
    second: &Value,
    lossy: bool,
) -> Result<(), TestCaseError> {
    let Ok(one) = edit::<F>("", "merge", first.clone()) else {
        prop_assert!(lossy, "{first:?}");
        return Ok(());
    };
    let two = match edit::<F>(&one, "merge", second.clone()) {
        Ok(two) => two,
        Err(error) => {
            prop_assert!(lossy, "{error}\n{one}\n{second:?}");
            return Ok(());
        }
    };
    prop_assert_eq!(&edit::<F>(&two, "merge", second.clone()).unwrap(), &two);
    if let (Value::Map(all), Ok(Value::Map(found))) = (second, F::read(&two)) {
        for (key, value) in all {
            if !matches!(value, Value::Map(_)) {
                prop_assert_eq!(found.get(key), Some(value), "{}", two);
            }
        }
        for key in all.keys().filter(|k| !k.is_empty()) {
            let path = format!("\"{key}\"");
            let gone = edit::<F>(&two, "remove", list(&[&path]));
            let gone = gone.map_err(|e| TestCaseError::fail(format!("{e}: {key} of\n{two}")))?;
            let Ok(Value::Map(left)) = F::read(&gone) else { return Err(TestCaseError::fail("no map")) };
            prop_assert!(!left.contains_key(key.as_ref()));
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn no_text_stops_an_edit(text in "[a-c:\\-\\[\\]{}\",#|>&*!?\n \t]{0,40}") {
        for name in ["set", "merge"] {
            let new = || map(&[("a", 1.into())]);
            for result in [
                edit::<super::super::json::Json>(&text, name, new()),
                edit::<super::super::yaml::Yaml>(&text, name, new()),
                edit::<super::super::toml::Toml>(&text, name, new()),
            ] {
                // Either as declared or an error, which leaves the file alone.
                prop_assert!(result.is_err() || result.is_ok_and(|new| !new.is_empty()));
            }
        }
        for path in ["a", "a.b", "b.0"] {
            let _ = edit::<super::super::yaml::Yaml>(&text, "remove", list(&[path]));
            let _ = edit::<super::super::json::Json>(&text, "remove", list(&[path]));
        }
    }
}
