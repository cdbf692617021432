// What the reference describes: everything that the package exports.
export * from '../../pkg/index.js';
export { default } from '../../pkg/index.js';
