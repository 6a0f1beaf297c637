//! Tables on their log: what they keep when it is shortened, cut or damaged.

use std::fs;

use message::Dice;

use super::*;

type Model = std::collections::BTreeMap<Vec<u8>, Bytes>;

fn all(table: &Arc<dyn Table>) -> Model {
    table.scan(b"", None, usize::MAX).unwrap().into_iter().map(|(key, value)| (key.to_vec(), value)).collect()
}

fn value(dice: &Dice) -> Bytes {
    let size = [0, 10, 100, 3000, 50_000, 200_000][usize::try_from(dice.below(6)).unwrap()];
    let byte = u8::try_from(dice.below(256)).unwrap();
    Bytes::from(vec![byte; size])
}

#[test]
fn whatever_is_written_and_copied_forward_the_newest_values_stay_and_the_log_stays_short() {
    for seed in 0..4 {
        let dice = Dice::seeded(seed);
        let dir = temp();
        let mut engine = Embedded::open(dir.path(), small()).unwrap();
        let mut models: [Model; 2] = Default::default();
        for round in 0..300 {
            let which = usize::try_from(dice.below(2)).unwrap();
            let table = engine.table(["one", "two"][which]).unwrap();
            let writes: Vec<_> = (0..dice.below(4))
                .map(|_| {
                    let key = Bytes::from(vec![b'k', u8::try_from(dice.below(12)).unwrap()]);
                    let value = (dice.below(4) > 0).then(|| value(&dice));
                    match &value {
                        Some(value) => models[which].insert(key.to_vec(), value.clone()),
                        None => models[which].remove(key.as_ref()),
                    };
                    value.map_or_else(|| Write::remove(key.clone()), |value| Write::put(key.clone(), value))
                })
                .collect();
            table.commit(writes).wait().unwrap();
            if round % 60 == 30 {
                engine.close().unwrap();
                engine = Embedded::open(dir.path(), small()).unwrap();
            }
            for (name, model) in ["one", "two"].into_iter().zip(&models) {
                assert!(all(&engine.table(name).unwrap()) == *model, "seed {seed}, round {round}, {name}");
            }
        }
        assert!(engine.health().is_good(), "{:?}", engine.health());
        let live: usize = models.iter().flatten().map(|(key, value)| key.len() + value.len()).sum();
        engine.close().unwrap();
        let log = fs::read_dir(dir.path().join("tables")).unwrap().count() * (64 << 10);
        // Twice what is live, and the largest commit on top before the thread gets to it.
        assert!(log <= 2 * live + 20 * (64 << 10), "seed {seed}: {log} for {live}");
    }
}

#[test]
fn a_large_commit_that_was_interrupted_is_not_there_and_a_finished_one_is_there_whole() {
    let dir = temp();
    let engine = Embedded::open(dir.path(), small()).unwrap();
    let table = engine.table("t").unwrap();
    table.commit(vec![Write::put("k1", "old"), Write::put("k2", "old")]).wait().unwrap();
    let large: Vec<_> = (0..5).map(|key| Write::put(format!("k{key}"), vec![key; 60_000])).collect();
    let commit = table.commit(large);
    let mut seen = [0, 0];
    loop {
        let copy = snapshot(dir.path());
        let there = Embedded::open(copy.path(), small()).unwrap();
        let found = all(&there.table("t").unwrap());
        let lengths: Vec<_> = found.values().map(Bytes::len).collect();
        assert!(lengths == [3, 3] || lengths == [60_000; 5], "{lengths:?}");
        seen[usize::from(lengths.len() == 5)] += 1;
        if seen[1] > 0 {
            break;
        }
    }
    commit.wait().unwrap();
    assert_eq!(table.get(b"k4").unwrap(), Some(Bytes::from(vec![4; 60_000])));
}

