//! Every kind of damage to every file of a store: either nothing is lost, or what is lost is reported.
//! Each start is made twice, for an alarm that is gone at the second start helps nobody.

use std::collections::BTreeMap;
use std::fs;

use super::*;

type Values = BTreeMap<(String, Vec<u8>), Bytes>;
type Harm = Box<dyn Fn(&Path)>;

/// All that a store holds: the records that its logs have not trimmed and the values of its tables.
fn contents(engine: &Embedded) -> Values {
    let mut all = Values::new();
    for name in engine.logs() {
        for (offset, record) in engine.log(&name).unwrap().read(0, usize::MAX, usize::MAX).unwrap() {
            all.insert((name.clone(), offset.to_be_bytes().to_vec()), record);
        }
    }
    for name in engine.tables() {
        for (key, value) in engine.table(&name).unwrap().scan(b"", None, usize::MAX).unwrap() {
            all.insert((format!("table {name}"), key.to_vec()), value);
        }
    }
    all
}

/// A store in use: several segments in both of its logs, some freed; trims, overwritten and removed values.
fn used(dir: &Path) -> Embedded {
    let engine = Embedded::open(dir, small()).unwrap();
    let (old, new) = (engine.log("old").unwrap(), engine.log("new").unwrap());
    let table = engine.table("retained").unwrap();
    for number in 0..1500u64 {
        drop(old.append(vec![record(number)]));
        new.append(vec![record(number)]).wait().unwrap();
        if number.is_multiple_of(10) {
            let key = format!("topic/{}", number / 10 % 50);
            table
                .commit(vec![Write::put(key, vec![u8::try_from(number % 251).unwrap(); 900])])
                .wait()
                .unwrap();
        }
        if number == 700 {
            old.trim(600).unwrap();
            new.trim(600).unwrap();
        }
    }
    table.commit(vec![Write::remove("topic/3"), Write::put("long", vec![9; 90_000])]).wait().unwrap();
    new.append(vec![record(1500)]).wait().unwrap();
    engine
}

fn files(dir: &Path, below: &Path) -> Vec<PathBuf> {
    let mut all = Vec::new();
    for entry in fs::read_dir(dir.join(below)).unwrap() {
        let entry = entry.unwrap();
        let path = below.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            all.extend(files(dir, &path));
        } else {
            all.push(path);
        }
    }
    all.sort();
    all
}

fn flip(path: &Path, at: usize) {
    let mut bytes = fs::read(path).unwrap();
    if let Some(byte) = bytes.get_mut(at) {
        *byte ^= 1;
    }
    fs::write(path, bytes).unwrap();
}

/// The damages of one file, by name. `earlier` is the store as it was before its last writes.
fn damages(path: &Path, earlier: &Path) -> Vec<(String, Harm)> {
    let bytes = fs::read(path).unwrap();
    let size = bytes.len();
    let end = bytes.iter().take(size.saturating_sub(4096)).rposition(|byte| *byte != 0).unwrap_or(0);
    let mut all: Vec<(String, Harm)> = vec![
        ("deleted".to_owned(), Box::new(|path| fs::remove_file(path).unwrap())),
        (
            "header and copy ruined".to_owned(),
            Box::new(|path| {
                let mut bytes = fs::read(path).unwrap();
                let size = bytes.len();
                bytes.iter_mut().take(64).for_each(|byte| *byte = 0xa5);
                bytes.iter_mut().skip(size.saturating_sub(4096)).for_each(|byte| *byte = 0xa5);
                fs::write(path, bytes).unwrap();
            }),
        ),
    ];
    for length in [0, 1, 4096, size / 2, size.saturating_sub(1)] {
        let cut = move |path: &Path| {
            fs::OpenOptions::new().write(true).open(path).unwrap().set_len(length as u64).unwrap()
        };
        all.push((format!("cut to {length} of {size} bytes"), Box::new(cut)));
    }
    for at in [
        0,
        8,
        4096,
        4136,
        4200,
        size / 3,
        end / 2,
        end.saturating_sub(30),
        end,
        size.saturating_sub(4096),
        size.saturating_sub(1),
    ] {
        all.push((format!("flipped at {at}"), Box::new(move |path: &Path| flip(path, at))));
    }
    if let Ok(older) = fs::read(earlier) {
        all.push(("an older copy".to_owned(), Box::new(move |path: &Path| fs::write(path, &older).unwrap())));
    }
    all
}

