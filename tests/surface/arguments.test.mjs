// What calls are given may be another party's: whatever it does, the call answers.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { within } from '../e2e/harness/wait.mjs';
import { coded, load } from './modules.mjs';

const { abortable, signalOf } = await load('arguments');
const { configOf } = await load('config');

const trap = () => {
  throw new Error('a trap');
};
const signal = (own) => ({ aborted: false, addEventListener() {}, removeEventListener() {}, ...own });
const answer = (signal) => within('the call answers', abortable(Promise.resolve('done'), signal), 2_000);

describe('a signal', () => {
  test('that throws when it is left delays nothing', async () => {
    assert.equal(await answer(signal({ removeEventListener: trap })), 'done');
    const failing = abortable(Promise.reject(new Error('of the work')), signal({ removeEventListener: trap }));
    await assert.rejects(within('the call answers', failing, 2_000), { message: 'of the work' });
  });

  for (const [name, own] of Object.entries({
    'refuses listeners': { addEventListener: trap },
    'cannot be asked': Object.create({}, { aborted: { get: trap, enumerable: true } }),
    'hides its reason': Object.create({}, { aborted: { value: true, enumerable: true }, reason: { get: trap, enumerable: true } }),
  })) {
    test(`that ${name} is a wrong argument`, async () => {
      const given = Object.defineProperties(signal(), Object.getOwnPropertyDescriptors(own));
      await assert.rejects(answer(given), coded('INVALID_ARGUMENT'));
    });
  }

  test('must have both calls of an AbortSignal', () => {
    for (const value of [null, 5, {}, signal({ removeEventListener: undefined }), signal({ addEventListener: 5 })]) {
      assert.throws(() => signalOf(value), coded('INVALID_ARGUMENT'));
    }
    const { signal: real } = new AbortController();
    assert.equal(signalOf(real), real);
  });
});

test('a transport of devices that sign in needs the name of its relay', () => {
  const options = { transport: {}, domains: ['chat.example'] };
  assert.throws(() => configOf(options), coded('INVALID_ARGUMENT'));
  assert.equal(configOf({ ...options, relayEndpoint: 'wss://relay.example' }).config.encryption, 'required');
});
