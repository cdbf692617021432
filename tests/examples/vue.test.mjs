// The example app with Vue, from the packed package.
import { tellItWith } from './apps.mjs';

tellItWith('vue');
