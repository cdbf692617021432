/** Names our Background Sync, in pages and service workers. */
export const SYNC_TAG = 'solconnect-sync';
