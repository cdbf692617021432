// The command lines of the npm scripts: one table for each has its options, and makes both the help and the checks.
import { parseArgs } from 'node:util';
import { Problem } from './shell.mjs';

/**
 * What the command line says: {option: value}. With `--help` it prints what the command does and ends the program, before anything is
 * installed or built.
 *
 * `options` is a table by name. Each has `means`, for the help, and `value`, which names its value there; a switch has none. Where
 * there is `from`, the value is a whole number from there up to `to`. `default` is the value where the option is left out; `many`
 * collects all values of an option that is given several times.
 */
export function commandLine(usage, about, options = {}) {
  const texts = Object.entries(options).map(([name, { value, many = false }]) => [name, { type: value ? 'string' : 'boolean', multiple: many }]);
  const { values } = parse(usage, { ...Object.fromEntries(texts), help: { type: 'boolean', short: 'h' } });
  if (values.help) {
    console.log(helpOf(usage, about, options));
    process.exit(0);
  }
  return Object.fromEntries(Object.entries(options).map(([name, option]) => [name, valueOf(name, option, values[name])]));
}

/** Prints this text and ends the program where the first argument asks for help: for commands whose options a Rust program reads. */
export function helpOnly(text) {
  if (!['--help', '-h'].includes(process.argv[2])) return;
  console.log(text.trimEnd());
  process.exit(0);
}

function parse(usage, options) {
  try {
    return parseArgs({ options });
  } catch (error) {
    throw new Problem(`${error.message.split('. ')[0]}. ${usage} --help lists the options.`);
  }
}

function valueOf(name, { from, to = Number.MAX_SAFE_INTEGER, default: fallback }, given) {
  if (given === undefined) return fallback;
  if (from === undefined) return given;
  const number = Number(given);
  if (given !== '' && Number.isInteger(number) && number >= from && number <= to) return number;
  const range = to === Number.MAX_SAFE_INTEGER ? `from ${from}` : `from ${from} to ${to}`;
  throw new Problem(`--${name} must be a whole number ${range}, not ${JSON.stringify(given)}.`);
}

function helpOf(usage, about, options) {
  const rows = Object.entries(options).map(([name, { value, means, many, default: fallback }]) => {
    const notes = [many && 'may be given several times', fallback !== undefined && `default: ${fallback}`].filter(Boolean);
    return [`--${name}${value ? ` ${value}` : ''}`, `${means}${notes.length > 0 ? ` [${notes.join(', ')}]` : ''}`];
  });
  const width = Math.max(...rows.map(([left]) => left.length), 0) + 2;
  const list = rows.map(([left, means]) => `  ${left.padEnd(width)}${means}`);
  return [rows.length > 0 ? `${usage} [options]` : usage.replace(/ --$/, ''), '', about, ...(rows.length > 0 ? ['', ...list] : [])].join('\n');
}
