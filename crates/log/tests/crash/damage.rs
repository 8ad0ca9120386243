use multibee_log::{Cache, Error, KeyPair, Log, LogOptions, MemoryStorage, Part, Result, Storage};

fn block(number: u64, kind: u8) -> Vec<u8> {
    vec![number as u8 * 16 + kind; 5 + number as usize]
}

/// Files of a log of ten blocks, most of them moved to their places, the last in the oplog.
fn ten_blocks(seed: u8) -> MemoryStorage {
    let storage = MemoryStorage::new();
    let keys = KeyPair::from_seed([seed; 32]);
    let log = Log::create(storage.clone(), keys, LogOptions::default()).unwrap();
    log.append(&(0..7).map(|number| block(number, seed)).collect::<Vec<_>>()).unwrap();
    log.set_user_data("name", b"value").unwrap();
    log.flush().unwrap();
    log.append(&[block(7, seed)]).unwrap();
    log.append(&[block(8, seed), block(9, seed)]).unwrap();
    storage
}

fn len(storage: &MemoryStorage, part: Part) -> u64 {
    storage.len(part).unwrap()
}

/// Opens a damaged log: it says what is wrong, or has only right blocks, and goes on.
fn assert_open_or_error(storage: MemoryStorage, seeds: &[u8], what: &str) {
    let options = LogOptions { cache: Cache::new(1 << 16), ..LogOptions::default() };
    let log = match Log::open(storage, options) {
        Ok(log) => log,
        Err(error) => return assert_says_what(&error, what),
    };
    assert!(log.len() <= 10, "{what}: {} blocks", log.len());
    for number in 0..log.len() {
        match log.get(number) {
            Ok(Some(read)) => {
                assert!(seeds.iter().any(|seed| read == block(number, *seed)), "{what}: {number}");
            }
            Ok(None) => {}
            Err(error) => assert_says_what(&error, what),
        }
    }
    let result: Result<_> = log.append(&["more"]).map(drop);
    let _ = result.map_err(|error| assert_says_what(&error, what));
}

fn assert_says_what(error: &Error, what: &str) {
    let is_typed = matches!(
        error,
        Error::Corrupt { .. }
            | Error::NewerFormat { .. }
            | Error::WrongStorage { .. }
            | Error::NotWritable
    );
    assert!(is_typed, "{what}: {error:?}");
}

/// Each bit of each file flipped.
#[test]
fn any_bit_may_be_wrong() {
    let storage = ten_blocks(1);
    for part in [Part::Oplog, Part::Tree, Part::Data, Part::Bitfield, Part::Key] {
        for offset in 0..len(&storage, part) {
            let mut byte = [0];
            storage.read_at(part, offset, &mut byte).unwrap();
            for bit in 0..8 {
                // Nothing is in the rest of a page of bits, nor between the headers.
                if byte == [0] && bit > 0 && offset > 600 && part != Part::Tree {
                    break;
                }
                let damaged = storage.deep_clone();
                damaged.write_at(part, offset, &[byte[0] ^ 1 << bit]).unwrap();
                assert_open_or_error(damaged, &[1], &format!("{part}, byte {offset}, bit {bit}"));
            }
        }
    }
}

/// Each file cut at every length.
#[test]
fn any_file_may_be_cut() {
    let storage = ten_blocks(1);
    for part in [Part::Oplog, Part::Tree, Part::Data, Part::Bitfield, Part::Key] {
        for end in 0..len(&storage, part) {
            let damaged = storage.deep_clone();
            damaged.truncate(part, end).unwrap();
            assert_open_or_error(damaged, &[1], &format!("{part}, cut at {end}"));
        }
    }
}

/// Each file in the place of another, and of the same file of another log.
#[test]
fn files_may_be_swapped() {
    let (one, other) = (ten_blocks(1), ten_blocks(2));
    let put = |to: &MemoryStorage, part: Part, from: &MemoryStorage, source: Part| {
        let mut bytes = vec![0; len(from, source) as usize];
        from.read_at(source, 0, &mut bytes).unwrap();
        to.truncate(part, 0).unwrap();
        to.write_at(part, 0, &bytes).unwrap();
    };
    for part in Part::ALL {
        let damaged = one.deep_clone();
        put(&damaged, part, &other, part);
        assert_open_or_error(damaged, &[1, 2], &format!("{part} of another log"));
        for source in Part::ALL {
            let damaged = one.deep_clone();
            put(&damaged, part, &one, source);
            assert_open_or_error(damaged, &[1], &format!("{source} in the place of {part}"));
        }
    }
}
