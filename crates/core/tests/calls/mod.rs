//! What an application asks of a device, as the inputs of its machine.

use solconnect_sync_core::client::Input;

/// Sends a text without a name of the application's own; takes the number of the request.
pub fn send(session_id: &str, text: &str) -> impl Fn(u64) -> Input + use<> {
    let (session_id, text) = (session_id.to_owned(), text.to_owned());
    move |request| Input::Send {
        request,
        session_id: session_id.clone(),
        text: text.clone(),
        content_type: None,
        message_id: None,
        known: None,
    }
}
