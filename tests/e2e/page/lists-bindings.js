// The page of lists-bindings.test.mjs: each framework over a model of the SDK. `globalThis.page` is what the test drives.
import { createElement as h, StrictMode, useState } from 'react';
import { createRoot, hydrateRoot } from 'react-dom/client';
import { createApp, h as vueH, ref } from 'vue';
import { useConversations, useMessages, useSyncStatus } from '../../../src/bindings/react.ts';
import { useConversations as useVueConversations, useMessages as useVueMessages } from '../../../src/bindings/vue.ts';
import { useConversations as useSvelteConversations, useMessages as useSvelteMessages } from '../../../src/bindings/svelte.ts';
import '../../../src/bindings/status.ts';
import { ModelSdk } from '../../surface/lists-sdk.mjs';
import { OWN } from '../../surface/lists-model.mjs';

const textsOf = (items) => items.map(({ text, status }) => `${text} ${status}`).join('|');
const renders = {};

function Thread({ sdk, id, name }) {
  renders[name] = (renders[name] ?? 0) + 1;
  const { items, hasMore, isLoading, loadOlder } = useMessages(sdk, id, { limit: 3 });
  return h('div', { id: name, onClick: loadOlder, 'data-more': String(hasMore), 'data-loading': String(isLoading) }, textsOf(items));
}

function App({ sdk }) {
  const [id, setId] = useState('s');
  const { items } = useConversations(sdk);
  const status = useSyncStatus(sdk);
  return h('div', null,
    h(Thread, { sdk, id, name: 'one' }), h(Thread, { sdk, id, name: 'two' }),
    h('div', { id: 'list' }, items.map(({ sessionId, unreadCount }) => `${sessionId} ${unreadCount}`).join('|')),
    h('div', { id: 'status' }, status.connection), h('button', { id: 'switch', onClick: () => setId('other') }, 'other'));
}

/** What a group's list and thread show: who is in it, and who has read what. */
const groupText = ([{ name, members, membership }], messages) =>
  `${name}, ${membership}: ${members.map(({ wallet, isAdmin }) => `${wallet}${isAdmin ? '!' : ''}`).join(' ')}; ${messages.map(({ text, readBy }) => `${text} ${readBy?.join(' ')}`).join('|')}`;

function GroupApp({ sdk }) {
  const [{ items }, messages] = [useConversations(sdk), useMessages(sdk, 'g')];
  return items.length > 0 && groupText(items, messages.items);
}

globalThis.page = {
  OWN, renders, ModelSdk,
  scene(count = 5) {
    const sdk = new ModelSdk('s', 'other');
    for (; count > 0; count -= 1) sdk.model.receive('s');
    return Object.assign(globalThis.page, { sdk, model: sdk.model });
  },
  react(sdk) {
    const root = createRoot(document.querySelector('#app'));
    root.render(h(StrictMode, null, h(App, { sdk })));
    return root;
  },
  hydrate(sdk) {
    const errors = [];
    document.querySelector('#app').append(Object.assign(document.createElement('div'), { id: 'one' }));
    const element = document.querySelector('#one');
    element.dataset.more = 'false';
    element.dataset.loading = 'true';
    hydrateRoot(document.querySelector('#app'), h(Thread, { sdk, id: 's', name: 'one' }), { onRecoverableError: (error) => errors.push(String(error)) });
    return errors;
  },
  vue(sdk) {
    const [from, id] = [ref(sdk), ref('s')];
    const app = createApp({ setup() {
      const { items, hasMore, loadOlder } = useVueMessages(from, id, { limit: 3 });
      return () => vueH('div', { id: 'one', onClick: loadOlder, 'data-more': String(hasMore.value) }, textsOf(items.value));
    } });
    app.mount('#app');
    return { app, id, from };
  },
  /** A group in all of them; gives what each shows. */
  group() {
    const sdk = new ModelSdk();
    Object.assign(globalThis.page, { sdk, model: sdk.model }).model.group('g', 'Anna', 'Ben');
    const places = ['react', 'vue'].map((id) => document.querySelector('#app').appendChild(Object.assign(document.createElement('div'), { id })));
    createRoot(places[0]).render(h(GroupApp, { sdk }));
    createApp({ setup() {
      const [conversations, messages] = [useVueConversations(sdk), useVueMessages(sdk, 'g')];
      return () => vueH('p', conversations.items.value.length > 0 ? groupText(conversations.items.value, messages.items.value) : '');
    } }).mount(places[1]);
    const now = {};
    useSvelteConversations(sdk).subscribe(({ items }) => Object.assign(now, { items }));
    useSvelteMessages(sdk, 'g').subscribe((messages) => Object.assign(now, { messages }));
    return () => [...places.map(({ textContent }) => textContent), groupText(now.items, now.messages.items)];
  },
  svelte(sdk) {
    const store = useSvelteMessages(sdk, 's', { limit: 3 });
    const values = [];
    return { values, loadOlder: store.loadOlder, end: store.subscribe(({ items }) => values.push(textsOf(items))) };
  },
};
