//! What a table does not say by itself.

/// What the columns mean that don't speak for themselves.
pub(super) fn legend(runs: u32, is_quick: bool) -> String {
    let mut lines = vec![
        "immediate: each call returns when it is on disk; buffered: when the system has it \
         (nothing is synced before the time stops); read: nothing is written."
            .to_owned(),
        "reopened: first pass in a new process, the files in the system's cache; warm: the same \
         again. n-threads: blocking gets on that many threads, groups of 64 shared out."
            .to_owned(),
        "FLOOR: what the machine takes for the least of it. W1: hashing, signing, writing (and \
         syncing, for immediate) of the same blocks; W2: one pread each; L2: the hashing alone; W8, \
         N3: encrypting, copying over loopback, decrypting, and hashing the same blocks, on one \
         thread: the sum of sealMs, copyMs, openMs, hashMs."
            .to_owned(),
        "times: our rate by that of the floor, and by that of a peer for the same, if both or neither \
         wait for the disk (CPU times: per processor second, with that of the server, from 20 ms on). W2's sequential by sequential-await, \
         8-threads by 64-in-flight (64 gets begun before the first is awaited), the first pass of \
         each; `multibee` rows by Hyperbee's, which knows but one writer."
            .to_owned(),
        format!(
            "Medians of {}; `more` is of the first. CPU time is exact to 4 ms, and where threads ended (immediate) to 20 ms.",
            if runs == 1 { "one run".to_owned() } else { format!("{runs} runs") }
        ),
    ];
    if is_quick {
        lines.push("QUICK: a tenth of each workload. Not to be compared with anything.".to_owned());
    }
    lines.join("\n") + "\n"
}
