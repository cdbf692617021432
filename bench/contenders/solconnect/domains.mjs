/** The domains of the application: its devices run at two hosts, so that they share no storage. */
export const domainsAt = (webPort) => [`localhost:${webPort}`, `127.0.0.1:${webPort}`];
