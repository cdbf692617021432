//! What docs/encryption.md promises, held against a state.

use std::collections::HashMap;

use crate::devices::World;
use crate::rules::Rule;
use crate::terms::{Body, Device, Entry, TranscriptId, Wallet};

/// A promise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Promise {
    /// Nobody but the devices that its author meant reads a text.
    Secrecy,
    /// What is shown as from an honest device is from it.
    Authorship,
    /// A text is shown once.
    Once,
    /// Texts of one device are shown in the order in which it wrote them.
    Order,
    /// Who shows a text has the history of its author.
    History,
    /// Devices that are in one epoch have one secret.
    OneSecret,
    /// Nothing of a removed device is shown once an epoch names its removal.
    Removal,
    /// No key and nonce are used for two texts, or for one text at two places.
    Nonces,
    /// Once nothing is left to do, members read all that honest devices wrote while they were members.
    Readable,
}

/// The first promise that a state breaks.
pub fn broken(world: &World<'_>) -> Option<Promise> {
    type Holds = fn(&World<'_>) -> bool;
    let checks: [(Promise, Holds); 9] = [
        (Promise::Secrecy, is_secret),
        (Promise::Authorship, is_from_author),
        (Promise::Once, is_shown_once),
        (Promise::Order, is_in_order),
        (Promise::History, has_history),
        (Promise::OneSecret, has_one_secret),
        (Promise::Removal, is_removed),
        (Promise::Nonces, has_own_nonces),
        (Promise::Readable, is_readable),
    ];
    checks.into_iter().find(|(_, holds)| !holds(world)).map(|(promise, _)| promise)
}

fn sent<'a>(world: &'a World<'_>) -> impl Iterator<Item = Entry> + 'a {
    world.sent.iter().map(|(_, entry)| *entry)
}

/// The texts that a device shows: the entry, and the transcript at its place.
fn shown(world: &World<'_>, index: usize) -> Vec<(Entry, TranscriptId)> {
    let (log, wallet) = (&world.logs[index], world.scene.actors[index].key.wallet());
    let is_read = |text: &&crate::log::Counted| log.opens(text, wallet, world.rules);
    log.texts.iter().filter(is_read).map(|text| (text.entry, text.transcript)).collect()
}

fn all_shown(world: &World<'_>) -> impl Iterator<Item = Vec<(Entry, TranscriptId)>> {
    (0..world.logs.len()).map(|index| shown(world, index))
}

fn is_secret(world: &World<'_>) -> bool {
    sent(world).all(|entry| match entry.body {
        Body::Text { is_private: true, secret, .. } => !world.adversary_has(secret),
        _ => true,
    })
}

fn is_from_author(world: &World<'_>) -> bool {
    let is_true = |(entry, _): (Entry, TranscriptId)| {
        let is_hostile = entry.by == Device::M1 || world.scene.is_stolen && entry.by == Device::A2;
        is_hostile || entry.made_by.is_some_and(|by| world.scene.actors[usize::from(by)].key == entry.by)
    };
    all_shown(world).flatten().all(is_true)
}

fn is_shown_once(world: &World<'_>) -> bool {
    all_shown(world)
        .all(|texts| (1..texts.len()).all(|place| texts[..place].iter().all(|(earlier, _)| earlier.name() != texts[place].0.name())))
}

fn is_in_order(world: &World<'_>) -> bool {
    all_shown(world).all(|texts| {
        let is_later = |earlier: &Entry, entry: &Entry| earlier.by != entry.by || earlier.counter < entry.counter;
        (1..texts.len()).all(|place| texts[..place].iter().all(|(earlier, _)| is_later(earlier, &texts[place].0)))
    })
}

fn has_history(world: &World<'_>) -> bool {
    all_shown(world).flatten().all(|(entry, transcript)| match entry.body {
        Body::Text { written_after, .. } => entry.made_by.is_none() || written_after == transcript,
        _ => true,
    })
}

fn has_one_secret(world: &World<'_>) -> bool {
    let mut secrets = HashMap::new();
    for (log, actor) in world.logs.iter().zip(world.scene.actors) {
        for epoch in &log.epochs {
            let Some(secret) = log.secret(epoch, actor.key.wallet(), world.rules) else { continue };
            if *secrets.entry(epoch.id).or_insert(secret) != secret {
                return false;
            }
        }
    }
    true
}

fn is_removed(world: &World<'_>) -> bool {
    let accounts = &world.state.accounts;
    (0..world.logs.len()).all(|index| {
        let log = &world.logs[index];
        let wallet = world.scene.actors[index].key.wallet();
        let is_behind = |transcript: TranscriptId| {
            let upto = log.epochs.iter().position(|epoch| epoch.transcript == transcript).map_or(0, |place| place + 1);
            let knows = |named: crate::terms::Named| accounts.was_removed(named.head);
            log.epochs[..upto].iter().any(|epoch| epoch.members[Wallet::A as usize].is_some_and(knows))
        };
        let is_bad = |text: &crate::log::Counted| text.entry.by == Device::A2 && is_behind(text.epoch.transcript);
        !world.scene.is_stolen || !log.texts.iter().any(|text| is_bad(text) && log.opens(text, wallet, world.rules))
    })
}

fn has_own_nonces(world: &World<'_>) -> bool {
    let mut seen = HashMap::new();
    for entry in sent(world).filter(|entry| entry.made_by.is_some()) {
        let Body::Text { secret, key_of, content, .. } = entry.body else { continue };
        let key = (secret, if world.rules.has(Rule::Transcript) { key_of } else { 0 }, entry.by);
        let place = (entry.counter, entry.previous);
        let nonce = match (world.rules.has(Rule::SyntheticNonce), world.rules.has(Rule::PlaceInAad)) {
            (true, true) => (Some(place), Some(content)),
            (true, false) => (None, Some(content)),
            (false, _) => (Some((entry.counter, None)), None),
        };
        if *seen.entry((key, nonce)).or_insert((content, place)) != (content, place) {
            return false;
        }
    }
    true
}

fn is_readable(world: &World<'_>) -> bool {
    let there: Vec<usize> = (0..world.logs.len()).filter(|index| world.is_there(*index)).collect();
    let is_still = |index: &usize| {
        let is_told = (0..3).all(|wallet| {
            let wallet = crate::terms::WALLETS[wallet];
            world.state.heads[*index][wallet as usize] == world.state.accounts.end(wallet)
        });
        let has_epoch = world.current_secret(*index).is_some_and(|(epoch, _)| !world.is_old(*index, &epoch));
        let owes = world.rules.has(Rule::ResealOwed) && !world.owed(*index).is_empty();
        is_told && has_epoch && !owes && !world.waits(*index) && world.state.shown[*index] == world.state.shown[there[0]]
    };
    if !there.iter().all(is_still) {
        return true;
    }
    there.iter().all(|index| {
        let (log, wallet) = (&world.logs[*index], world.scene.actors[*index].key.wallet());
        let is_meant = |text: &&crate::log::Counted| text.entry.made_by.is_some() && text.members[wallet as usize];
        log.texts.iter().filter(is_meant).all(|text| log.opens(text, wallet, world.rules))
    })
}
