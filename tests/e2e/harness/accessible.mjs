// What can be checked by a machine of what people need who do not see, or do not point.

/** What is wrong with a page as it is now; empty where nothing was found. */
export async function barriersOf(page) {
  const session = await page.context().newCDPSession(page);
  const { nodes } = await session.send('Accessibility.getFullAXTree');
  await session.detach();
  const named = ['button', 'link', 'textbox', 'switch', 'listitem', 'dialog', 'navigation', 'list', 'progressbar'];
  const nameless = nodes.filter((node) => {
    if (node.ignored || node.name?.value || !named.includes(node.role?.value)) return false;
    // A list item needs a name where it can have the focus.
    return node.role.value !== 'listitem' || node.properties?.some(({ name, value }) => name === 'focusable' && value.value);
  }).map((node) => `a ${node.role.value} has no name`);
  return [...nameless, ...(await page.evaluate(inPage))];
}

/** Runs in the page. */
function inPage() {
  const found = [];
  const describe = (node) => `<${node.localName}${node.id ? ` id=${node.id}` : ''}${node.className ? ` class="${node.className}"` : ''}>`;
  const isShown = (node) => node.checkVisibility({ opacityProperty: true, visibilityProperty: true, contentVisibilityAuto: true });
  const all = [...document.querySelectorAll('*')];

  const ids = all.map((node) => node.id).filter(Boolean);
  for (const id of new Set(ids.filter((id, place) => ids.indexOf(id) !== place))) found.push(`the id ${id} is there twice`);
  for (const node of all) {
    for (const name of ['aria-labelledby', 'aria-describedby', 'aria-controls', 'for']) {
      for (const id of node.getAttribute(name)?.split(/\s+/) ?? []) if (!document.getElementById(id)) found.push(`${name} of ${describe(node)} names ${id}, which is not there`);
    }
    if (node.tabIndex > 0) found.push(`${describe(node)} has a place of its own in the order of tabs`);
    if (node.localName === 'img' && !node.hasAttribute('alt')) found.push(`${describe(node)} has no text instead`);
    if (node.matches('[aria-hidden=true] :is(a, button, input, textarea, [tabindex])')) found.push(`${describe(node)} is hidden and can have the focus`);
    if (node.matches('[role=list] > *') && node.localName !== 'li') found.push(`${describe(node)} is no item of its list`);
  }
  if (!document.documentElement.lang) found.push('the page has no language');
  for (const one of ['h1', 'main']) if (document.querySelectorAll(one).length !== 1) found.push(`there is not one ${one}`);
  for (const list of document.querySelectorAll('[role=list]')) {
    if (isShown(list) && list.childElementCount > 0 && list.querySelectorAll('[tabindex="0"]').length !== 1) found.push(`${describe(list)} is not one stop of the tab key`);
  }

  for (const node of document.querySelectorAll('a, button, input, textarea')) {
    const { width, height } = node.getBoundingClientRect();
    if (isShown(node) && (width < 24 || height < 20)) found.push(`${describe(node)} is too small to hit: ${width} × ${height}`);
  }
  const part = (channel) => (channel <= 0.03928 ? channel / 12.92 : ((channel + 0.055) / 1.055) ** 2.4);
  const light = ([red, green, blue]) => 0.2126 * part(red / 255) + 0.7152 * part(green / 255) + 0.0722 * part(blue / 255);
  const colour = (text) => text.match(/[\d.]+/g).map(Number);
  const backgroundOf = (node) => {
    for (let at = node; at; at = at.parentElement) {
      const [red, green, blue, alpha = 1] = colour(getComputedStyle(at).backgroundColor);
      if (alpha > 0) return [red, green, blue];
    }
    return [255, 255, 255];
  };
  for (const node of all) {
    const hasText = [...node.childNodes].some((child) => child.nodeType === Node.TEXT_NODE && child.data.trim());
    if (!hasText || !isShown(node) || node.matches('.sr, .sr *, :disabled, :disabled *, noscript')) continue;
    const [bright, dark] = [light(colour(getComputedStyle(node).color)), light(backgroundOf(node))].sort((one, other) => other - one);
    const contrast = (bright + 0.05) / (dark + 0.05);
    if (contrast < 4.5) found.push(`${describe(node)} has a contrast of ${contrast.toFixed(2)}: ${node.textContent.slice(0, 40)}`);
  }
  return found;
}
