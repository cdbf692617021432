import { story } from './story.js';

addEventListener('message', async ({ data: relay }) => postMessage(await story(relay, 'worker')));
