// The vectors of docs/encryption.md are those that its second implementation computes, which was written from the text.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { hpkeSeal, vectors } from '../../crates/vault/vectors.mjs';
import { root } from '../../scripts/shell.mjs';

test('the second implementation computes the vectors', () => {
  const written = JSON.parse(readFileSync(join(root, 'crates', 'vault', 'vectors.json'), 'utf8'));
  assert.deepEqual(JSON.parse(JSON.stringify(vectors())), written);
});

test('the second implementation has the HPKE of RFC 9180', () => {
  const hex = (text) => Buffer.from(text, 'hex');
  // Appendix A.2.1, the first encryption.
  const [to, info] = [hex('4310ee97d88cc1f088a5576c77ab0cf5c3ac797f3d95139c6c84b5429c59662a'), hex('4f6465206f6e2061204772656369616e2055726e')];
  const plain = hex('4265617574792069732074727574682c20747275746820626561757479');
  const material = hex('909a9b35d3dc4713a5e72a4da274b55d3d3821a37e5d099e74a647db583a904b');
  const sealed = '1afa08d3dec047a643885163f1180476fa7ddb54c6a8029ea33f95796bf2ac4a1c5250d8034ec2b784ba2cfd69dbdb8af406cfe3ff938e131f0def8c8b60b4db21993c62ce81883d2dd1b51a28';
  assert.equal(hpkeSeal(to, info, plain, material, hex('436f756e742d30')).toString('hex'), sealed);
});
