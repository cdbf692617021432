//! The numbers of a relay, in the text form of Prometheus: no wallet, no id, no address and no content is among them.
//!
//! They are served on an address of their own, where the operator names one: whoever reaches the relay learns nothing of how
//! busy it is, however a proxy in front of it is configured.

use std::fmt::{Display, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use solconnect_sync_core::relay::{Cap, Counts};
use tokio::sync::{mpsc, oneshot, watch};

use crate::driver::Event;

/// What is refused before the machine hears of it.
#[derive(Debug, Default)]
pub struct Refused {
    /// WebSockets of pages of other origins.
    pub(crate) origins: AtomicU64,
    /// WebSockets of addresses that have enough.
    pub(crate) sockets: AtomicU64,
    /// TCP connections of addresses that have enough.
    pub(crate) streams: AtomicU64,
}

impl Refused {
    pub(crate) fn count(&self, of: &AtomicU64) {
        of.fetch_add(1, Ordering::Relaxed);
    }
}

/// Where the numbers are.
#[derive(Clone)]
pub struct Metrics {
    /// The way to the machine.
    pub events: mpsc::Sender<Event>,
    /// Why nothing can be stored, where it cannot.
    pub trouble: watch::Receiver<Option<String>>,
    /// What was refused.
    pub refused: Arc<Refused>,
    /// When the relay began, in seconds since 1970.
    pub started_s: u64,
}

impl Metrics {
    pub(crate) async fn answer(self) -> Response {
        let (ask, answer) = oneshot::channel();
        // A machine that is gone answers nothing.
        let _ = self.events.send(Event::Counts(ask)).await;
        match answer.await {
            Ok(counts) => ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], self.text(&counts)).into_response(),
            Err(_) => (StatusCode::SERVICE_UNAVAILABLE, "the relay is stopping\n").into_response(),
        }
    }

    fn text(&self, counts: &Counts) -> String {
        let Counts { connections, signed_in, sessions, attachments, totals, capped } = counts;
        let refused = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let mut text = Text::default();
        text.family("build_info", "gauge", "The version of the relay.");
        text.sample("build_info", &[("version", env!("CARGO_PKG_VERSION"))], 1);
        text.one("start_time_seconds", "gauge", "When the relay started, in seconds since 1970.", self.started_s);
        text.one(
            "journal_up",
            "gauge",
            "1 where the journal's files are there, 0 where they are lost.",
            u8::from(self.trouble.borrow().is_none()),
        );
        text.one("connections", "gauge", "Open WebSockets.", connections);
        text.one("connections_signed_in", "gauge", "Open WebSockets that have signed in.", signed_in);
        text.one("sessions", "gauge", "Sessions in memory.", sessions);
        text.one("attachments", "gauge", "Sessions that WebSockets take part in.", attachments);
        text.one("connections_total", "counter", "WebSockets that were opened.", totals.connections);
        text.one("connections_cut_total", "counter", "WebSockets that the relay ended.", totals.cut);
        text.one("sign_ins_total", "counter", "WebSockets that signed in.", totals.sign_ins);
        text.one("frames_received_total", "counter", "Frames that arrived.", totals.frames_received);
        text.one("frames_sent_total", "counter", "Frames that were queued for WebSockets.", totals.frames_sent);
        text.one("entries_total", "counter", "Entries that were stored.", totals.entries);
        text.family("errors_total", "counter", "Error frames, by their codes.");
        for (code, count) in &totals.errors {
            text.sample("errors_total", &[("code", code.as_str())], count);
        }
        text.family("capped_total", "counter", "How often a wallet or an address was at its limit.");
        for cap in Cap::ALL {
            text.sample("capped_total", &[("cap", cap.name())], capped.get(&cap).copied().unwrap_or_default());
        }
        text.sample("capped_total", &[("cap", "address_connections")], refused(&self.refused.sockets));
        text.sample("capped_total", &[("cap", "address_streams")], refused(&self.refused.streams));
        text.one("refused_origins_total", "counter", "WebSockets of pages that may not connect.", refused(&self.refused.origins));
        text.0
    }
}

#[derive(Default)]
struct Text(String);

impl Text {
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        // Writing to a string cannot fail.
        let _ = writeln!(self.0, "# HELP solconnect_{name} {help}\n# TYPE solconnect_{name} {kind}");
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl Display) {
        let labels: Vec<String> = labels.iter().map(|(label, value)| format!("{label}=\"{value}\"")).collect();
        let labels = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
        let _ = writeln!(self.0, "solconnect_{name}{labels} {value}");
    }

    fn one(&mut self, name: &str, kind: &str, help: &str, value: impl Display) {
        self.family(name, kind, help);
        self.sample(name, &[], value);
    }
}
