// The story of two people, told with each example app: an invitation, both ways, offline, reload, back, edit, delete, read, paging.
import assert from 'node:assert/strict';
import { newPerson } from './person.mjs';

const manyMessages = 300;
/** The apps page by this number. */
const pageMessages = 20;

/** Tells it with the app at `url`. */
export async function tellStory(url, _browser, relay) {
  const people = [];
  try {
    for (const name of ['Alice', 'Bob', 'Carol']) people.push(await newPerson(name, relay));
    for (const person of people) await person.open(url);
    await tell(...people);
    await tellOfGroup(...people);
  } catch (error) {
    throw new Error([error.message, ...people.flatMap(({ name, complaints }) => complaints.map((complaint) => `${name}'s browser: ${complaint}`))].join('\n'), { cause: error });
  } finally {
    for (const person of people) await person.close();
  }
  for (const { name, complaints } of people) assert.deepEqual(complaints, [], `the browser of ${name} complains`);
}

async function tell(alice, bob) {
  // Conversations show the beginning of the other's address.
  const [toAlice, toBob] = [alice, bob].map(({ address }) => address.slice(0, 8));

  // An invitation is declined, comes again, and is accepted.
  await alice.start(bob.address);
  await alice.write('Hello, Bob!');
  await alice.shows('me: Hello, Bob! [sent]');
  await bob.lists(`${toAlice} Accept Decline`);
  await bob.button('Decline').click();
  await bob.lists();
  await alice.write('Are you there?');
  await bob.lists(`${toAlice} Accept Decline`);
  await bob.button('Accept').click();
  await bob.lists(`${toAlice} 2 Are you there?`);
  await alice.shows('me: Hello, Bob! [delivered]', 'me: Are you there? [delivered]');
  await bob.openConversation();
  await bob.shows('they: Hello, Bob!', 'they: Are you there?');
  await bob.lists(`${toAlice} Are you there?`);
  await alice.shows('me: Hello, Bob! [read]', 'me: Are you there? [read]');
  await bob.write('I am.');
  await bob.shows('they: Hello, Bob!', 'they: Are you there?', 'me: I am. [read]');
  await alice.shows('me: Hello, Bob! [read]', 'me: Are you there? [read]', 'they: I am.');
  await alice.lists(`${toBob} I am.`);

  // Alice is offline because she wants to be, and takes one message back.
  await alice.says('Up to date');
  await alice.setOffline(true);
  await alice.says('Offline');
  await alice.write('Forget it');
  await alice.says('Offline, 1 waiting');
  await alice.shows('me: Hello, Bob! [read]', 'me: Are you there? [read]', 'they: I am.', 'me: Forget it [queued]');
  await alice.press('Cancel', 'Forget it');
  await alice.shows('me: Hello, Bob! [read]', 'me: Are you there? [read]', 'they: I am.');
  await alice.write('One moment');
  await alice.setOffline(false);
  await alice.shows('me: Hello, Bob! [read]', 'me: Are you there? [read]', 'they: I am.', 'me: One moment [read]');

  // Bob's cable is cut. What he writes and changes stands a reload, and is sent when he is back.
  bob.cable.cut();
  await bob.says('Offline');
  await bob.write('In a tunnel');
  await bob.write('Still in the tunnel');
  await bob.edit('I am.', 'I am here.');
  const queued = ['me: I am here. [read, edited, sending the change]', 'they: One moment', 'me: In a tunnel [queued]', 'me: Still in the tunnel [queued]'];
  await bob.shows('they: Hello, Bob!', 'they: Are you there?', ...queued);
  await alice.write('Where are you?');
  await alice.shows('me: Hello, Bob! [read]', 'me: Are you there? [read]', 'they: I am.', 'me: One moment [read]', 'me: Where are you? [sent]');
  await bob.reload();
  await bob.says('Offline, 3 waiting');
  await bob.lists(`${toAlice} Still in the tunnel`);
  await bob.openConversation();
  await bob.shows('they: Hello, Bob!', 'they: Are you there?', ...queued);
  await alice.reload();
  await alice.lists(`${toBob} Where are you?`);
  bob.cable.mend();
  const tunnel = (status) => ['they: Where are you?', `me: In a tunnel [${status}]`, `me: Still in the tunnel [${status}]`];
  await bob.shows('they: Hello, Bob!', 'they: Are you there?', 'me: I am here. [read, edited]', 'they: One moment', ...tunnel('delivered'));
  await bob.says('Up to date');
  await alice.lists(`${toBob} 2 Still in the tunnel`);
  await alice.openConversation();
  await alice.lists(`${toBob} Still in the tunnel`);
  await bob.shows('they: Hello, Bob!', 'they: Are you there?', 'me: I am here. [read, edited]', 'they: One moment', ...tunnel('read'));

  // Both see what Alice changes and deletes.
  await alice.edit('Are you there?', 'Are you there, Bob?');
  await alice.press('Delete', 'One moment');
  await alice.shows(
    'me: Hello, Bob! [read]', 'me: Are you there, Bob? [read, edited]', 'they: I am here. [edited]', 'me: Deleted [read]',
    'me: Where are you? [read]', 'they: In a tunnel', 'they: Still in the tunnel',
  );
  await bob.shows('they: Hello, Bob!', 'they: Are you there, Bob? [edited]', 'me: I am here. [read, edited]', 'they: Deleted', ...tunnel('read'));

  // Many messages, and a thread that is paged back: nothing is twice, nothing is missing.
  await bob.reload();
  const many = Array.from({ length: manyMessages }, (_, index) => `Message ${index + 1}`);
  await alice.writeAll(many);
  const unread = `${toAlice} ${manyMessages} ${many.at(-1)}`;
  await bob.lists(unread);
  await bob.reload();
  await bob.lists(unread);
  await bob.openConversation();
  await bob.shows(...many.slice(-pageMessages).map((text) => `they: ${text}`));
  await bob.lists(`${toAlice} ${many.at(-1)}`);
  assert.equal(await bob.pageBack(), Math.ceil((manyMessages + 7) / pageMessages) - 1);
  const first = ['they: Hello, Bob!', 'they: Are you there, Bob? [edited]', 'me: I am here. [read, edited]', 'they: Deleted', ...tunnel('read')];
  await bob.shows(...first, ...many.map((text) => `they: ${text}`));
  await alice.reload();
  await alice.openConversation();
  await alice.shows(...many.slice(-pageMessages).map((text) => `me: ${text} [read]`));
  await alice.pageBack();
  await alice.shows(
    'me: Hello, Bob! [read]', 'me: Are you there, Bob? [read, edited]', 'they: I am here. [edited]', 'me: Deleted [read]',
    'me: Where are you? [read]', 'they: In a tunnel', 'they: Still in the tunnel', ...many.map((text) => `me: ${text} [read]`),
  );
  for (const person of [alice, bob]) await person.says('Up to date');
}

/** Three people, of whom the first two have talked. */
async function tellOfGroup(alice, bob, carol) {
  await alice.start(`${bob.address} ${carol.address}`);
  await alice.write('Hello, all!');
  await carol.lists('Walkers Accept Decline');
  for (const [person, ...others] of [[bob, `${alice.address.slice(0, 8)} Message ${manyMessages}`], [carol]]) {
    await person.button('Accept').click();
    await person.lists('Walkers 1 Hello, all! Leave', ...others);
    await person.openConversation();
    await person.shows('they: Hello, all!');
  }
  await alice.shows('me: Hello, all! [read, read by 2]');
  await carol.write('Hello from Carol');
  await carol.shows('they: Hello, all!', 'me: Hello from Carol [read, read by 2]');
  await bob.shows('they: Hello, all!', 'they: Hello from Carol');
  await bob.button('Leave').click();
  await carol.shows('they: Hello, all!', 'me: Hello from Carol [read, read by 1]');
  await alice.write('Bob is gone');
  await carol.shows('they: Hello, all!', 'me: Hello from Carol [read, read by 1]', 'they: Bob is gone');
  await bob.shows('they: Hello, all!', 'they: Hello from Carol');
  for (const person of [alice, bob, carol]) await person.says('Up to date');
}
