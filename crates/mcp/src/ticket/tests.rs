//! Ids are their owner's, of their era, and cannot be made up.
//! What upstreams say to them is tested over sockets.

use super::*;

const ANN: Owner<'_> = Owner { principal: "ann", tenant: "x" };

fn issued(tickets: &Tickets) -> (Address, String) {
    let address = Address::new(Kind::Tool, "fx/slow").unwrap();
    let ours = tickets.issue(ANN, Era::Modern, &address, "task-1").unwrap();
    (address, ours)
}

#[test]
fn an_id_is_read_by_its_owner_only() {
    let tickets = Tickets::by_chance().unwrap();
    let (address, ours) = issued(&tickets);
    let read = |owner, era, ours: &str| tickets.read(owner, era, ours);
    assert_eq!(read(ANN, Era::Modern, &ours), Some(Ticket { address, theirs: "task-1".into() }));
    assert_eq!(read(ANN, Era::Legacy, &ours), None);
    assert_eq!(read(Owner { principal: "bob", tenant: "x" }, Era::Modern, &ours), None);
    assert_eq!(read(Owner { principal: "ann", tenant: "y" }, Era::Modern, &ours), None);
    assert_eq!(read(Owner { principal: "an", tenant: "nx" }, Era::Modern, &ours), None);
    assert_eq!(Tickets::by_chance().unwrap().read(ANN, Era::Modern, &ours), None, "another key");
}

#[test]
fn no_other_text_is_an_id() {
    let tickets = Tickets::by_chance().unwrap();
    let (_, ours) = issued(&tickets);
    let (payload, seal) = ours.split_once('.').unwrap();
    let other = URL_SAFE_NO_PAD.encode("mfx/slow\0task-2");
    for text in [
        "",
        ".",
        "task-1",
        payload,
        &format!("{payload}."),
        &format!("{other}.{seal}"),
        &format!("{payload}.{}", seal.split_at(8).0),
    ] {
        assert_eq!(tickets.read(ANN, Era::Modern, text), None, "{text}");
    }
    let long = Address::new(Kind::Tool, "fx/slow").unwrap();
    assert_eq!(tickets.issue(ANN, Era::Modern, &long, &"x".repeat(1_025)), None);
}

#[test]
fn ids_of_one_secret_outlive_the_program() {
    let (before, after) = (Tickets::new(b"a secret").unwrap(), Tickets::new(b"a secret").unwrap());
    let (_, ours) = issued(&before);
    assert!(after.read(ANN, Era::Modern, &ours).is_some());
}
