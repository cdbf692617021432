// The example app with Svelte, from the packed package.
import { tellItWith } from './apps.mjs';

tellItWith('svelte');
