//! Many neighbouring blocks with one proof.

use bytes::Bytes;
use multibee_log::{
    Error, KeyPair, Log, LogOptions, MemoryStorage, ProofRun, Request, RequestBlock, RequestRun,
    RequestUpgrade, flat_tree,
};
use proptest::prelude::*;

/// A log with blocks of these lengths, all different, and an empty copy that knows its head.
fn writer_and_copy(lens: &[usize]) -> (Log, Log) {
    let keys = KeyPair::from_seed([3; 32]);
    let log = Log::create(MemoryStorage::new(), keys, LogOptions::default()).unwrap();
    let blocks: Vec<Vec<u8>> =
        lens.iter().enumerate().map(|(number, len)| vec![number as u8 + 1; *len]).collect();
    log.append(&blocks).unwrap();
    let copy = Log::create_replica(MemoryStorage::new(), log.key(), LogOptions::default()).unwrap();
    let upgrade = Some(RequestUpgrade { start: 0, length: log.len() });
    let head = log.prove(&Request { upgrade, manifest: true, ..Request::default() }).unwrap();
    copy.apply(&head).unwrap();
    (log, copy)
}

/// What the copy has to ask for.
fn request(copy: &Log, number: u64, depth: u32) -> RequestRun {
    let start = number >> depth << depth;
    let top = flat_tree::index(depth, start >> depth).unwrap();
    RequestRun { start, depth, nodes: copy.missing_nodes(top).unwrap() }
}

fn same(copy: &Log, log: &Log) -> Result<(), TestCaseError> {
    for number in 0..log.len() {
        if let Some(block) = copy.get(number)? {
            prop_assert_eq!(Some(block), log.get(number)?);
        }
    }
    prop_assert!(copy.audit(|_| ())?.findings.is_empty());
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    /// A copy that gets its blocks in runs of any size, in any order, some of them twice and some
    /// alone, has the blocks that it got and no others; so it has when it is opened again, and it can
    /// prove all of them to the next.
    #[test]
    fn runs_bring_their_blocks(
        lens in prop::collection::vec(0..300_usize, 1..200),
        steps in prop::collection::vec((0..200_u64, 0..8_u32, any::<bool>()), 1..25),
    ) {
        let (log, _) = writer_and_copy(&lens);
        let storage = MemoryStorage::new();
        let copy = Log::create_replica(storage.clone(), log.key(), LogOptions::default())?;
        let upgrade = Some(RequestUpgrade { start: 0, length: log.len() });
        copy.apply(&log.prove(&Request { upgrade, manifest: true, ..Request::default() })?)?;
        let mut held = vec![false; lens.len()];
        for (number, depth, is_together) in steps {
            let number = number % log.len();
            let asked = request(&copy, number, depth);
            if asked.start + asked.len() > log.len() {
                let is_refused = matches!(log.prove_run(&asked), Err(Error::InvalidRequest { .. }));
                prop_assert!(is_refused);
                let nodes = copy.missing_nodes(2 * number)?;
                let block = Some(RequestBlock { index: number, nodes });
                copy.apply(&log.prove(&Request { block, ..Request::default() })?)?;
                held[number as usize] = true;
                continue;
            }
            let mut runs = vec![log.prove_run(&asked)?];
            let next = RequestRun { start: asked.start + asked.len(), ..asked };
            if is_together && next.start + next.len() <= log.len() {
                let nodes = request(&copy, next.start, depth).nodes;
                runs.push(log.prove_run(&RequestRun { nodes, ..next })?);
            }
            for (run, applied) in runs.iter().zip(copy.apply_runs(&runs)?) {
                applied?;
                held[run.start as usize..][..run.lens.len()].fill(true);
            }
        }
        let reopened = |copy: Log| {
            drop(copy);
            Log::open(storage.clone(), LogOptions::default())
        };
        same(&copy, &log)?;
        let copy = reopened(copy)?;
        same(&copy, &log)?;
        let has: Vec<bool> = (0..log.len()).map(|number| copy.has(number)).collect();
        prop_assert_eq!(&has, &held);
        let (_, next) = writer_and_copy(&lens);
        for number in (0..log.len()).filter(|number| copy.has(*number)) {
            let nodes = next.missing_nodes(2 * number)?;
            let block = Some(RequestBlock { index: number, nodes });
            if let Ok(proof) = copy.prove(&Request { block, ..Request::default() }) {
                next.apply(&proof)?;
            }
        }
        same(&next, &log)?;
    }

    /// A run in which anything is changed is refused, and nothing of it is stored.
    #[test]
    fn lies_are_refused(
        lens in prop::collection::vec(0..60_usize, 16..40),
        depth in 0..5_u32,
        kind in 0..7_u8,
        place in any::<prop::sample::Index>(),
    ) {
        let (log, copy) = writer_and_copy(&lens);
        let run = log.prove_run(&request(&copy, 0, depth))?;
        let mut lie = run.clone();
        let mut data = lie.data.to_vec();
        match kind {
            0 if !data.is_empty() => {
                let at = place.index(data.len());
                data[at] ^= 1;
            }
            1 if lie.lens.len() > 1 => {
                // The same bytes, cut elsewhere.
                let at = place.index(lie.lens.len() - 1);
                let moved = lie.lens[at].min(1);
                lie.lens[at] -= moved;
                lie.lens[at + 1] += moved;
            }
            2 if !lie.nodes.is_empty() => {
                let at = place.index(lie.nodes.len());
                lie.nodes[at].size += 1;
            }
            3 => drop(lie.nodes.pop()),
            4 => lie.start += lie.lens.len() as u64,
            5 => {
                lie.lens.push(1);
                data.push(0);
            }
            _ => data.push(7),
        }
        lie.data = data.into();
        prop_assume!(lie != run);
        let result = copy.apply_runs(std::slice::from_ref(&lie))?.remove(0);
        prop_assert!(matches!(result, Err(Error::BadProof { .. })), "{result:?}");
        prop_assert_eq!(copy.held(0..u64::MAX), vec![]);
        prop_assert!(copy.apply_runs(&[run])?.remove(0).is_ok());
        same(&copy, &log)?;
    }

    /// What is encoded reads back, and nothing else does: every cut is an error, and no bytes make a
    /// reader panic.
    #[test]
    fn encodings_read_back(
        lens in prop::collection::vec(0..20_usize, 8..20),
        depth in 0..4_u32,
        noise in prop::collection::vec(any::<u8>(), 0..60),
    ) {
        let (log, copy) = writer_and_copy(&lens);
        let run = log.prove_run(&request(&copy, 0, depth))?;
        let mut bytes = Vec::new();
        run.encode(&mut bytes);
        let bytes = Bytes::from(bytes);
        prop_assert_eq!(ProofRun::decode(&bytes), Ok(run.clone()));
        for len in 0..bytes.len() {
            let is_whole = run.data.is_empty() && len == bytes.len();
            prop_assert!(is_whole || ProofRun::decode(&bytes.slice(..len)).is_err());
        }
        if let Ok(other) = ProofRun::decode(&noise.into()) {
            drop(copy.apply_runs(&[other]));
        }
    }
}

