//! Lists in JSON whose items are read one by one: one that cannot be read does not cost the others.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::{ReadReceipt, Receipt, Unsent, malformed};
use crate::error::SyncError;
use crate::ids::{MessageId, check_id};
use crate::list::list;
use crate::message::Message;

/// The messages of an update. What cannot be read of them stays in its place, under its id where that can be read.
pub(super) fn unsent<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Unsent>, D::Error> {
    let items: Vec<&RawValue> = list(deserializer)?;
    let unsent = |(place, item): (usize, &RawValue)| {
        read(item, &format!("message {place} of the update")).unwrap_or_else(|error| {
            let message = Message { id: id_of(item).unwrap_or_default(), ..Message::default() };
            Unsent { message, unreadable: Some(error), ..Unsent::default() }
        })
    };
    Ok((1..).zip(items).map(unsent).collect())
}

/// The id of a message that cannot be read.
fn id_of(item: &RawValue) -> Option<MessageId> {
    #[derive(Deserialize)]
    struct Named {
        message: NamedMessage,
    }
    #[derive(Deserialize)]
    struct NamedMessage {
        id: MessageId,
    }
    let named: Named = serde_json::from_str(item.get()).ok()?;
    Some(named.message.id).filter(|id| check_id("message.id", id).is_ok())
}

/// `read_receipt` as it is written.
#[derive(Deserialize)]
pub(super) struct Receipts<'a> {
    #[serde(borrow, default, deserialize_with = "list")]
    receipts: Vec<&'a RawValue>,
}

impl From<Receipts<'_>> for ReadReceipt {
    fn from(written: Receipts<'_>) -> Self {
        let mut read_receipt = ReadReceipt::default();
        for item in written.receipts {
            match read::<Receipt>(item, "a receipt").and_then(|receipt| receipt.check().map(|()| receipt)) {
                Ok(receipt) => read_receipt.receipts.push(receipt),
                Err(error) => read_receipt.unreadable = Some(error),
            }
        }
        read_receipt
    }
}

fn read<T: DeserializeOwned>(item: &RawValue, what: &str) -> Result<T, SyncError> {
    serde_json::from_str(item.get()).map_err(|error| malformed(what, &error))
}
