//! The Noise handshake, on the Edwards curve of Ed25519 (docs/spec/wire.md section 2.2).

use curve25519_dalek::edwards::{CompressedEdwardsY, EdwardsPoint};
use curve25519_dalek::traits::IsIdentity;
use ed25519_dalek::SigningKey;
use snow::params::{
    BaseChoice, CipherChoice, DHChoice, HandshakeChoice, HandshakeModifierList, HandshakePattern,
    HashChoice, NoiseParams,
};
use snow::resolvers::{CryptoResolver, DefaultResolver};
use snow::types::{Cipher, Dh, Hash, Random};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::fault::PeerFault;
use crate::secure::{Role, SessionKeys};

/// An Ed25519 key pair used for Diffie-Hellman: the identity of a node on its connections.
///
/// It has nothing to do with the key pairs that sign logs and shall not be one of them.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct StaticKeys {
    seed: [u8; KEY_LEN],
    #[zeroize(skip)]
    public_key: [u8; KEY_LEN],
}

impl StaticKeys {
    /// Derives the key pair from its 32 secret bytes.
    #[must_use]
    pub fn from_seed(seed: [u8; KEY_LEN]) -> Self {
        let public_key = SigningKey::from_bytes(&seed).verifying_key().to_bytes();
        Self { seed, public_key }
    }

    /// The compressed Edwards point that remotes get to see.
    #[must_use]
    pub fn public_key(&self) -> [u8; KEY_LEN] {
        self.public_key
    }

    /// The secret that only the holders of the two key pairs can compute.
    ///
    /// `None` if `remote` is no honest public key: not canonical, not on the curve, of small order,
    /// outside the prime-order subgroup, or if the result were the identity.
    #[must_use]
    pub fn shared_secret(&self, remote: &[u8; KEY_LEN]) -> Option<Zeroizing<[u8; KEY_LEN]>> {
        let point = CompressedEdwardsY(*remote).decompress()?;
        let canonical = point.compress().as_bytes() == remote;
        if !canonical || point.is_small_order() || !point.is_torsion_free() {
            return None;
        }
        let scalar = Zeroizing::new(SigningKey::from_bytes(&self.seed).to_scalar_bytes());
        let shared: EdwardsPoint = point.mul_clamped(*scalar);
        (!shared.is_identity()).then(|| Zeroizing::new(shared.compress().to_bytes()))
    }
}

impl std::fmt::Debug for StaticKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StaticKeys").field("public_key", &self.public_key).finish_non_exhaustive()
    }
}

/// Who knows whose static key beforehand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pattern {
    /// Nobody: both keys are sent, encrypted. What plain streams use.
    Xx,
    /// The initiator knows the responder's. Used before a stream starts, by a DHT.
    Ik,
}

/// One Noise handshake, message by message, without any stream around it.
pub struct NoiseHandshake {
    state: snow::HandshakeState,
    role: Role,
}

impl NoiseHandshake {
    /// Starts a handshake. `ephemeral_seed` must never be used twice. `remote_static` is needed by
    /// the initiator of [`Pattern::Ik`] and by nobody else.
    ///
    /// # Panics
    ///
    /// If an initiator of [`Pattern::Ik`] gives no `remote_static`.
    #[must_use]
    pub fn new(
        pattern: Pattern,
        role: Role,
        keys: &StaticKeys,
        ephemeral_seed: [u8; KEY_LEN],
        remote_static: Option<&[u8; KEY_LEN]>,
    ) -> Self {
        let resolver = Resolver { ephemeral_seed };
        let mut builder = snow::Builder::with_resolver(params(pattern), Box::new(resolver))
            .local_private_key(&keys.seed)
            .expect("the key is set only once");
        if let (Pattern::Ik, Role::Initiator) = (pattern, role) {
            let remote = remote_static.expect("an initiator of IK knows the responder's key");
            builder = builder.remote_public_key(remote).expect("the key is set only once");
        }
        let state = match role {
            Role::Initiator => builder.build_initiator(),
            Role::Responder => builder.build_responder(),
        };
        Self { state: state.expect("keys and primitives of the pattern were all given"), role }
    }

    /// Whether the next message is ours to write.
    #[must_use]
    pub fn is_my_turn(&self) -> bool {
        self.state.is_my_turn() && !self.is_finished()
    }

    /// Whether all messages have been exchanged.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.state.is_handshake_finished()
    }

    /// Writes the next message.
    ///
    /// # Errors
    ///
    /// [`PeerFault::Handshake`] if the remote's key is not acceptable.
    pub fn write(&mut self, payload: &[u8]) -> Result<Vec<u8>, PeerFault> {
        let mut message = vec![0; MESSAGE_OVERHEAD_LEN_MAX + payload.len()];
        let len =
            self.state.write_message(payload, &mut message).map_err(|_| PeerFault::Handshake)?;
        message.truncate(len);
        Ok(message)
    }

    /// Reads the remote's next message and returns its payload.
    ///
    /// # Errors
    ///
    /// [`PeerFault::Handshake`] if it does not authenticate or a key is not acceptable.
    pub fn read(&mut self, message: &[u8]) -> Result<Vec<u8>, PeerFault> {
        let mut payload = vec![0; message.len()];
        let len =
            self.state.read_message(message, &mut payload).map_err(|_| PeerFault::Handshake)?;
        payload.truncate(len);
        Ok(payload)
    }

    /// What the two sides have agreed on. `None` until all messages have been exchanged.
    #[must_use]
    pub fn session_keys(&mut self) -> Option<SessionKeys> {
        if !self.is_finished() {
            return None;
        }
        let hash = self.state.get_handshake_hash().try_into().ok()?;
        let remote_static = self.state.get_remote_static()?.try_into().ok()?;
        let (first, second) = self.state.dangerously_get_raw_split();
        let (tx, rx) = match self.role {
            Role::Initiator => (first, second),
            Role::Responder => (second, first),
        };
        Some(SessionKeys { tx, rx, hash, remote_static })
    }
}