#[test]
fn what_was_staged_without_its_commit_has_no_effect() {
    let dir = temp();
    let engine = Embedded::open(dir.path(), small()).unwrap();
    let table = engine.table("t").unwrap();
    table.commit(vec![Write::put("a", "old")]).wait().unwrap();
    table
        .commit((0..4).map(|key| Write::put(format!("a{key}"), vec![key; 60_000])).collect())
        .wait()
        .unwrap();
    engine.close().unwrap();
    // The log without its last two records: the mark of an orderly end, and the commit.
    let path = segments_in(&dir.path().join("tables")).pop().unwrap();
    let mut bytes = fs::read(&path).unwrap();
    let records = bytes.len() - 4096;
    let end = bytes[..records].iter().rposition(|byte| *byte != 0).unwrap();
    bytes[end - 120..records].fill(0);
    fs::write(&path, &bytes).unwrap();
    fs::remove_file(dir.path().join("tables.mark")).unwrap_or_default();
    let engine = Embedded::open(dir.path(), small()).unwrap();
    let table = engine.table("t").unwrap();
    assert_eq!(all(&table).len(), 1);
    table.commit(vec![Write::put("b", "new")]).wait().unwrap();
    engine.close().unwrap();
    let engine = Embedded::open(dir.path(), small()).unwrap();
    assert_eq!(all(&engine.table("t").unwrap()).len(), 2, "nor later");
}

// Finding: B6
#[test]
fn a_flip_anywhere_in_a_table_is_reported_and_costs_no_other_values() {
    let dir = temp();
    let engine = Embedded::open(dir.path(), small()).unwrap();
    let table = engine.table("retained").unwrap();
    for number in 0..5u8 {
        table.commit(vec![Write::put(vec![b'k', number], vec![number; 30])]).wait().unwrap();
    }
    engine.close().unwrap();
    let path = segments_in(&dir.path().join("tables")).pop().unwrap();
    let whole = fs::read(&path).unwrap();
    let end = 4096 + 700;
    let mut lost_some = 0;
    for at in (0..end).chain(whole.len() - 64..whole.len()).step_by(3) {
        let mut flipped = whole.clone();
        flipped[at] ^= 1;
        fs::write(&path, &flipped).unwrap();
        let copy = snapshot(dir.path());
        let engine = Embedded::open(copy.path(), small()).unwrap();
        let found = all(&engine.table("retained").unwrap());
        assert!(found.len() >= 4, "a flip at {at} leaves {found:?}");
        assert!(found.iter().all(|(key, value)| value.iter().all(|byte| *byte == key[1])), "{found:?}");
        if found.len() < 5 {
            lost_some += 1;
            let damage = engine.health().damage;
            assert_eq!(damage.len(), 1, "a flip at {at}: {damage:?}");
            assert_eq!(damage[0].records, Some(1));
        }
    }
    assert!(lost_some > 50, "{lost_some}");
}

// Finding: B6
#[test]
fn a_damaged_value_is_never_returned_and_costs_no_other() {
    let dir = temp();
    let engine = Embedded::open(dir.path(), small()).unwrap();
    let table = engine.table("t").unwrap();
    table.commit(vec![Write::put("a", "first value")]).wait().unwrap();
    table.commit(vec![Write::put("b", "second value")]).wait().unwrap();
    table.commit(vec![Write::put("c", vec![7; 100_000])]).wait().unwrap();
    for path in segments_in(&dir.path().join("tables")) {
        let mut bytes = fs::read(&path).unwrap();
        if let Some(at) = bytes.windows(11).position(|window| window == b"first value") {
            bytes[at] = b'?';
        }
        if let Some(at) = bytes.windows(5000).position(|window| window == [7; 5000]) {
            bytes[at] = b'?';
        }
        fs::write(&path, &bytes).unwrap();
    }
    for key in [b"a", b"c"] {
        assert!(matches!(table.get(key), Err(Error::Damaged { .. })));
    }
    assert_eq!(all(&table).len(), 1, "a scan leaves it out");
    assert_eq!(table.scan(b"", None, 1).unwrap().len(), 1, "and gives what follows");
    assert_eq!(engine.health().damage[0].lanes, ["t"]);
}

#[test]
fn tables_of_an_earlier_build_are_not_passed_over() {
    let dir = temp();
    fs::create_dir(dir.path().join("tables")).unwrap();
    fs::write(dir.path().join("tables/0.jnl"), b"fjall").unwrap();
    let Err(error) = Embedded::open(dir.path(), small()) else { panic!("opened") };
    assert!(error.to_string().contains("earlier build"), "{error}");
}
