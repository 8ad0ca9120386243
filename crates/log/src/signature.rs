//! What is signed over a head, and how signatures are stored (docs/spec/log.md sections 2.5 and 2.6).

use bytes::Bytes;

use crate::{
    compact::{Reader, put_uint},
    error::{DecodeError, Error, Result},
    hash,
    key_pair::{self, KeyPair},
    keys::{Hash, LogKey},
    manifest::{Manifest, Signer},
    merkle::Roots,
    node::{Node, read_nodes},
};

/// Who may sign which log.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Signers<'a> {
    pub(crate) key: &'a LogKey,
    pub(crate) manifest: &'a Manifest,
}

impl Signers<'_> {
    /// Signs a head alone, in the form in which it is stored and sent.
    ///
    /// # Errors
    ///
    /// [`Error::NotWritable`] if `keys` may not sign, or not without others.
    pub(crate) fn sign(
        &self,
        keys: &KeyPair,
        tree_hash: &Hash,
        length: u64,
        fork: u64,
    ) -> Result<Bytes> {
        let public_key = keys.public_key();
        let mut signers = self.manifest.signers().iter().zip(0_u64..);
        let found = signers.find(|(signer, _)| signer.public_key == public_key);
        let Some((signer, number)) = found.filter(|_| self.manifest.quorum() == 1) else {
            return Err(Error::NotWritable);
        };
        let signature = keys.sign(&self.signable(signer, tree_hash, length, fork));
        if self.is_plain() {
            return Ok(Bytes::copy_from_slice(&signature));
        }
        let mut stored = Vec::with_capacity(68);
        put_uint(&mut stored, 1);
        if self.manifest.version() == 0 {
            stored.push(0);
            put_uint(&mut stored, number);
            stored.extend_from_slice(&signature);
        } else {
            put_uint(&mut stored, number);
            stored.extend_from_slice(&signature);
            put_uint(&mut stored, 0);
        }
        put_uint(&mut stored, 0);
        Ok(stored.into())
    }

    /// Checks a stored signature over the head with these roots.
    ///
    /// # Errors
    ///
    /// [`Error::BadSignature`], also for one that does not decode.
    pub(crate) fn verify(&self, roots: &Roots, fork: u64, stored: &[u8]) -> Result<()> {
        let valid = match self.manifest.prologue() {
            Some(prologue) if roots.length() <= prologue.length => {
                roots.length() == prologue.length && roots.tree_hash() == prologue.hash
            }
            _ if self.is_plain() => self.verify_plain(roots, fork, stored),
            _ => self.verify_many(roots, fork, stored).unwrap_or(false),
        };
        if valid { Ok(()) } else { Err(Error::BadSignature { length: roots.length(), fork }) }
    }

    /// Whether the stored form is the 64 bytes of a single signature.
    fn is_plain(&self) -> bool {
        let manifest = self.manifest;
        manifest.is_compat(self.key)
            || manifest.version() == 0
                && manifest.signers().len() == 1
                && manifest.quorum() == 1
                && !manifest.allow_patch()
    }

    fn verify_plain(&self, roots: &Roots, fork: u64, stored: &[u8]) -> bool {
        let ([signer], Ok(signature)) = (self.manifest.signers(), stored.try_into()) else {
            return false;
        };
        let signable = self.signable(signer, &roots.tree_hash(), roots.length(), fork);
        key_pair::verify(&signer.public_key, &signable, signature)
    }

    fn verify_many(&self, roots: &Roots, fork: u64, stored: &[u8]) -> Result<bool, DecodeError> {
        let stored = StoredSignature::decode(stored, self.manifest.version())?;
        let quorum = usize::try_from(self.manifest.quorum()).unwrap_or(usize::MAX);
        let Some(inputs) = stored.inputs.get(..quorum).filter(|inputs| !inputs.is_empty()) else {
            return Ok(false);
        };
        let mut seen = Vec::with_capacity(inputs.len());
        Ok(inputs.iter().all(|input| {
            let is_new = !seen.contains(&input.signer);
            seen.push(input.signer);
            is_new && self.verify_input(roots, fork, input, &stored.nodes) == Some(true)
        }))
    }

    /// `None` if there is no such signer, or the patch leads nowhere.
    fn verify_input(
        &self,
        roots: &Roots,
        fork: u64,
        input: &Input,
        nodes: &[Node],
    ) -> Option<bool> {
        let signer = self.manifest.signers().get(usize::try_from(input.signer).ok()?)?;
        let patched;
        let signed = if input.patch_length > 0 {
            let starts_here = input.patch_start.is_none_or(|start| start == roots.length());
            if !self.manifest.allow_patch() || !starts_here {
                return None;
            }
            let target = roots.length().checked_add(input.patch_length)?;
            let mut longer = roots.clone();
            while longer.length() < target {
                let index = longer.next_toward(target)?;
                let at = nodes.binary_search_by_key(&index, |node| node.index).ok()?;
                longer.push(*nodes.get(at)?, |_, _, _| {})?;
            }
            patched = longer;
            &patched
        } else {
            roots
        };
        let signable = self.signable(signer, &signed.tree_hash(), signed.length(), fork);
        Some(key_pair::verify(&signer.public_key, &signable, &input.signature))
    }

    /// What a signer signs. The log's key or the signer's namespace is left out for compat logs.
    fn signable(&self, signer: &Signer, tree_hash: &Hash, length: u64, fork: u64) -> Vec<u8> {
        let mut out = Vec::with_capacity(112);
        out.extend_from_slice(&hash::TREE);
        if !self.manifest.is_compat(self.key) {
            out.extend_from_slice(match self.manifest.version() {
                0 => &signer.namespace,
                _ => self.key.as_bytes(),
            });
        }
        out.extend_from_slice(tree_hash.as_bytes());
        out.extend_from_slice(&length.to_le_bytes());
        out.extend_from_slice(&fork.to_le_bytes());
        out
    }
}

