// The report for people.

/** Whose values ours are divided by, and how that column is called. */
const references = [['raw', 'ours / in memory'], ['raw-durable', 'ours / same promises'], ['before', 'ours / before']];

/** The report as Markdown: the table, what it was measured on, and what its figures mean. */
export function markdown(report, rows) {
  const names = report.contenders.map(({ name }) => name);
  const compared = references.filter(([name]) => names.includes('solconnect') && names.includes(name));
  const judgement = compared.length > 0 ? ['aim', 'met'] : [];
  const head = ['', 'tries', ...report.contenders.map(({ title }) => title), ...compared.map(([, title]) => title), ...judgement];
  const lines = rows.map((row) => {
    const median = (name) => report.results[name]?.[row.id].median ?? null;
    const cells = names.map((name) => cell(row, report.results[name][row.id]));
    const ratios = compared.map(([name]) => ratio(median('solconnect'), median(name)));
    return [row.title, `${report.rounds} × ${row.tries}`, ...cells, ...ratios, ...(compared.length > 0 ? verdict(row, median) : [])];
  });
  const { machine, versions } = report;
  const failures = names.flatMap((name) => report.rows.flatMap(({ id }) => report.results[name][id].failures.map((why, index) => `- ${name}, ${id}, ${index + 1}: ${why}`)));
  return `# Benchmark

${tableRow(head)}
${tableRow(head.map(() => '---'))}
${lines.map(tableRow).join('\n')}

Medians of ${report.rounds} interleaved rounds (in brackets: lowest and highest; *tries* are rounds × tries in each, and a round's value is the median or the 99th percentile of its tries), ${report.date.slice(0, 10)}, commit ${versions.commit}. ${versions.browser ? `${versions.browser} headless, ` : ''}Node ${versions.node.slice(1)}, ${machine.platform}, ${machine.cores} cores (${machine.cpu}), ${(machine.memoryBytes / 2 ** 30).toFixed(0)} GiB of memory; a synced write of one block takes ${machine.fsyncMs} ms here.${busy(machine)}

## What was measured

- Records: id, session, device, wallet, ISO time, vector clock of 5 devices, and ${report.corpus === 'chat' ? 'the text of a real chat message' : '200 bytes of base64 text'}. Ours makes ids, times and clocks by itself.
- Page, browser profile and session are new for each scenario of each round; only the warm start comes back to the profile that caught up. Two devices are two sites of one browser: they share no storage, channel or process.
- Servers run on this machine as processes of their own and share its cores with the browser. The history is written once for all rounds and grows by one message with each warm start.
- Bytes are TCP payload between page and server, HTTP headers included, counted by the same proxy for all; it is in the way in the rows of catching up and of the warm start only.
- Catching up counts from the call that connects an opened, empty device; nobody listens meanwhile. The warm start counts from the beginning of the navigation until the new message has been read from the API.
- Memory is the page's JavaScript heap after collection, with its array buffers and external strings, and all WebAssembly memories; an empty page has 0.4 MiB.
- What a page loads is its minified bundle with the client's adapter for this benchmark, and wasm.

## What each figure means

Two hand-written clients stand beside ours. *In memory* is as fast as a page and a server can be that forget messages when they crash; *same promises* does before each answer what ours does. Live delivery waits for these promises, so it is aimed at the second; what ours saves by its form (bytes, batches) is aimed at the first.

${report.contenders.map(({ title, note, versions: packages }) => `- **${title}**${packageList(packages)}: ${note}`).join('\n')}
${failures.length > 0 ? `\n## Failures\n\n${failures.join('\n')}\n` : ''}`;
}

/** Other programs slow all contenders, but not all alike. */
function busy({ cores, loadBefore }) {
  return loadBefore < cores / 2 ? '' : ` **The machine was busy when the run began** (load ${loadBefore.toFixed(1)} on ${cores} cores): measure again when it is not.`;
}

const tableRow = (cells) => `| ${cells.join(' | ')} |`;

function cell(row, { values, failures, median }) {
  if (median === null) return 'failed';
  const range = values.length > 1 ? ` (${[Math.min(...values), Math.max(...values)].map(row.show).join(' – ')})` : '';
  return `${row.show(median)}${range}${failures.length > 0 ? `, ${failures.length} failed` : ''}`;
}

const ratio = (ours, theirs) => (ours !== null && theirs ? (ours / theirs).toFixed(2) : '–');

function verdict({ aim }, median) {
  if (!aim) return ['', ''];
  const [ours, theirs] = [median('solconnect'), median(aim.of)];
  if (ours === null || theirs === null) return [aim.text, '–'];
  return [aim.text, aim.isMet(ours, theirs) ? 'yes' : 'no'];
}

function packageList(packages) {
  const list = Object.entries(packages).map(([name, version]) => `${name} ${version}`).join(', ');
  return list && ` (${list})`;
}