/// Opens what was damaged, twice, and compares.
fn judge(dir: &Path, what: &str, whole: &Values) {
    let mut seen = 0;
    for start in 1..=2 {
        let engine = Embedded::open(dir, small()).unwrap_or_else(|error| panic!("{what}: {error}"));
        let found = contents(&engine);
        let is_value = |place: &(String, Vec<u8>)| place.0.starts_with("table ");
        for (place, value) in &found {
            let right = whole.get(place).is_none_or(|written| written == value);
            assert!(right || is_value(place), "{what}: {place:?} is not what was written");
        }
        let gone: Vec<_> = whole.iter().filter(|(place, value)| found.get(*place) != Some(value)).collect();
        // Trims and removals are lost, too.
        let back = found.keys().filter(|place| !whole.contains_key(*place)).count();
        let lost = gone.len() + back;
        let damage = engine.health().damage;
        assert!(
            lost == 0 || !damage.is_empty(),
            "{what}: at start {start} {} are lost and {back} back, in silence",
            gone.len()
        );
        let of_log = damage.iter().filter(|damage| damage.file.starts_with(dir.join("log")));
        let told: Option<u64> = of_log.map(|damage| damage.records).sum();
        let records = gone.iter().filter(|(place, _)| !is_value(place)).count() as u64;
        assert!(
            told.is_none_or(|told| told >= records),
            "{what}: {records} records are lost, {told:?} are reported: {damage:?}"
        );
        assert!(
            seen == 0 || !damage.is_empty(),
            "{what}: the alarm is gone at the second start, and {lost} are lost"
        );
        seen = lost;
        // What was lost is not overwritten by what comes.
        let log = engine.log("new").unwrap();
        assert!(
            log.tail() >= 1501 || damage.iter().any(|damage| damage.records.is_none()),
            "{what}: {}",
            log.tail()
        );
        drop(log);
        engine.close().unwrap();
    }
}

// Finding: B7, B6
#[test]
fn whatever_happens_to_one_file_nothing_is_lost_in_silence() {
    for closed in [false, true] {
        let dir = temp();
        let engine = used(dir.path());
        let earlier = snapshot(dir.path());
        let (new, table) = (engine.log("new").unwrap(), engine.table("retained").unwrap());
        for number in 1501..1520 {
            new.append(vec![record(number)]).wait().unwrap();
            table.commit(vec![Write::put("topic/7", number.to_string())]).wait().unwrap();
        }
        let whole = contents(&engine);
        let killed = snapshot(dir.path());
        let source = if closed {
            engine.close().unwrap();
            dir.path()
        } else {
            killed.path()
        };
        let mut judged = 0;
        for file in files(source, Path::new("")) {
            for (what, damage) in damages(&source.join(&file), &earlier.path().join(&file)) {
                let copy = snapshot(source);
                damage(&copy.path().join(&file));
                judge(copy.path(), &format!("{} {what}, closed {closed}", file.display()), &whole);
                judged += 1;
            }
        }
        assert!(judged > 150, "{judged}");
    }
}

// Finding: B7
#[test]
fn segments_that_change_places_or_vanish_together_are_reported() {
    let dir = temp();
    let engine = used(dir.path());
    let whole = contents(&engine);
    let killed = snapshot(dir.path());
    for folder in ["log", "tables"] {
        let paths = segments_in(&killed.path().join(folder));
        assert!(paths.len() >= 3, "{paths:?}");
        for pair in paths.windows(2) {
            let copy = snapshot(killed.path());
            let here = |path: &PathBuf| copy.path().join(folder).join(path.file_name().unwrap());
            fs::rename(here(&pair[0]), copy.path().join("aside")).unwrap();
            fs::rename(here(&pair[1]), here(&pair[0])).unwrap();
            fs::rename(copy.path().join("aside"), here(&pair[1])).unwrap();
            judge(copy.path(), &format!("{pair:?} swapped"), &whole);
        }
        for count in 1..=paths.len() {
            for newest in [false, true] {
                let copy = snapshot(killed.path());
                let mut paths = segments_in(&copy.path().join(folder));
                if newest {
                    paths.reverse();
                }
                paths.iter().take(count).for_each(|path| fs::remove_file(path).unwrap());
                judge(copy.path(), &format!("{count} of {folder} deleted, newest {newest}"), &whole);
            }
        }
        let copy = snapshot(killed.path());
        fs::remove_dir_all(copy.path().join(folder)).unwrap();
        judge(copy.path(), &format!("the folder {folder} deleted"), &whole);
    }
}
