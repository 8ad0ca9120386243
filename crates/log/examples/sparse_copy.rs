//! A writer makes a log; someone who knows its key alone gets one block of it, verified.
//!
//! Run with `cargo run -p multibee-log --example sparse_copy`.

use multibee_log::{
    Error, KeyPair, Log, LogOptions, MemoryStorage, Proof, Request, RequestBlock, RequestUpgrade,
};

fn main() -> Result<(), Error> {
    let log = Log::create(MemoryStorage::new(), KeyPair::generate(), LogOptions::default())?;
    let lines: Vec<String> = (0..1000).map(|number| format!("line {number}")).collect();
    log.append(&lines)?;
    println!("the writer's log {} has {} blocks", log.key(), log.len());

    // The key is all that the copy starts from. What it asks for and gets would go over a network.
    let copy = Log::create_replica(MemoryStorage::new(), log.key(), LogOptions::default())?;
    let head = log.prove(&Request {
        upgrade: Some(RequestUpgrade { start: 0, length: log.len() }),
        manifest: true,
        ..Request::default()
    })?;
    copy.apply(&over_the_wire(&head)?)?;
    println!("the copy knows of {} blocks and holds {:?}", copy.len(), copy.held(0..1000));

    let wanted = 617;
    let nodes = copy.missing_nodes(2 * wanted)?;
    let block = Some(RequestBlock { index: wanted, nodes });
    let proof = log.prove(&Request { block, ..Request::default() })?;
    copy.apply(&over_the_wire(&proof)?)?;
    println!("after one proof of {nodes} nodes it holds {:?}", copy.held(0..1000));
    println!("block {wanted}: {:?}", copy.get(wanted)?.as_deref().map(String::from_utf8_lossy));

    let mut forged = proof;
    if let Some(block) = &mut forged.block {
        block.value = "line 618".into();
    }
    match copy.apply(&forged) {
        Err(error) => println!("a forged block is refused: {error}"),
        Ok(_) => unreachable!("no one can find another block with the same hash"),
    }
    Ok(())
}

/// Encodes a proof and decodes it again.
fn over_the_wire(proof: &Proof) -> Result<Proof, Error> {
    let mut message = Vec::new();
    proof.encode(1, &mut message);
    println!("  ({} bytes over the wire)", message.len());
    let (_request_id, proof) = Proof::decode(&message)?;
    Ok(proof)
}
