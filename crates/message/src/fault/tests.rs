//! The catalogue is whole: ids count up, and every page says what happened, why and what to do.

use super::*;

#[test]
fn ids_count_up_and_codes_find_their_line() {
    for (place, entry) in Code::all().iter().enumerate() {
        assert_eq!(entry.id, format!("TL{:04}", place + 1));
        assert_eq!(entry.code.entry().id, entry.id);
        assert_eq!(Code::find(entry.id).unwrap().id, entry.id);
    }
    assert_eq!(Code::find("12").unwrap().code, Code::BadConfiguration);
    assert_eq!(Code::find("tl0012").unwrap().code, Code::BadConfiguration);
    assert!(Code::find("TL9999").is_none() && Code::find("TL0000").is_none() && Code::find("x").is_none());
}

// Finding: S3
#[test]
fn a_detail_is_bounded_whatever_it_quotes() {
    let name = "n".repeat(100_000);
    let fault =
        Fault::new(Code::UnknownAddress, format!("there is no {name}; ask for another")).within(&name);
    assert!(fault.detail().len() <= 2048, "{}", fault.detail().len());
    assert!(fault.detail().ends_with("ask for another"));
}

#[test]
fn every_code_has_a_whole_page() {
    for entry in Code::all() {
        assert!(entry.page.starts_with(&format!("# {}: {}\n", entry.id, entry.title)), "{}", entry.id);
        for heading in ["## What happened\n", "## Why\n", "## What to do\n"] {
            let text = entry.page.split_once(heading).map(|(_, rest)| rest.split("## ").next().unwrap_or(""));
            assert!(text.is_some_and(|text| text.trim().len() > 20), "{} lacks {heading:?}", entry.id);
        }
    }
}
