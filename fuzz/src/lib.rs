//! What the fuzz targets share: they find their property by name, and count its memory.

use multibee_btree::testing::fuzz::TARGETS as TREES;
use multibee_log::testing::fuzz::TARGETS;
use multibee_replica::testing::fuzz::TARGETS as PEERS;
use peak_alloc::PeakAlloc;

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

#[doc(hidden)]
pub use libfuzzer_sys::fuzz_target;
pub use multibee_log::testing::fuzz::Target;

/// Makes a program of the property with this name.
#[macro_export]
macro_rules! target {
    ($name:literal) => {
        static TARGET: std::sync::LazyLock<&$crate::Target> =
            std::sync::LazyLock::new(|| $crate::find($name));

        $crate::fuzz_target!(|data: &[u8]| $crate::check(&TARGET, data));
    };
}

/// Returns the property with this name.
///
/// # Panics
///
/// If there is none.
pub fn find(name: &str) -> &'static Target {
    let found = TARGETS.iter().chain(TREES).chain(PEERS).find(|target| target.name == name);
    found.unwrap_or_else(|| panic!("there is no property {name}"))
}

/// Checks a property, and that it took no more memory than the input may cost.
///
/// # Panics
///
/// If not.
pub fn check(target: &Target, data: &[u8]) {
    let before = MEMORY.current_usage();
    MEMORY.reset_peak_usage();
    (target.check)(data);
    let peak = MEMORY.peak_usage().saturating_sub(before);
    let limit = target.memory_max(data.len());
    assert!(peak <= limit, "{peak} bytes of memory, at most {limit} are allowed");
}
