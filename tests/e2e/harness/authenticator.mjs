// What keeps a person's passkeys, as Chromium simulates it for one page: it stays there when the page is loaded again.

/** An authenticator of `page`, whose person unlocks it at once; `more` are options of WebAuthn.addVirtualAuthenticator. */
export async function authenticator(page, more) {
  // Only a page that is seen may ask for passkeys.
  await page.bringToFront();
  const session = await page.context().newCDPSession(page);
  await session.send('WebAuthn.enable');
  const options = {
    protocol: 'ctap2', ctap2Version: 'ctap2_1', transport: 'internal', hasResidentKey: true, hasUserVerification: true, hasPrf: true,
    isUserVerified: true, automaticPresenceSimulation: true, ...more,
  };
  const { authenticatorId } = await session.send('WebAuthn.addVirtualAuthenticator', { options });
  const send = (method, parameters) => session.send(`WebAuthn.${method}`, { authenticatorId, ...parameters });
  return {
    /** The passkeys that it has. */
    list: async () => (await send('getCredentials')).credentials,
    /** Their person deletes one. */
    forget: (credentialId) => send('removeCredential', { credentialId }),
    remove: () => send('removeVirtualAuthenticator'),
  };
}
