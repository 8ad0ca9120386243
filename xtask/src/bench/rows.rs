//! All runs of one measurement together, beside those of floors and peers.

use std::collections::BTreeMap;

use serde_json::Value;

use super::peer::Peer;
use super::record::{Record, SERVER_CPU_MS};
use super::stats::Summary;
use super::times::Measurement;

/// All runs in which one peer did one measurement.
pub(super) struct Row<'a> {
    pub(super) measurement: Measurement,
    pub(super) first: &'a Record,
    /// `first` too.
    pub(super) runs: Vec<&'a Record>,
}

/// In the order in which they were first measured.
pub(super) fn rows(records: &[Record]) -> Vec<Row<'_>> {
    let mut rows: Vec<Row<'_>> = Vec::new();
    let mut places = BTreeMap::new();
    for record in records {
        let measurement = Measurement::of(record);
        let place = *places.entry((&record.peer, measurement.clone())).or_insert(rows.len());
        match rows.get_mut(place) {
            Some(row) => row.runs.push(record),
            None => rows.push(Row { measurement, first: record, runs: vec![record] }),
        }
    }
    rows
}

/// Whose rate ours is told by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Other<'a> {
    Floor,
    Peer(&'a str),
}

impl Row<'_> {
    pub(super) fn summary(&self, of: fn(&Record) -> Option<f64>) -> Option<Summary> {
        Summary::of(self.runs.iter().filter_map(|run| of(run)))
    }

    pub(super) fn median(&self, of: fn(&Record) -> Option<f64>) -> Option<f64> {
        self.summary(of).map(|summary| summary.median)
    }

    pub(super) fn is_ours(&self) -> bool {
        self.first.peer == Peer::Multibee.to_string()
    }

    /// Whether this is what the machine takes for something, and not what anybody's program does.
    pub(super) fn is_floor(&self) -> bool {
        self.measurement.is_floor()
    }

    /// How many times the rate of its floor our rate is, and that of each peer who did the same.
    pub(super) fn times<'b>(
        &self,
        rows: &'b [Self],
        rate: fn(&Record) -> Option<f64>,
    ) -> Vec<(Other<'b>, f64)> {
        let whose = |row: &'b Self| match row.is_ours() {
            true => self.measurement.has_floor(&row.measurement).then_some(Other::Floor),
            false => {
                let peer = row.first.peer.as_str();
                let wanted = self.measurement.clone().of_peer(peer);
                (row.measurement == wanted).then_some(Other::Peer(peer))
            }
        };
        let others = rows.iter().filter(|_| self.is_ours());
        others
            .filter_map(|row| Some((whose(row)?, self.median(rate)? / row.median(rate)?)))
            .collect()
    }
}

/// Processor time below which the clock is too coarse for a ratio, where threads have ended: see
/// `usage.rs`.
const CPU_MS_MIN: f64 = 20.0;

/// By the time of all our processes that took part.
pub(super) fn told_cpu_rate(run: &Record) -> Option<f64> {
    let own_ms = run.cpu_ms.filter(|ms| *ms >= CPU_MS_MIN)?;
    let server_ms = run.more.get(SERVER_CPU_MS).and_then(Value::as_f64).unwrap_or_default();
    Some(run.cpu_rate? * own_ms / (own_ms + server_ms))
}
