// The collection of messages, for both sides.
const text = { type: 'string' };

export const schema = {
  version: 0,
  primaryKey: 'id',
  type: 'object',
  properties: { id: { type: 'string', maxLength: 200 }, session: text, device: text, wallet: text, time: text, clock: { type: 'object', additionalProperties: { type: 'number' } }, text },
  required: ['id', 'session', 'device', 'wallet', 'time', 'clock', 'text'],
};
