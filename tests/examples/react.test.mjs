// The example app with React, from the packed package.
import { tellItWith } from './apps.mjs';

tellItWith('react');
