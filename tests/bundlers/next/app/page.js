'use client';

import { useEffect } from 'react';
import { SolConnectSDK } from 'solconnect-sync';
import { run } from '../run.js';

let isRunning = false;

export default function Page() {
  useEffect(() => {
    if (!isRunning) run();
    isRunning = true;
  }, []);
  return <p>The package gives a {typeof SolConnectSDK} here.</p>;
}