/// What makes no run is asked for in vain, whatever its numbers, and a run of too many bytes is to be
/// had block by block.
#[test]
fn runs_are_bounded() {
    let (log, copy) = writer_and_copy(&[400_000; 8]);
    for (start, depth, nodes) in [
        (1, 1, 0),
        (0, 4, 0),
        (0, 11, 0),
        (0, 64, 0),
        (0, u32::MAX, 0),
        (u64::MAX, 0, 0),
        (1 << 63, 3, 0),
        (0, 0, 4),
        (0, 3, 1),
        (0, 0, u64::MAX),
    ] {
        let result = log.prove_run(&RequestRun { start, depth, nodes });
        assert!(matches!(result, Err(Error::InvalidRequest { .. })), "{start} {depth} {nodes}");
    }
    let whole = RequestRun { start: 0, depth: 3, nodes: 0 };
    assert!(matches!(log.prove_run(&whole), Err(Error::NotAvailable { .. })));
    let half = log.prove_run(&request(&copy, 2, 1)).unwrap();
    assert_eq!((half.start, half.lens.as_slice()), (2, [400_000; 2].as_slice()));
    copy.apply_runs(&[half]).unwrap().remove(0).unwrap();
    assert_eq!(copy.held(0..8), vec![2..4]);
    // A block that is not here is not proven.
    let asked = RequestRun { start: 0, depth: 0, nodes: 0 };
    assert!(matches!(copy.prove_run(&asked), Err(Error::NotAvailable { .. })));
}