impl std::fmt::Debug for NoiseHandshake {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NoiseHandshake").field("role", &self.role).finish_non_exhaustive()
    }
}

/// The curve is told to snow as its Curve25519, which is where [`Resolver`] puts ours; only the
/// name goes into the handshake hash, and that is the right one.
fn params(pattern: Pattern) -> NoiseParams {
    let (name, pattern) = match pattern {
        Pattern::Xx => ("Noise_XX_Ed25519_ChaChaPoly_BLAKE2b", HandshakePattern::XX),
        Pattern::Ik => ("Noise_IK_Ed25519_ChaChaPoly_BLAKE2b", HandshakePattern::IK),
    };
    NoiseParams::new(
        name.to_owned(),
        BaseChoice::Noise,
        HandshakeChoice { pattern, modifiers: HandshakeModifierList { list: Vec::new() } },
        DHChoice::Curve25519,
        CipherChoice::ChaChaPoly,
        HashChoice::Blake2b,
    )
}

/// Gives snow our curve, our ephemeral seed, and its own hash and cipher.
#[derive(Zeroize, ZeroizeOnDrop)]
struct Resolver {
    ephemeral_seed: [u8; KEY_LEN],
}

impl CryptoResolver for Resolver {
    fn resolve_rng(&self) -> Option<Box<dyn Random>> {
        Some(Box::new(OneSeed(Some(Zeroizing::new(self.ephemeral_seed)))))
    }

    fn resolve_dh(&self, _: &DHChoice) -> Option<Box<dyn Dh>> {
        Some(Box::new(EdwardsDh(StaticKeys::from_seed([0; KEY_LEN]))))
    }

    fn resolve_hash(&self, choice: &HashChoice) -> Option<Box<dyn Hash>> {
        DefaultResolver.resolve_hash(choice)
    }

    fn resolve_cipher(&self, choice: &CipherChoice) -> Option<Box<dyn Cipher>> {
        DefaultResolver.resolve_cipher(choice)
    }
}

/// A random source with 32 bytes in it. A second ephemeral key is an error, not a repetition.
struct OneSeed(Option<Zeroizing<[u8; KEY_LEN]>>);

impl Random for OneSeed {
    fn try_fill_bytes(&mut self, dest: &mut [u8]) -> Result<(), snow::Error> {
        let seed = self.0.take().ok_or(snow::Error::Rng)?;
        if dest.len() != seed.len() {
            return Err(snow::Error::Rng);
        }
        dest.copy_from_slice(seed.as_slice());
        Ok(())
    }
}

struct EdwardsDh(StaticKeys);

impl Dh for EdwardsDh {
    fn name(&self) -> &'static str {
        "Ed25519"
    }

    fn pub_len(&self) -> usize {
        KEY_LEN
    }

    fn priv_len(&self) -> usize {
        KEY_LEN
    }

    fn set(&mut self, privkey: &[u8]) {
        let seed = Zeroizing::new(privkey.try_into().expect("snow gets keys of 32 bytes from us"));
        self.0 = StaticKeys::from_seed(*seed);
    }

    fn generate(&mut self, rng: &mut dyn Random) -> Result<(), snow::Error> {
        let mut seed = Zeroizing::new([0; KEY_LEN]);
        rng.try_fill_bytes(seed.as_mut_slice())?;
        self.0 = StaticKeys::from_seed(*seed);
        Ok(())
    }

    fn pubkey(&self) -> &[u8] {
        &self.0.public_key
    }

    fn privkey(&self) -> &[u8] {
        &self.0.seed
    }

    fn dh(&self, pubkey: &[u8], out: &mut [u8]) -> Result<(), snow::Error> {
        // Snow hands over buffers for its longest key, of which ours are the first 32 bytes.
        let remote = pubkey.first_chunk().ok_or(snow::Error::Dh)?;
        let shared = self.0.shared_secret(remote).ok_or(snow::Error::Dh)?;
        let out = out.first_chunk_mut().ok_or(snow::Error::Dh)?;
        *out = *shared;
        Ok(())
    }
}

const KEY_LEN: usize = 32;

/// Two keys and two authenticators are the most that a message holds beside its payload.
const MESSAGE_OVERHEAD_LEN_MAX: usize = 2 * KEY_LEN + 2 * 16;

#[cfg(test)]
mod tests {
    use super::*;

    /// The source gives its bytes once: reusing an ephemeral key would undo forward secrecy.
    #[test]
    fn seed_is_given_once() {
        let mut source = OneSeed(Some(Zeroizing::new([3; 32])));
        let mut seed = [0; 32];
        assert!(source.try_fill_bytes(&mut seed).is_ok());
        assert_eq!(seed, [3; 32]);
        assert!(source.try_fill_bytes(&mut seed).is_err());
    }

    /// A message that is too short for its keys is refused, at every length.
    #[test]
    fn short_messages_are_refused() {
        let keys = StaticKeys::from_seed([1; 32]);
        for len in 0..32 {
            let mut responder =
                NoiseHandshake::new(Pattern::Xx, Role::Responder, &keys, [2; 32], None);
            assert_eq!(responder.read(&vec![9; len]), Err(PeerFault::Handshake));
        }
    }

    /// No key in the debug output.
    #[test]
    fn debug_hides_the_seed() {
        let shown = format!("{:?}", StaticKeys::from_seed([0xab; 32]));
        assert!(!shown.contains("171, 171"));
    }
}
