//! What the relay keeps and takes up to its bounds.

mod rooms;

use rooms::Rooms;
use serde_json::{Value, json};
use solconnect_sync_core::limits::{FRAME_BYTES_MAX, SOCKET_QUEUE_BYTES_MAX};

#[test]
fn a_socket_is_cut_at_once_where_far_too_much_waits_for_it() {
    let mut rooms = Rooms::new();
    rooms.open(1);
    rooms.stuck.push(1);
    let clock: Value = (0..250).map(|number| (format!("{number:0>190}"), json!(1))).collect::<serde_json::Map<_, _>>().into();
    let heartbeat = json!({ "type": "sync_heartbeat", "vectorClock": clock });
    let mut bytes = 0;
    while rooms.closed.is_empty() {
        assert!(bytes <= 4 * SOCKET_QUEUE_BYTES_MAX, "{bytes}");
        rooms.say(1, &heartbeat);
        bytes = rooms.lengths(1).iter().sum();
    }
    assert!((4 * SOCKET_QUEUE_BYTES_MAX..4 * SOCKET_QUEUE_BYTES_MAX + FRAME_BYTES_MAX).contains(&bytes), "{bytes}");
}
