//! What the processor is said to be able to do.

/// Those of a processor's abilities by which libraries choose between ways to do the same. The
/// choice changes the number of instructions, whoever does the counting.
pub(crate) fn seen() -> String {
    #[cfg(target_arch = "x86_64")]
    let seen = [
        ("ssse3", std::arch::is_x86_feature_detected!("ssse3")),
        ("sse4.1", std::arch::is_x86_feature_detected!("sse4.1")),
        ("avx", std::arch::is_x86_feature_detected!("avx")),
        ("avx2", std::arch::is_x86_feature_detected!("avx2")),
        ("bmi2", std::arch::is_x86_feature_detected!("bmi2")),
        ("aes", std::arch::is_x86_feature_detected!("aes")),
        ("pclmulqdq", std::arch::is_x86_feature_detected!("pclmulqdq")),
        ("sha", std::arch::is_x86_feature_detected!("sha")),
        ("avx512f", std::arch::is_x86_feature_detected!("avx512f")),
        ("avx512ifma", std::arch::is_x86_feature_detected!("avx512ifma")),
    ];
    #[cfg(not(target_arch = "x86_64"))]
    let seen = [("none", true)];
    let seen: Vec<&str> = seen.iter().filter(|(_, has)| *has).map(|(name, _)| *name).collect();
    seen.join(" ")
}
