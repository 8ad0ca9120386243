//! Many neighbouring blocks with one proof.
//!
//! All blocks below one tree node need no siblings but those above it: whoever has the blocks
//! computes what lies between. A proof for each block alone states about one node for each. This is
//! not a part of Hypercore's protocol.

use bytes::{Bytes, BytesMut};

use crate::compact::{Reader, put_uint};
use crate::error::{DecodeError, Error, Result};
use crate::flat_tree;
use crate::hash;
use crate::limits::{RUN_DEPTH_MAX, RUN_LEN_MAX};
use crate::log::Log;
use crate::merkle::{self, NodeSource};
use crate::node::{Node, put_nodes, read_nodes};
use crate::tree_store::is_whole;

/// Asks for a run: the `2^depth` blocks from `start` on, a multiple of their number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestRun {
    /// The first block.
    pub start: u64,
    /// Levels of the tree above the blocks' leaves, up to the node above all of them: at most 10.
    pub depth: u32,
    /// How many levels above that node the first one stands that the asker holds.
    pub nodes: u64,
}

/// The blocks of a run with their proof.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProofRun {
    /// The fork that the answerer is at.
    pub fork: u64,
    /// The first block.
    pub start: u64,
    /// Bytes of each block.
    pub lens: Vec<u64>,
    /// The blocks, one after the other.
    pub data: Bytes,
    /// Siblings on the way up from the node above the blocks.
    pub nodes: Vec<Node>,
}

impl RequestRun {
    /// Number of blocks.
    pub fn len(&self) -> u64 {
        1_u64.checked_shl(self.depth).unwrap_or(0)
    }

    /// Whether it asks for nothing, as none does that is valid.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The node above all of the blocks, or `None` if there is none.
    pub fn top(&self) -> Option<u64> {
        let is_run = self.depth <= RUN_DEPTH_MAX && self.start.is_multiple_of(self.len());
        if is_run { flat_tree::index(self.depth, self.start >> self.depth) } else { None }
    }
}

impl ProofRun {
    /// Appends fork, start, lengths, nodes and blocks to `out`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        put_uint(out, self.fork);
        put_uint(out, self.start);
        put_uint(out, self.lens.len() as u64);
        self.lens.iter().for_each(|len| put_uint(out, *len));
        put_nodes(out, &self.nodes);
        out.extend_from_slice(&self.data);
    }

    /// Reads what is all of `bytes`, and shares the blocks.
    ///
    /// # Errors
    ///
    /// [`DecodeError`] if it is cut, or if the lengths are not those of what follows.
    pub fn decode(bytes: &Bytes) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let (fork, start) = (reader.uint()?, reader.uint()?);
        let lens = reader.array(1, Reader::uint)?;
        let nodes = read_nodes(&mut reader)?;
        let data = bytes.slice(bytes.len() - reader.rest().len()..);
        let len = lens.iter().try_fold(0_u64, |sum, len| sum.checked_add(*len));
        if len != Some(data.len() as u64) {
            return Err(DecodeError::Invalid { what: "lengths of a run" });
        }
        Ok(Self { fork, start, lens, data, nodes })
    }

    /// The blocks, as far as lengths and bytes fit each other.
    pub(crate) fn blocks(&self) -> impl Iterator<Item = &[u8]> {
        let mut rest = self.data.as_ref();
        self.lens.iter().map_while(move |len| {
            let (block, behind) = rest.split_at_checked(usize::try_from(*len).ok()?)?;
            rest = behind;
            Some(block)
        })
    }

    /// All nodes above the blocks, level by level; the last one is above all of them.
    ///
    /// # Errors
    ///
    /// [`Error::BadProof`] if these are not the blocks below one node.
    pub(crate) fn subtree(&self) -> Result<Vec<Node>> {
        let bad = Error::BadProof { index: self.start.saturating_mul(2), what: "no such run" };
        let blocks: Vec<&[u8]> = self.blocks().collect();
        let count = self.lens.len() as u64;
        let len: usize = blocks.iter().map(|block| block.len()).sum();
        let is_run = blocks.len() == self.lens.len()
            && len == self.data.len()
            && count.is_power_of_two()
            && count <= 1 << RUN_DEPTH_MAX
            && self.start.is_multiple_of(count)
            && self.start <= u64::MAX / 4
            && self.data.len() as u64 <= RUN_LEN_MAX;
        if !is_run {
            return Err(bad);
        }
        let mut nodes = Vec::with_capacity(2 * blocks.len());
        hash::leaves(&blocks, |number, hash| {
            let (index, len) = (2 * (self.start + number as u64), blocks.get(number));
            nodes.push(Node { index, size: len.map_or(0, |block| block.len() as u64), hash });
        });
        let mut level = 0;
        while nodes.len() - level > 1 {
            let above = merkle::parents(nodes.get(level..).unwrap_or_default());
            level = nodes.len();
            nodes.extend(above);
        }
        Ok(nodes)
    }
}

