// A wallet to try with: its key is kept for all windows of this browser, so that two of them can be two devices of one person. Every script
// of this origin can read the key: no wallet for anything but a test.

const bytesOf = (base64url) => Uint8Array.from(atob(base64url.replaceAll('-', '+').replaceAll('_', '/')), (character) => character.charCodeAt(0));

/** The wallet of this name, as an extension gives one; made where there is none. */
export async function testWallet(name) {
  const place = `solconnect-test-wallet-${name}`;
  if (!localStorage.getItem(place)) {
    const { privateKey } = await crypto.subtle.generateKey('Ed25519', true, ['sign', 'verify']);
    const made = JSON.stringify(await crypto.subtle.exportKey('jwk', privateKey));
    // Another window may have made one meanwhile.
    if (!localStorage.getItem(place)) localStorage.setItem(place, made);
  }
  const jwk = JSON.parse(localStorage.getItem(place));
  const key = await crypto.subtle.importKey('jwk', jwk, 'Ed25519', false, ['sign']);
  return {
    publicKey: bytesOf(jwk.x),
    connect: async () => {},
    signMessage: async (message) => new Uint8Array(await crypto.subtle.sign('Ed25519', key, message)),
  };
}
