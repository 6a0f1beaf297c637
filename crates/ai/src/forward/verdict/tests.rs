//! What statuses and faults mean for a call and for the breaker, and what clients read.

use super::*;
use net::http::respond;

// Finding: A14, A16
#[test]
fn statuses_say_who_is_asked_next() {
    let check = |status: u16, wait: bool, next: Next, health: Health| {
        let mut headers = HeaderMap::new();
        if wait {
            headers.insert(header::RETRY_AFTER, "5".parse().unwrap());
        }
        let verdict = of_head(StatusCode::from_u16(status).unwrap(), &headers);
        assert_eq!(verdict, Verdict { next, health }, "{status}");
    };
    for status in [200, 201, 204, 302, 400, 409, 413, 415, 422, 451] {
        check(status, false, Next::Done, Health::Well);
    }
    check(401, false, Next::Elsewhere, Health::Ill);
    check(403, false, Next::Elsewhere, Health::Suspect);
    for status in [404, 429] {
        check(status, false, Next::Elsewhere, Health::Well);
    }
    for status in [408, 500, 502, 503, 504, 520, 524, 529] {
        check(status, false, Next::Again, Health::Suspect);
        check(status, true, Next::Elsewhere, Health::Suspect);
    }
    for status in [501, 505, 530, 599] {
        check(status, false, Next::Elsewhere, Health::Suspect);
    }
}

#[test]
fn faults_say_who_is_asked_next() {
    let check = |code: Code, detail: &str, own: bool, next: Next, health: Health| {
        let verdict = of_fault(&Fault::new(code, detail), own);
        assert_eq!(verdict, Verdict { next, health }, "{code:?}");
    };
    check(Code::UpstreamDown, "127.0.0.1:1 cannot be reached: no", true, Next::Again, Health::Ill);
    check(Code::UpstreamDown, "127.0.0.1:1 closed it", true, Next::Again, Health::Suspect);
    check(Code::DeadlinePassed, "", true, Next::Elsewhere, Health::Ill);
    // A client in a hurry says nothing of the provider.
    check(Code::DeadlinePassed, "", false, Next::Done, Health::Unknown);
    check(Code::TooLarge, "", true, Next::Done, Health::Unknown);
    check(Code::BreakerOpen, "", true, Next::Elsewhere, Health::Unknown);
}

// Finding: A13, A17
#[test]
fn clients_read_the_providers_name_and_no_address() {
    for (code, detail) in [
        (Code::UpstreamDown, "10.1.2.3:7665 cannot be reached: Connection refused (os error 111)"),
        (
            Code::UpstreamDown,
            "10.1.2.3:7665 cannot be reached: invalid peer certificate: valid for names: inner",
        ),
        (Code::UpstreamDown, "10.1.2.3:7665 closed the connection before its answer: reset"),
        (Code::UpstreamProtocol, "10.1.2.3:7665 answered what is no HTTP: a head"),
        (Code::DeadlinePassed, "10.1.2.3:7665 did not answer within 5 ms"),
        (Code::EgressForbidden, "10.1.2.3 is a private address"),
        (Code::UpstreamFailed, "10.1.2.3:7665 broke off its answer: inner"),
    ] {
        let fault = Fault::new(code, detail);
        for told in [named(&fault, "up", Duration::from_millis(5)), named_body(&fault, "up")] {
            let hidden = told.detail().starts_with("up ") && !told.detail().contains("10.1");
            assert!(hidden || told == fault, "{told}");
            assert_eq!(told.code(), code);
        }
    }
    let mine = Fault::new(Code::TooLarge, "the body is larger");
    assert_eq!(named(&mine, "up", Duration::ZERO), mine);
    let answer = |status, kind| respond(StatusCode::from_u16(status).unwrap(), kind, "sk-upst***");
    let fault = instead(&answer(401, "application/json"), "up", false).unwrap();
    assert_eq!((fault.code(), fault.upstream_status()), (Code::UpstreamRefused, Some(401)));
    let fault = instead(&answer(200, "Text/HTML; charset=utf-8"), "up", true).unwrap();
    assert_eq!(fault.code(), Code::UpstreamProtocol);
    for (status, kind, is_model) in
        [(200, "text/html", false), (400, "text/html", true), (200, "application/json", true)]
    {
        assert_eq!(instead(&answer(status, kind), "up", is_model), None, "{status} {kind}");
    }
}
