//! Prices are read and multiplied exactly.

use super::*;

#[test]
fn prices_are_decimal_text() {
    let check = |text: &str, nano: Option<u64>| assert_eq!(Price::parse(text), nano.map(Price), "{text}");
    check("2.50", Some(2_500_000_000));
    check("0.075", Some(75_000_000));
    check("15", Some(15_000_000_000));
    check("0.000000001", Some(1));
    check("0.0000000001", None);
    check("", None);
    check(".5", None);
    check("5.", None);
    check("-1", None);
    check("1e3", None);
    check("99999999999999999999", None);
}

#[test]
fn prices_are_written_as_money() {
    let check = |text: &str, shown: &str| assert_eq!(Price::parse(text).unwrap().to_string(), shown);
    check("2.5", "2.50");
    check("15", "15.00");
    check("0.075", "0.075");
    check("0.000000001", "0.000000001");
}

#[test]
fn costs_are_exact_and_rounded_once() {
    let price = |text: &str| Price::parse(text).unwrap();
    let config =
        PriceConfig { input: price("2.50"), cached_input: Some(price("1.25")), output: price("10.00") };
    let usage = Usage { input_tokens: 1_000, cached_tokens: 400, output_tokens: 7, ..Usage::default() };
    // 600 × 2,500 + 400 × 1,250 + 7 × 10,000 billionths.
    assert_eq!(cost_nano(&config, &usage), 1_500_000 + 500_000 + 70_000);

    let tiny = PriceConfig { input: price("0.0001"), ..PriceConfig::default() };
    let of = |tokens| cost_nano(&tiny, &Usage { input_tokens: tokens, ..Usage::default() });
    assert_eq!((of(4), of(5), of(14), of(15)), (0, 1, 1, 2));

    // A provider that counts more cached tokens than it read does not make the sum wrap.
    let odd = Usage { input_tokens: 1, cached_tokens: 5, ..Usage::default() };
    assert_eq!(cost_nano(&config, &odd), 1_250);
}
