import { deliverInBackground } from 'solconnect-sync/sw';
import { deliverWhenAsked } from './asked.js';

const options = new URL(location.href).searchParams;
deliverInBackground({ relayEndpoint: options.get('relay'), databaseName: options.get('databaseName'), domains: [location.host] });
deliverWhenAsked();