impl Log {
    /// Answers a request for a run, from the durable head.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidRequest`] if nobody could answer it, and [`Error::NotAvailable`] if others
    /// could, or if its blocks are more bytes than a run may have (a mebibyte): ask for each alone
    /// then. [`Error::Corrupt`] and [`Error::Io`].
    pub fn prove_run(&self, request: &RequestRun) -> Result<ProofRun> {
        loop {
            let (commit, trusted_len) = {
                let state = self.shared.state();
                (state.durable.clone(), state.trusted_len())
            };
            let lens = (commit.length(), trusted_len);
            let view = self.shared.tree.at(commit.length());
            let proof = self.make_run(&view, request, commit.fork, lens);
            // Should the log have been cut meanwhile, blocks of two histories may be in it.
            if self.shared.durable().fork == commit.fork {
                return proof;
            }
        }
    }

    fn make_run(
        &self,
        source: &dyn NodeSource,
        request: &RequestRun,
        fork: u64,
        (length, trusted_len): (u64, u64),
    ) -> Result<ProofRun> {
        let invalid = |what| Error::InvalidRequest { what };
        let top = request.top().filter(|top| is_whole(*top, length));
        let top = top.ok_or(invalid("no such run"))?;
        let (mut at, mut nodes) = (top, Vec::new());
        for _ in 0..request.nodes {
            let parent = flat_tree::parent(at).filter(|parent| is_whole(*parent, length));
            let parent = parent.ok_or(invalid("nodes is out of bounds"))?;
            nodes.push(source.expect_node(flat_tree::sibling(at).unwrap_or(u64::MAX))?);
            at = parent;
        }
        let mut proof =
            ProofRun { fork, start: request.start, lens: Vec::new(), data: Bytes::new(), nodes };
        let len = source.node(top)?.map_or(0, |node| node.size.min(RUN_LEN_MAX));
        let mut data = BytesMut::with_capacity(len as usize);
        for number in request.start..request.start + request.len() {
            let missing = Error::NotAvailable { index: 2 * number };
            // Who asks cannot know which blocks are disputed.
            let held = if number < trusted_len { self.shared.read(number)? } else { None };
            let block = held.ok_or(missing)?;
            data.extend_from_slice(&block);
            proof.lens.push(block.len() as u64);
            if data.len() as u64 > RUN_LEN_MAX {
                return Err(Error::NotAvailable { index: 2 * number });
            }
        }
        proof.data = data.freeze();
        Ok(proof)
    }

    /// Verifies runs and then stores what they bring, as [`apply_all`](Self::apply_all) does with
    /// proofs of single blocks.
    ///
    /// # Errors
    ///
    /// As [`apply_all`](Self::apply_all).
    pub fn apply_runs(&self, runs: &[ProofRun]) -> Result<Vec<Result<()>>> {
        self.shared.apply_runs(runs)
    }
}
