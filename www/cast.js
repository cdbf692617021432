// Who plays in this demo: two wallets, three devices, each device with a database of its own.

export const WALLETS = {
  alice: { label: 'Alice', database: 'solconnect-demo-wallet-alice' },
  bob: { label: 'Bob', database: 'solconnect-demo-wallet-bob' },
};

export const DEVICES = [
  { name: 'alice-phone', label: 'Alice’s phone', short: 'phone', kind: 'phone', wallet: 'alice', peer: 'bob', database: 'solconnect-demo-alice-phone' },
  { name: 'alice-laptop', label: 'Alice’s laptop', short: 'laptop', kind: 'laptop', wallet: 'alice', peer: 'bob', database: 'solconnect-demo-alice-laptop' },
  { name: 'bob-phone', label: 'Bob’s phone', short: 'phone', kind: 'phone', wallet: 'bob', peer: 'alice', database: 'solconnect-demo-bob-phone' },
];

export const DATABASES = [...Object.values(WALLETS), ...DEVICES].map((owner) => owner.database);

export const STRATEGIES = [
  { value: 'vector_clock', label: 'Who knew more wins', says: 'The version whose author knew more wins; ties go by time, then by device.' },
  { value: 'latest', label: 'The later one wins', says: 'The version with the latest time wins.' },
  { value: 'manual', label: 'The author chooses', says: 'It stays open until its author chooses.' },
];

export function strategyNamed(value) {
  return STRATEGIES.find((strategy) => strategy.value === value) ?? STRATEGIES[0];
}
