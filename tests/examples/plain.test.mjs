// The example app without a framework, from the packed package.
import { tellItWith } from './apps.mjs';

tellItWith('plain');