/// Signatures of several signers, and the nodes that lead from the head to longer ones they signed.
#[derive(Debug)]
struct StoredSignature {
    inputs: Vec<Input>,
    /// By index.
    nodes: Vec<Node>,
}

#[derive(Debug)]
struct Input {
    signer: u64,
    signature: [u8; 64],
    /// Where the patch starts, if that is said.
    patch_start: Option<u64>,
    /// How many blocks longer than the head the tree is that was signed.
    patch_length: u64,
}

impl StoredSignature {
    fn decode(bytes: &[u8], version: u8) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let read = if version == 0 { Input::read_version_0 } else { Input::read };
        let inputs = reader.array(INPUT_LEN_MIN, read)?;
        let mut nodes = read_nodes(&mut reader)?;
        nodes.sort_unstable_by_key(|node| node.index);
        reader.finish()?;
        Ok(Self { inputs, nodes })
    }
}

impl Input {
    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            signer: reader.uint()?,
            signature: reader.fixed()?,
            patch_start: None,
            patch_length: reader.uint()?,
        })
    }

    fn read_version_0(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let flags = reader.byte()?;
        if flags > 1 {
            return Err(DecodeError::Unknown { what: "signature flags", value: flags.into() });
        }
        let mut input = Self {
            signer: reader.uint()?,
            signature: reader.fixed()?,
            patch_start: None,
            patch_length: 0,
        };
        if flags == 1 {
            input.patch_start = Some(reader.uint()?);
            input.patch_length = reader.uint()?;
            // Which of the nodes belong to this patch; they are found by their tree index instead.
            for _ in 0..reader.count(1)? {
                reader.uint()?;
            }
        }
        Ok(input)
    }
}

/// Signer, signature, and one byte more.
const INPUT_LEN_MIN: usize = 66;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compact::put_uint;

    /// A manifest of two signers, both needed, who may sign longer trees.
    fn patching(version: u8, keys: &[KeyPair; 2]) -> Manifest {
        let mut bytes = match version {
            0 => vec![0, 0, 2, 1, 2, 2],
            _ => vec![version, 1, 0, 2, 2],
        };
        for pair in keys {
            bytes.push(0);
            bytes.extend_from_slice(&hash::DEFAULT_NAMESPACE);
            bytes.extend_from_slice(&pair.public_key());
        }
        Manifest::decode(&bytes).unwrap()
    }

    /// One signer agreed on a longer tree. That counts for the shorter one if the nodes between are
    /// there and true.
    #[test]
    fn patches_lead_to_what_was_signed() {
        let keys = [KeyPair::from_seed([1; 32]), KeyPair::from_seed([2; 32])];
        let (mut roots, mut created) = (Roots::default(), Vec::new());
        for block in 0..6_u8 {
            roots.append_all(&[&[block]], &mut created).unwrap();
        }
        let short = roots.clone();
        created.clear();
        for block in 6..9_u8 {
            roots.append_all(&[&[block]], &mut created).unwrap();
        }
        // From 6 to 9 blocks: the node over 6 and 7, and leaf 8.
        let between: Vec<Node> =
            created.into_iter().filter(|node| [13, 16].contains(&node.index)).collect();
        for version in [0, 1] {
            let manifest = patching(version, &keys);
            let key = manifest.key();
            let signers = Signers { key: &key, manifest: &manifest };
            let sign = |number: usize, roots: &Roots| {
                let signer = &manifest.signers()[number];
                let hash = roots.tree_hash();
                keys[number].sign(&signers.signable(signer, &hash, roots.length(), 0))
            };
            let stored = |nodes: &[Node]| {
                let mut out = vec![2];
                out.extend_from_slice(if version == 0 { &[0, 0] } else { &[0] });
                out.extend_from_slice(&sign(0, &short));
                out.extend_from_slice(if version == 0 { &[1, 1] } else { &[0, 1] });
                out.extend_from_slice(&sign(1, &roots));
                match version {
                    0 => out.extend_from_slice(&[6, 3, 2, 0, 1]),
                    _ => put_uint(&mut out, 3),
                }
                crate::node::put_nodes(&mut out, nodes);
                out
            };
            signers.verify(&short, 0, &stored(&between)).unwrap();
            assert!(signers.verify(&short, 0, &stored(&between[..1])).is_err());
            let mut bent = between.clone();
            bent[1].size += 1;
            assert!(signers.verify(&short, 0, &stored(&bent)).is_err());
            assert!(signers.verify(&roots, 0, &stored(&between)).is_err());
        }
    }
}
